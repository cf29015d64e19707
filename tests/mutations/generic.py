"""Names and meanings of checks without what varies from place to place and from run to run."""

import re

NAMES = (
    (r" at (?!a (probe|visited)).*$", ""),
    (r" rescaled$", ""),
    (r"^(noise|ball|worst|SAM) (filter|none)\b", r"\1"),
    (r" along [αβ]$", " along an axis"),
    (r"^point \d+$", "point of many"),
)
MEANINGS = (
    (r"; the worst of \d+: .*$", ""),
    (r"; (\d+ )?may differ by a tie$", ""),
    (r", of \d+ samples$", ""),
    (r"^of \d+ ends,", "of some ends,"),
    (r", \d+ samples$", ""),
    (r"\bpair \d+ at σ = [^ ]+", "one pair at one σ"),
    (r"\bpair \d+\b", "one pair"),
    (r"the stored point \S+,", "a stored point,"),
    (r"says of \S+, against", "says of one of its points, against"),
    (r"\d+ units", "units"),
    (r"^\d+ steps,", "some steps,"),
    (r"≤ 0\.0001,", "≤ 1e-4,"),
)


def name_of(check: str) -> str:
    """A check's name, the same wherever it is taken.

    >>> name_of("stack at n = 60"), name_of("noise filter error rescaled"), name_of("variance at a probe")
    ('stack', 'noise error', 'variance at a probe')
    """
    return _without(check, NAMES)


def meaning_of(meaning: str) -> str:
    """
    >>> meaning_of("‖Hv − λv‖ of pair 6 by a product of its own")
    '‖Hv − λv‖ of one pair by a product of its own'
    """
    return _without(meaning, MEANINGS)


def _without(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, instead in rules:
        text = re.sub(pattern, instead, text)
    return text
