"""Faults of searches, of labels, and of what is said of all points though one is looked at."""

from mutations.harness import Fault

FAULTS = (
    Fault(
        "cri-threshold-x100",
        "descent/seeking.py",
        'np.isfinite(found["gradient_norm"]), errors, math.nan)',
        'np.isfinite(found["gradient_norm"]), 100 * errors, math.nan)',
        "mutations/test_stated.py::test_every_check_passes[critical_linear]",
        "critical_linear",
    ),
    Fault(
        "cri-steps-one-more",
        "analyses/critical.py",
        'num_steps=found["steps"],',
        'num_steps=found["steps"] + 1,',
        "mutations/test_stated.py::test_every_check_passes[critical]",
        "critical",
    ),
    Fault(
        "cri-starts-turned",
        "descent/every_height.py",
        "counts = torch.linspace(0, most, len(starts)).round().long()",
        "counts = torch.linspace(most, 0, len(starts)).round().long()",
        "mutations/test_stated.py::test_every_check_passes[critical_fallen]",
        "critical_fallen",
    ),
    Fault(
        "cri-exponent-turned",
        "numerics/steps/newton.py",
        "(math.log(s), math.log(g)) for g, s",
        "(math.log(g), math.log(s)) for g, s",
        "mutations/test_stated.py::test_every_check_passes[critical_far_out]",
        "critical_far_out",
    ),
)
