"""Every fault by its name, and the check that must see it."""

from mutations.faults import files, objective, paths, spectra, steps, symmetry

FAULTS = {
    one.name: one for room in (objective, paths, spectra, symmetry, steps, files) for one in room.FAULTS
}
