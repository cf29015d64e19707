"""By fault, the check of a result that must see it, by its name or how that begins.

'' where none can: a fault of the checks, of files, or of what no number of the result tells. The names in UNSEEN are
those whose check does not see them yet.
"""

from mutations.faults.all import FAULTS

CHECKS = dict.fromkeys(FAULTS, "")
UNSEEN: set[str] = set()
