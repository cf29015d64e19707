"""The proof of the bumps of a line: every rise of its stated losses is one of those that are stated, and no more."""

import numpy as np

from landscape.result import Check


def bumps_check(
    t: np.ndarray, loss: np.ndarray, at: np.ndarray, heights: np.ndarray, is_monotone: bool, floor: float
) -> Check:
    """``at`` (k,) the tops and ``heights`` (k,) over the lowest loss since the top before, walking to the better end.

    Between a top and the next low nothing rises by more than ``floor``, and between a low and its top nothing falls
    by more. ``loss`` (T,) over ``t``, of which [0, 1] counts. A line with a NaN has one bump there.
    """
    inside = (t >= 0) & (t <= 1)
    places, values = t[inside], loss[inside]
    if values[-1] > values[0]:
        places, values = places[::-1], values[::-1]
    lost = np.isnan(values)
    wrong = int(is_monotone != (len(at) == 0))
    if lost.any():
        wrong += int(not (len(at) == 1 and bool(lost[places == at[0]].all()) and bool(np.isnan(heights[0]))))
    else:
        before = 0
        for place, height in zip(at.tolist(), heights.tolist(), strict=True):
            found = int(np.argmax(places == place))
            if found <= before:
                wrong += 1
                break
            low = before + int(values[before : found + 1].argmin())
            wrong += int(
                not abs(values[found] - values[low] - height) <= 1e-12 * max(1.0, abs(values[found]))
            )
            wrong += int(not height > floor)
            wrong += int(_rise(values[before : low + 1]) > floor) + int(
                _rise(values[low : found + 1][::-1]) > floor
            )
            before = found
        wrong += int(_rise(values[before:]) > floor)
    meaning = "rises of the stated losses, from the worse end to the better, that are no stated bump, or the reverse"
    return Check("bumps", float(wrong), 0.0, meaning)


def _rise(values: np.ndarray) -> float:
    """The largest of a value over one before it."""
    return float((values - np.minimum.accumulate(values)).max(initial=0.0))
