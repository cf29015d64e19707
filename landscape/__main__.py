"""``python -m landscape``, which is what torchrun starts."""

import sys

from landscape.cli import main

code = main()
# Python ends by the signal, whatever the code, where Ctrl-C came within an exec, as of a dataclass at its import, until
# the next one.
exec("")
sys.exit(code)
