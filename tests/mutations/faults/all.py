"""Every fault by its name, and the check that must see it."""

from mutations.faults import (
    again,
    beside,
    ends,
    files,
    objective,
    paths,
    places,
    searches,
    spectra,
    stated,
    steps,
    symmetry,
    told,
    units,
)

ROOMS = (
    objective,
    paths,
    spectra,
    symmetry,
    steps,
    stated,
    beside,
    ends,
    again,
    files,
    units,
    places,
    searches,
    told,
)
FAULTS = {one.name: one for room in ROOMS for one in room.FAULTS}
