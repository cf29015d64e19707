"""A surface that turns: one page that holds all it needs, drawn by plotly."""

from typing import Any

import numpy as np

from landscape.errors import BadInput
from landscape.plots.page import STAR, VERMILLION
from landscape.plots.trajectories import runs_of
from landscape.plots.words import input_names, short
from landscape.plots.written import sheet
from landscape.result import Result

# Camera of the page: the side from which the pictures on paper are seen, in plotly's units.
EYE = {"x": 0.85, "y": -1.2, "z": 0.8}
RUNS = (VERMILLION, "#000000", "#56B4E9", "#CC79A7", "#999999", "#FFFFFF")


def page_of(result: Result, *, log: bool = False, title: str | None = None) -> str:
    """The surface as an HTML page that can be turned and asked for its values, and needs no network.

    Hovering shows both coordinates and the loss; runs, θ* or the given points stand on it at their own losses.
    With ``log`` the height is the logarithm to base 10, and the values shown are the losses themselves. Raises
    BadInput for a result without a surface, and where plotly is missing.
    """
    try:
        import plotly.graph_objects as go  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise BadInput("plotly is not installed", "pip install 'torch-landscape[html]'") from None
    one = sheet(result)
    names = [one.x.long_name, one.y.long_name, one.height.long_name]
    losses = np.asarray(one.height.values, dtype=float)
    heights = _heights(losses, log)
    drawn: list[Any] = [
        go.Surface(
            x=one.x.values,
            y=one.y.values,
            z=heights,
            text=_told(one.x.values, one.y.values, losses),
            hoverinfo="text",
            opacity=0.9,  # a run that dips below the surface shines through
            colorscale="Viridis",
            colorbar={"title": {"text": _wrapped(names[2]), "side": "right"}, **_ticks(heights, log)},
            contours={"z": {"show": True, "color": "rgba(0,0,0,0.35)", "width": 1}},
            name="loss",
        )
    ]
    for i, run in enumerate(runs_of(result) if hasattr(result, "trajectory_alpha") else []):
        drawn.append(
            go.Scatter3d(
                x=run.alpha,
                y=run.beta,
                z=_heights(run.loss, log),
                mode="lines+markers",
                line={"color": RUNS[i % len(RUNS)], "width": 5},
                marker={"color": RUNS[i % len(RUNS)], "size": 3.5, "line": {"color": "black", "width": 1}},
                customdata=np.stack([run.loss, run.epoch, run.residual], axis=1),
                hovertemplate="epoch %{customdata[1]}<br>loss %{customdata[0]:.6g}"
                "<br>off the plane %{customdata[2]:.3g}<extra></extra>",
                name=run.name or "trajectory",
            )
        )
    drawn += _places(go, result, log)
    title = (
        (", ".join(filter(None, [", ".join(input_names(result)), result.kind]))) if title is None else title
    )
    figure = go.Figure(drawn)
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        scene={
            "xaxis": {"title": {"text": names[0]}},
            "yaxis": {"title": {"text": names[1]}},
            "zaxis": {"title": {"text": names[2]}, **_ticks(heights, log)},
            "camera": {"eye": EYE, "projection": {"type": "orthographic"}},
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 0.72},
        },
        margin={"l": 0, "r": 0, "t": 48, "b": 0},
        showlegend=len(drawn) > 2,
        legend={"x": 0, "y": 1},
        template="plotly_white",
        font={"family": "DejaVu Sans, Arial, sans-serif"},
    )
    made = figure.to_html(
        include_plotlyjs=True,
        include_mathjax=False,
        full_html=True,
        div_id="landscape",
        config={"displaylogo": False, "responsive": True, "showSendToCloud": False, "plotlyServerURL": ""},
    )
    return made.replace("<body>", '<body style="margin:0; height:100vh">', 1)  # no bars for scrolling


def _told(x: np.ndarray, y: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """What hovering says of each cell; a template of plotly's would look up another cell, with x and y exchanged."""
    return np.array(
        [
            [f"α {a:.4g}<br>β {b:.4g}<br>loss {loss:.6g}" for a, loss in zip(x.tolist(), row, strict=True)]
            for b, row in zip(y.tolist(), losses.tolist(), strict=True)
        ]
    )


def _places(go: Any, result: Any, log: bool) -> list[Any]:
    """θ*, or the given points with their letters."""
    if getattr(result, "point_alpha", None) is not None:
        places = result.point_alpha, result.point_beta, np.asarray(result.point_loss, dtype=float)
        letters = [chr(ord("A") + i) for i in range(len(places[0]))]
    elif getattr(result, "centre_loss", None) is not None:
        places = np.zeros(1), np.zeros(1), np.array([float(result.centre_loss)])
        letters = ["θ*"]
    else:
        return []
    return [
        go.Scatter3d(
            x=places[0],
            y=places[1],
            z=_heights(places[2], log),
            mode="markers+text",
            text=letters,
            marker={
                "symbol": "diamond",
                "size": 5,
                "color": STAR["color"],
                "line": {"color": "black", "width": 2},
            },
            customdata=places[2],
            hovertemplate="%{text}<br>loss %{customdata:.6g}<extra></extra>",
            name=", ".join(letters),
        )
    ]


def _heights(losses: np.ndarray, log: bool) -> np.ndarray:
    losses = np.asarray(losses, dtype=float)
    if not log:
        return np.where(np.isfinite(losses), losses, np.nan)
    return np.log10(losses, where=(losses > 0) & np.isfinite(losses), out=np.full(losses.shape, np.nan))


def _ticks(heights: np.ndarray, log: bool) -> dict[str, Any]:
    """Losses, not their logarithms, at the ticks of a logarithmic height."""
    known = heights[np.isfinite(heights)]
    if not log or not len(known):
        return {}
    low, high = float(known.min()), float(known.max())
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    values = powers if len(powers) > 1 else np.linspace(low, high, 5)
    return {"tickvals": values.tolist(), "ticktext": [short(10.0**value) for value in values.tolist()]}


def _wrapped(text: str) -> str:
    return text if len(text) < 40 else text.replace(" over ", "<br>over ", 1)
