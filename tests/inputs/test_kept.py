"""Bundled data sets out of the cache: the same to the last bit, and never those of other arguments."""

import subprocess
import sys

import pytest
import torch

from landscape.inputs.data import load_data


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "landscape" / "made"


def same(one, other) -> bool:
    parts = ("inputs", "targets", "test_inputs", "test_targets")
    pairs = [(getattr(one, part), getattr(other, part)) for part in parts]
    tensors = all(b is None if a is None else a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
    return tensors and all(
        getattr(one, name) == getattr(other, name) for name in ("name", "task", "num_classes", "doubt")
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("digits", {}),
        ("digits", {"image": True, "test_size": 0}),
        ("breast_cancer", {"seed": 3}),
        ("circles", {"num_samples": 40, "noise": 0}),
        ("moons", {"num_samples": 30}),
    ],
)
def test_the_second_time_is_as_the_first(name, arguments, cache, monkeypatch):
    made = load_data(name, arguments, None, None)
    (file,) = cache.iterdir()
    monkeypatch.setattr("landscape.inputs.data.specs.call", lambda *_: pytest.fail("made again"))
    assert same(load_data(name, arguments, None, None), made)
    assert file.suffix == ".npz"


def test_other_arguments_are_other_files(cache):
    one, other = (load_data("moons", {"num_samples": 30, "seed": seed}, None) for seed in (0, 1))
    assert not torch.equal(one.inputs, other.inputs)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:100], lambda raw: b"", lambda raw: raw[:-30] + bytes(30)]
)
def test_a_damaged_file_is_made_anew(damage, cache):
    made = load_data("moons", {}, None)
    (file,) = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert same(load_data("moons", {}, None), made)
    assert same(load_data("moons", {}, None), made)


def test_where_nothing_can_be_written_it_is_made_all_the_same(tmp_path, monkeypatch):
    place = tmp_path / "file"
    place.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    assert len(load_data("moons", {}, None).inputs) == 400


def test_scikit_learn_is_not_imported_again():
    asked = "from landscape.inputs.data import load_data; load_data('digits', {}, None)"
    for check in ("", "; import sys; assert 'sklearn' not in sys.modules"):
        subprocess.run([sys.executable, "-c", asked + check], check=True)
