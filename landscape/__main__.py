"""``python -m landscape``, which is what torchrun starts."""

import sys

from landscape.cli import main

sys.exit(main())
