"""Small analyses of every kind whose summaries are proven: right ones fail no check."""

import pytest
from mutations.scenarios import SCENARIOS

NAMES = """
align align_all align_rescaled basins basins_by_width basins_coarse
certify certify_descent certify_lanczos certify_leaky certify_narrow certify_near certify_run certify_thin
certify_widths compare
connect connect_aligned connect_bends connect_bn connect_l2 critical critical_fallen critical_far_out critical_linear
efficiency efficiency_square escape escape_beside escape_by_noise hessian_adam hessian_layers
hessian_points hessian_preconditioned
hessian hessian_l2 hessian_run interpolate
interpolate_repaired merge merge_normed minima minima_polished
minima_samples minima_wide modes noise noise_at_random
sharpness sharpness_further sharpness_moved sharpness_points slice1d
slice2d slice2d_conv slice2d_curvature slice2d_plane slice2d_runs train_adam
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_every_check_passes(name: str):
    assert [one for one in SCENARIOS[name]().checks if not one.passed] == []
