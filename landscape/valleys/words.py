"""What follows from the paths that were found by width, in words; each height is an upper bound."""

from typing import Any

import numpy as np

# Over the largest loss of a width: what rises and differences are more than rounding.
RISE, APART = 1e-10, 1e-9


def said(found: Any) -> list[str]:
    """Of a result over width and restart: strict minima above the best end, and what paths rise by."""
    words = [
        "path heights are those of paths that were found: upper bounds; one that was not found is no basin"
    ]
    for i, width in enumerate(found.width.tolist()):
        loss, height = found.loss[i], found.path_height[i]
        if not np.isfinite(loss).any():
            continue
        least, scale = np.nanmin(loss), np.nanmax(loss)
        bad = found.is_strict[i] & (loss > least + APART * scale)
        if bad.any():
            words.append(
                f"width {width}: {int(bad.sum())} of {len(loss)} ends are strict minima above the best end, so every "
                "path from them rises"
            )
        words += [f"width {width}: {one}" for one in _paths(height - loss, bad, max(scale, 1e-12), len(loss))]
        lowest = np.nanmin(found.path_end[i], initial=np.inf)
        if lowest < least - APART * scale:
            words.append(
                f"width {width}: paths lead to {lowest:.3g}, lower than the best end of a descent, {least:.3g}"
            )
    return words


def _paths(rise: np.ndarray, bad: np.ndarray, scale: float, num_restarts: int) -> list[str]:
    seen = np.isfinite(rise)
    if not seen.any():
        return []
    rising = seen & (rise > RISE * scale)
    if not rising.any():
        which = "every end" if seen.all() else f"every one of the {int(seen.sum())} ends there are"
        return [f"{which} is joined to the best one's level by a path that never rises"]
    open_ = rising & ~bad
    if not open_.any():
        return []
    return [
        f"from {int(open_.sum())} of {num_restarts} ends no path was found that never rises; the lowest found rise by "
        f"{rise[open_].max():.3g} at most, upper bounds that lower paths may undercut: whether these ends lie in a "
        "basin is not known"
    ]
