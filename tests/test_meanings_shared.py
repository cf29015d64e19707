"""Modules, losses and data as people bring them mean the same in two processes as in one."""

import meanings_shared
import numpy as np
from launching import SEVERAL, TESTS, launched

pytestmark = SEVERAL


def test_every_meaning_is_that_of_one_process(tmp_path):
    ended = launched(2, TESTS / "meanings_shared.py", tmp_path)
    assert ended.code == 0, ended.err[:5000]
    one = meanings_shared.found()
    with np.load(tmp_path / "0.npz") as first, np.load(tmp_path / "1.npz") as second:
        assert set(first) == set(second) == set(one)
        for name, value in one.items():
            assert np.array_equal(first[name], second[name]), name
            if value.dtype.kind == "U":
                assert str(first[name]) == str(value) == "[]", name
            else:
                # Some products are differences of the gradient, whose steps follow from sums over all samples.
                bound = (1e-9 if name.endswith("product") else 1e-13) * np.abs(value).max(initial=0)
                np.testing.assert_allclose(first[name], value, rtol=0, atol=bound, err_msg=name)
