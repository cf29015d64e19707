"""The proof of words: what verdicts and conclusions say by numbers and states that are stated beside them."""

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from landscape.certificates.claims import FAILS, HOLDS
from landscape.certificates.survey import Survey
from landscape.certificates.verdict_proofs import LAST, MOVES, OPEN, Said
from landscape.result import Check

N, RANK = r"(-?[\d.]+(?:e[-+]\d+)?)", r"rank (?:at most )?"
# In how many digits numbers stand in words.
DIGITS = (".10g", ".6g", ".3g", ".2g", ".1e")
# The two theorems about any module, the strongest first, and what a verdict by one of them speaks of.
NAMED = {"kernel": "K has rank", "last layer": "the last features has rank"}
ATTAINS, SURE = "loss attains its minimum", "K of full rank, beyond rounding"
# Of a pattern in words, what its numbers have to be: one number each, or one of several.
Wanted = dict[str, tuple[Any, ...]]


def words_check(survey: Survey, result: Any) -> Check:
    """Numbers in verdicts and conclusions against those of the fields, and how they begin against the assumptions."""
    wrong, count = 0, survey.objective.num_samples
    for i, _ in enumerate(survey.points):
        said = Said(result, None if len(survey.points) == 1 and result.point is None else i)
        words = dict(zip(result.claim.tolist(), said["conclusion"].tolist(), strict=True))
        known = _numbers(said, int(result.num_outputs), count)
        wrong += _num_wrong(said.verdict, known) + sum(_num_wrong(one, known) for one in words.values())
        wrong += sum(
            _num_wrong(words[claim], own) for claim, own in _own(said, result, count) if claim in words
        )
        for claim, beginning, is_so in _beginnings(said):
            wrong += bool(words.get(claim)) and words[claim].startswith(beginning) != is_so
        wrong += not _is_followed(said, int(result.num_outputs))
    meaning = (
        "numbers and beginnings of verdicts and conclusions that are not as stated numbers and assumptions say "
        "(0 = none)"
    )
    return Check("words", float(wrong), 0.0, meaning)


def _num_wrong(words: str, known: Wanted) -> int:
    found = [(values, one) for pattern, values in known.items() for one in re.finditer(pattern, words)]
    return sum(
        not _is(text, value)
        for values, one in found
        for value, text in zip(values, one.groups(), strict=True)
    )


def _is(text: str, value: Any) -> bool:
    """Whether a number, or one of several, is ``text``; what is not stated may be any."""
    several = [] if value is None else np.ravel(value).tolist()
    return not several or any(f"{one:{digits}}" == text for one in several for digits in DIGITS)


def _numbers(said: Said, size: int, count: int) -> Wanted:
    """Of what every sentence may say."""
    largest, widths, floor = said["ntk_largest"], said["feature_width"], said["floor"]
    above = None if floor is None else said["loss"] - floor
    k = size // count
    thinnest, full = (None, None) if widths is None else (min(*widths, k), min(widths[0], k))
    return {
        rf"‖∇F‖ = {N}": (said["gradient_norm"],),
        rf"\bF = {N}(?! at every)": (said["loss"],),
        rf"λ_min\(K\)\) = {N}": (said["loss_bound"],),
        rf"; F ≤ {N}": (said["loss_bound"],),
        rf"σₙ²\) = {N}": (said["last_layer_bound"],),
        rf"lies {N} above the floor {N}": (above and max(above, 0.0), floor),
        rf"F − floor = {N}": (above,),
        rf"nets of rank {N} at most": (thinnest,),
        rf"the product has rank {N} [=<] min\(d_x, d_y\) = {N}": (said["product_rank"], full),
        rf"a layer of width {N} < min\(d_x, d_y\) = {N}": (thinnest, full),
        rf"P = {N} parameters that move an output < nk = {N}": (said["num_moving"], size),
        rf"λ_min/λ_max = {N}": (said["ntk_smallest"] / largest if largest else None,),
        rf"{RANK}{N} of {N} of the tangent kernel": (said["ntk_rank"], size),
        rf"K has {RANK}{N} of {N}": (said["ntk_rank"], size),
        rf"the last features has {RANK}{N} of {N}": (_or_one_more(said["feature_rank"]), count),
        rf"lowers F by {N} ε": (said["inactive_fall"],),
    }


def _own(said: Said, result: Any, count: int) -> Iterator[tuple[str, Wanted]]:
    """Of what the conclusions of one theorem say."""
    ranks, bound = rf"{RANK}{N} of {N}", rf"≤ {N}"
    size = int(result.num_outputs)
    yield "kernel", {ranks: (said["ntk_rank"], size), bound: (said["loss_bound"],)}
    last = _or_one_more(said["feature_rank"])
    yield "last layer", {ranks: (last, count), bound: (said["last_layer_bound"],)}
    yield "last layer", {rf"width {N} < n = {N}": (_or_one_more(said["feature_width"]), count)}
    yield "pattern", {ranks: (said["pattern_rank"], count)}


def _or_one_more(values: Any) -> Any:
    """Of the last layer, which may have a column of ones for its bias."""
    return None if values is None else [values[-1], values[-1] + 1]


def _beginnings(said: Said) -> Iterator[tuple[str, str, bool]]:
    """Theorems, how their conclusions may begin, and whether by the states of their assumptions they do."""

    def lacks(text: str) -> bool:
        return any(
            one.startswith(text) and state not in (HOLDS, "") for (_, one), state in said.states.items()
        )

    few, unsure = lacks("parameters that move an output"), lacks(SURE)
    yield "kernel", "cannot hold", few
    yield "kernel", "silent", unsure and not few
    missing, narrow, low = lacks(LAST), lacks("features: width"), lacks("features: rank")
    yield "last layer", "silent: no last layer", missing
    yield "last layer", "cannot hold", narrow and not missing
    yield "last layer", "silent: rank", low and not narrow and not missing
    thin = lacks("thinnest layer")
    yield "product", "cannot hold", thin
    yield "product", "silent", not thin and not said.holds("product")
    yield "floor", "silent", not said.holds("floor")
    yield "pattern", "F = 0", said.holds("pattern")
    yield "pattern", "silent", not said.holds("pattern")
    yield "inactive", "no local minimum", said.states.get(("inactive", "a local minimum")) == FAILS


def _is_followed(said: Said, size: int) -> bool:
    """Whether a verdict goes on as the states of the two theorems about any module say."""
    verdict = said.verdict
    if "the floor" in verdict:
        is_bounded = math.isfinite(said["loss_bound"]) and verdict.startswith(MOVES)
        return ("; F ≤ " in verdict) == is_bounded
    words = re.sub(rf"^{MOVES}[^;]*; ", "", verdict)
    for claim, named in NAMED.items():
        if said.holds(claim):
            return named in words
    for claim, named in NAMED.items():
        if _lacking(said, claim) == {ATTAINS: FAILS}:
            return words.startswith("no critical point can be here") and named in words
    lacking = _lacking(said, "kernel")
    if SURE not in lacking:
        return words.startswith(
            f"{OPEN}: " + "; ".join(f"{text} ({state})" for text, state in lacking.items())
        )
    is_alone = said["ntk_rank"] == size
    return words.startswith(f"{OPEN}: rank") and ("numerically full alone" in words) == is_alone


def _lacking(said: Said, claim: str) -> dict[str, str]:
    own = {text: state for (name, text), state in said.states.items() if name == claim and state}
    return {text: state for text, state in own.items() if state != HOLDS}
