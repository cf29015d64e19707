"""The spectrum of the Hessian: at one point, and along a run."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from landscape.plots.axes import legend, log_axis
from landscape.plots.page import BLUE, GREY, SMALL, VERMILLION, Page
from landscape.plots.words import EQUALS, input_names, short, titled, uncertain

# Bins of the spectrum on each side of zero, and lines drawn along a run.
BINS, LINES = 16, 4
MATRICES = {
    "gauss-newton": "Gauss–Newton",
    "fisher": "Fisher",
    "empirical-fisher": "Empirical Fisher",
    "preconditioned": "Preconditioned Hessian",
}
# The height of a row in inches; eigenvalues of layers this many times apart lie on a logarithmic axis.
ROW, SPREAD = 0.13, 30.0


def hessian(page: Page, result: Any) -> str:
    """Ritz values with their intervals, above the spectral density; or the largest ones along a run."""
    if result.point is not None:
        return _along(page, result) if result.overlap is not None else _of_layers(page, result)
    has_density = result.density_nodes is not None or result.spectrum is not None
    above, *rest = page.panels(2.1, *([1.4, 1.5] if has_density else []), shared=False)
    _ritz_values(page, above, result)
    if rest:
        _density(page, rest[0], rest[1], result)
    if result.verdict is not None:
        page.note(f"{result.verdict}; index {int(result.index)}, nullity {int(result.nullity)}")
    return titled(f"{_whose(result)} at", result)


def _ritz_values(page: Page, axes: Axes, result: Any) -> None:
    converged = np.asarray(result.converged, dtype=bool)
    shown = result.eigenvalues > 0 if page.log else np.ones(len(converged), dtype=bool)
    if not shown.any():
        shown[:] = True  # the axis stays linear
    axes.axhline(0, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    markers: Any = (
        (converged, "converged", {"fmt": "o", "color": BLUE}),
        (~converged, "not converged", {"fmt": "s", "color": VERMILLION, "markerfacecolor": "white"}),
    )
    for which, label, style in markers:
        which = which & shown
        if which.any():
            axes.errorbar(
                result.rank[which],
                result.eigenvalues[which],
                yerr=np.abs(result.residuals[which]),
                capsize=2,
                elinewidth=0.8,
                markersize=3.5,
                label=label,
                **style,
            )
    if result.subset_eigenvalues is not None:
        ranks = np.broadcast_to(result.rank, result.subset_eigenvalues.shape)
        hollow: Any = {"linestyle": "", "marker": "_", "color": GREY, "markersize": 7, "zorder": 0}
        axes.plot(
            ranks.ravel(), result.subset_eigenvalues.ravel(), label="each subset of the samples", **hollow
        )
    if not converged.all() or result.subset_eigenvalues is not None:
        legend(axes)
    if page.log:
        log_axis(page, axes, result.eigenvalues, nonpositive="clip")
    largest = np.nanmax(result.residuals, initial=0.0)
    size = short(float(result.gradient_norm))
    page.note(f"residual ‖Hv\u00a0−\u00a0λv‖ at most {short(largest)}; ‖∇F‖{EQUALS}{size}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel=page.labels["rank"], ylabel="eigenvalue λ")


def _density(page: Page, linear: Axes, axes: Axes, result: Any) -> None:
    """The share of eigenvalues in bins of equal width, on a linear and on a symmetric logarithmic axis."""
    if result.spectrum is not None:
        nodes, masses = result.spectrum, np.full(len(result.spectrum), 1 / len(result.spectrum))
        band = float(result.zero_threshold)
        page.note("spectrum: all eigenvalues of the dense matrix")
    else:
        single = np.full(len(result.eigenvalues), 1 / max(int(result.num_parameters), 1))
        nodes = np.concatenate([np.ravel(result.density_nodes), result.eigenvalues])
        masses = np.concatenate([np.ravel(result.density_weights) / len(result.density_weights), single])
        band = float(result.zero_band)
        below, error = (float(part) for part in (result.mass_below_zero, result.mass_below_zero_error))
        page.note(
            f"spectrum: Lanczos quadrature from {len(result.density_weights)} random vectors; below zero "
            f"{uncertain(below, error)} of all eigenvalues"
        )
    for panel in (linear, axes):
        panel.set(xlabel="eigenvalue λ", ylabel="share")
    known = np.isfinite(nodes) & np.isfinite(masses)
    largest = float(np.abs(nodes[known]).max(initial=0.0))
    if not 0 < largest < np.inf:
        page.note("nothing finite but zero in the spectrum")
        return
    band = band if 0 < band < largest else 1e-3 * largest
    # A dense matrix knows zero to many digits, but a picture has room for few.
    band = max(band, 1e-8 * largest)
    outer = np.geomspace(band, 1.001 * largest, BINS + 1)
    low, high = nodes[known].min(), nodes[known].max()
    for panel, edges in (
        (linear, np.linspace(low, high, 3 * BINS + 1) if low < high else np.array([low - band, high + band])),
        (axes, np.concatenate([-outer[::-1], outer])),
    ):
        heights, _ = np.histogram(nodes[known], edges, weights=masses[known])
        panel.stairs(heights, edges, fill=True, color=BLUE, alpha=0.6)
        panel.vlines(
            result.eigenvalues, 0, 1, transform=panel.get_xaxis_transform(), color=VERMILLION, linewidth=0.6,
            label="Ritz values",
        )  # fmt: skip
        panel.set_yscale("log", nonpositive="clip")
    axes.set_xscale("symlog", linthresh=band, linscale=0.5)
    _few_ticks(axes, band, largest)
    legend(linear)


def _few_ticks(axes: Axes, band: float, largest: float) -> None:
    """Zero and at most two decades on each side, well apart."""
    highest = int(np.floor(np.log10(largest)))
    step = max(1, int(np.ceil(np.log10(largest / band) / 2.5)))
    decades = [p for p in (highest, highest - step) if 10.0**p > 5 * band]
    ticks = [-(10.0**p) for p in decades] + [0.0] + [10.0**p for p in decades]
    names = [f"$-10^{{{p}}}$" for p in decades] + ["0"] + [f"$10^{{{p}}}$" for p in decades]
    axes.set_xticks(ticks, names)
    axes.xaxis.minorticks_off()


def _whose(result: Any) -> str:
    return f"{MATRICES.get(result.operator, 'Hessian')} eigenvalues"


def _along(page: Page, result: Any) -> str:
    """The largest eigenvalues at each point, with the limit of stability; below, what the gradient sees."""
    above, below = page.panels(1.9, 1.0)
    x = np.arange(len(result.point))
    for number in range(min(LINES, result.eigenvalues.shape[1])):
        above.errorbar(
            x,
            result.eigenvalues[:, number],
            yerr=np.abs(result.residuals[:, number]),
            color=BLUE,
            alpha=1 - 0.22 * number,
            linewidth=1.2 if number == 0 else 0.8,
            marker="o",
            markersize=2.5,
            label=f"λ, rank {int(result.rank[number])}",
        )
    if result.stability_limit is not None:
        above.plot(
            x, result.stability_limit, color=VERMILLION, linestyle="--", linewidth=1, label="stable up to"
        )
    above.set(ylabel="eigenvalue λ")
    legend(above)
    if page.log:
        log_axis(page, above, result.eigenvalues, nonpositive="clip")
    dots: Any = {"color": BLUE, "marker": "o", "markersize": 2.5}
    below.plot(x, result.gradient_in_span, label=f"{_squares(result)} in the space", **dots)
    style: Any = {"color": VERMILLION, "linestyle": "--", "marker": "s", "markersize": 2.5}
    below.plot(x, result.overlap, label="overlap with the point before", **style)
    below.set(ylabel="share", ylim=(-0.05, 1.05), xlabel="point")
    legend(below)
    names = [str(name).rpartition("@")[2] for name in result.point]
    step = -(-len(names) // 6)
    below.set_xticks(x[::step], names[::step], rotation=30, ha="right")
    _how_many_left(page, result)
    files = [name.rpartition("@")[0] for name in input_names(result)[:1]]
    return " ".join([_whose(result), "along", *(files or ["a run"])])


def _of_layers(page: Page, result: Any) -> str:
    """A row for every layer, the first on top: its largest eigenvalues, and what the gradient sees of them."""
    height = 0.4 + ROW * len(result.point)
    left, right = page.panels(height, height, shared=False)
    rows = np.arange(len(result.point))
    for number in range(min(LINES, result.eigenvalues.shape[1])):
        left.errorbar(
            result.eigenvalues[:, number],
            rows,
            xerr=np.abs(result.residuals[:, number]),
            linestyle="",
            color=BLUE,
            alpha=1 - 0.22 * number,
            marker="o",
            markersize=3,
            label=f"rank {int(result.rank[number])}",
        )
    if result.eigenvalues.shape[1] > 1:
        legend(left)
    shown = result.eigenvalues[:, :LINES]
    if page.log or (np.nanmin(shown) > 0 and np.nanmax(shown) > SPREAD * np.nanmin(shown)):
        left.set_xscale("log", nonpositive="clip")
    right.plot(result.gradient_in_span, rows, color=BLUE, marker="o", markersize=3, linestyle="")
    left.set_xlabel("λ of the layer's block")
    right.set(xlabel=f"share of {_squares(result)} in the space", xlim=(-0.05, 1.05))
    for axes in (left, right):
        axes.set_yticks(rows, list(map(str, result.point)), fontsize=SMALL)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.5)
    _how_many_left(page, result)
    return titled(f"{_whose(result)} of the layers at", result)


def _squares(result: Any) -> str:
    """What is shared out among the Ritz vectors: the gradient in the coordinates of the matrix."""
    return "‖P^-½∇F‖²" if result.operator == "preconditioned" else "‖∇F‖²"


def _how_many_left(page: Page, result: Any) -> None:
    num_left = int((~np.asarray(result.converged, dtype=bool)).sum())
    if num_left:
        page.note(f"{num_left} eigenvalues not converged")
