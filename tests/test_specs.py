"""Specs, arguments and addresses."""

from pathlib import Path

import pytest

from landscape import specs
from landscape.errors import BadInput
from landscape.runs.address import parse_address


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=3", 3),
        ("a=-0.5", -0.5),
        ("a=1e-3", 1e-3),
        ("a=3,6", (3, 6)),
        ("a=(1,)", (1,)),
        ("a=true", True),
        ("a=None", None),
        ("a=tanh", "tanh"),
        ("a=x=y", "x=y"),
        ("a=", ""),
        ("a=__import__('os').getcwd()", "__import__('os').getcwd()"),
    ],
)
def test_arguments_are_plain_values_and_never_evaluated(pair, value):
    assert specs.parse_arguments([pair]) == {"a": value}


@pytest.mark.parametrize("pair", ["a", "=3", "a-b=3", ""])
def test_what_is_no_pair_is_refused(pair):
    with pytest.raises(BadInput, match="name=value"):
        specs.parse_arguments([pair])


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        ("a.h5", "a.h5", ""),
        ("a.h5@final", "a.h5", "final"),
        ("runs@home/a.h5", "runs@home/a.h5", ""),
        ("runs@home/a.h5@step=12", "runs@home/a.h5", "step=12"),
    ],
)
def test_addresses(text, path, name):
    address = parse_address(text)
    assert (address.path, address.name) == (Path(path), name)
    assert str(address) == text


def test_a_file_whose_name_holds_an_at_sign_is_that_file(tmp_path):
    odd = tmp_path / "a.h5@final"
    odd.touch()
    assert parse_address(str(odd)).path == odd


def test_specs_by_file_and_by_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_code_here.py").write_text("def make(n=1):\n    return n + 1\n")
    for spec in ("own_code_here.py:make", "own_code_here:make"):
        assert specs.call(specs.resolve(spec), {"n": 2}, spec) == 3
        origin = specs.origin(spec)
        assert origin is not None
        assert origin.resolve() == tmp_path / "own_code_here.py"


def test_the_origin_of_a_spec_is_found_without_running_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "would_raise.py").write_text("raise SystemExit('ran')\n")
    assert specs.origin("would_raise:f") is not None
    assert specs.origin("no_module_of_this_name:f") is None
    assert specs.origin("os:system") != tmp_path


def test_a_misspelled_name_is_shown_what_the_file_defines(tmp_path):
    (tmp_path / "own_names.py").write_text(
        "import numpy as np\nfrom os.path import join\nfrom torch.nn import Linear, MSELoss\n"
        "RATE = 0.1\ncriterion = MSELoss()\n"
        "def _hidden():\n    inner = 1\n    return inner\n"
        "def make_net():\n    return Linear(1, 1)\n"
        "class Wide(Linear):\n    depth = 3\n"
    )
    with pytest.raises(BadInput) as refused:
        specs.resolve(f"{tmp_path / 'own_names.py'}:make_nte")
    assert refused.value.wanted == "one of RATE, Wide, criterion, make_net"
    assert refused.value.remedy == "did you mean 'make_net'?"
    with pytest.raises(BadInput) as refused:
        specs.resolve(f"{tmp_path / 'own_names.py'}:Linaer")
    assert refused.value.remedy == "did you mean 'Linear'?"


def test_a_misspelled_name_of_a_package_that_only_gathers():
    with pytest.raises(BadInput, match="did you mean 'MSELoss'"):
        specs.resolve("torch.nn:MSELos")
