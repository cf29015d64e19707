"""Sentences of the library in the words of a command line: flags in place of parameters."""

import re

from landscape import analyses
from landscape.cli.options import shared


def told(text: str, kind: str = "") -> str:
    """``text`` with the flag for every parameter in backquotes; ``kind`` says of which analysis.

    >>> told("allow more `seed` or `threads` = 2")
    'allow more --seed or --threads 2'
    >>> told("give `verify=False`")
    'give --no-verify'
    """
    if "`" not in text:
        return text
    flags = {str(one.name): "-o" if one.name == "output" else max(one.opts, key=len) for one in shared()}
    declared = analyses.find(kind)
    for one in declared.brought.parameters if declared else ():
        flags[one.name] = one.flag
    for one in declared.parameters.values() if declared else ():
        flags[one.name] = one.flag

    def flag(found: re.Match[str]) -> str:
        return flags.get(found[1]) or "--" + found[1].replace("_", "-")

    text = re.sub(r"`(\w+)=False`", lambda found: "--no-" + found[1].replace("_", "-"), text)
    return re.sub(r"`(\w+)`(?: =(?= ))?", flag, text)
