"""The ready modules against counts and values worked out by hand, and every sentence of ``build_model``."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from landscape.errors import BadInput
from landscape.inputs.models import MODELS, build_model
from landscape.inputs.models.mlp import ACTIVATIONS, mlp

USER_FILE = """
import torch
from torch import nn

def plain(hidden=3):
    return nn.Linear(hidden, 1)

def shaped(input_shape, num_outputs):
    assert isinstance(input_shape, tuple)
    return nn.Linear(input_shape[0], num_outputs)

class Classed(nn.Module):
    def __init__(self, num_outputs, scale=1.0):
        super().__init__()
        self.weight = nn.Parameter(scale * torch.ones(num_outputs))

def restless(input_shape):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    return nn.Linear(2, 2)

def broken():
    raise RuntimeError("out of luck")

def number():
    return 3

def frozen():
    return nn.Linear(2, 2).requires_grad_(False)

def lazy():
    return nn.LazyLinear(2)

instance = nn.Linear(2, 2)
value = 7
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return path


def build(spec: object, seed: int = 0, input_shape=(64,), num_outputs: int = 10, **arguments) -> nn.Module:
    return build_model(str(spec), arguments, seed, input_shape=input_shape, num_outputs=num_outputs)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def surface(spec: str, **initial: float) -> float:
    """The module's output at input 1."""
    module = build(spec, input_shape=(1,), num_outputs=1, **initial)
    output = module(torch.ones(1, 1))
    assert output.shape == (1, 1)
    return output.item()


# The toy surfaces, from their formulas


def test_toy_product_is_v_times_w():
    assert surface("toy-product", v=3.0, w=-0.5) == -1.5


def test_given_values_of_a_toy_surface_are_not_rounded_to_float32():
    module = build("toy-product", input_shape=(1,), num_outputs=1, v=1.1, w=1 + 1e-10)
    assert [one.item() for one in module.double().parameters()] == [1.1, 1 + 1e-10]


def test_toy_neuron_is_minus_an_eighth_of_a_parabola():
    assert surface("toy-neuron", v=2.0, w=-3.0) == -4.0
    assert surface("toy-neuron", v=2.0, w=1.0) == 0.0


@pytest.mark.parametrize(("w", "expected"), [(1.5, 3.0), (-1.5, 0.0)])
def test_toy_relu_neuron_is_dead_on_one_side(w: float, expected: float):
    assert surface("toy-relu-neuron", v=2.0, w=w) == expected


def test_toy_saddle_is_the_loss_whatever_the_inputs():
    module = build("toy-saddle", input_shape=(1,), num_outputs=1, v=3.0, w=2.0)
    assert module(torch.tensor([[0.0], [1.0], [-7.0]])).tolist() == [[5.0]] * 3


def test_toy_chain_is_a_product_of_three():
    assert surface("toy-chain", x=2.0, y=3.0, z=-0.5) == -3.0


def test_hessian_of_the_product_has_eigenvalues_0_and_4_at_its_minimum():
    module = build("toy-product", input_shape=(1,), num_outputs=1)

    def loss(theta: torch.Tensor) -> torch.Tensor:
        parameters = {"v": theta[0], "w": theta[1]}
        output = torch.func.functional_call(module, parameters, torch.ones(1, 1, dtype=torch.float64))
        return ((1 - output) ** 2).mean()

    hessian = torch.autograd.functional.hessian(loss, torch.ones(2, dtype=torch.float64))
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx([0.0, 4.0], abs=1e-12)


def test_toy_parameters_are_scalars_by_name_drawn_where_not_given():
    module = build("toy-chain", input_shape=(1,), num_outputs=1, y=2.0)
    parameters = dict(module.named_parameters())
    assert list(parameters) == ["x", "y", "z"]
    assert all(parameter.shape == () for parameter in parameters.values())
    assert parameters["y"] == 2.0
    assert parameters["x"] != parameters["z"]


def test_toy_surfaces_refuse_wide_data():
    with pytest.raises(BadInput, match="`data` point"):
        build("toy-product")


# Sizes, counted by hand


@pytest.mark.parametrize(
    ("spec", "arguments", "expected"),
    [
        ("mlp", {}, 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10),
        ("mlp", {"widths": 7}, 64 * 7 + 7 + 7 * 10 + 10),
        ("mlp", {"widths": ()}, 64 * 10 + 10),
        ("mlp", {"widths": [5], "bias": False}, 64 * 5 + 5 * 10),
        ("mlp", {"widths": (5,), "batchnorm": True}, 64 * 5 + 2 * 5 + 5 * 10 + 10),
        ("linear", {}, 64 * 64 + 64 * 10),
        ("linear", {"widths": (4, 3), "bias": True}, 64 * 4 + 4 + 4 * 3 + 3 + 3 * 10 + 10),
    ],
)
def test_mlp_has_the_parameters_of_its_layers(spec: str, arguments: dict, expected: int):
    module = build(spec, **arguments)
    assert num_parameters(module) == expected
    assert module(torch.ones(3, 64)).shape == (3, 10)


def test_mlp_flattens_images_and_names_its_parameters():
    module = build("mlp", input_shape=(1, 8, 8), widths=(5, 4), dropout=0.5, batchnorm=True)
    assert module(torch.ones(3, 1, 8, 8)).shape == (3, 10)
    names = [name for name, _ in module.named_parameters()]
    assert names[:3] == ["hidden1.weight", "batchnorm1.weight", "batchnorm1.bias"]
    assert names[-2:] == ["output.weight", "output.bias"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_what_torch_calls_so(name: str):
    module = build("mlp", widths=3, activation=name, input_shape=(2,), num_outputs=1)
    inputs = torch.tensor([[0.3, -2.0]])
    parameters = dict(module.named_parameters())
    function = (lambda z: z) if name == "identity" else getattr(nn.functional, name)
    hidden = function(inputs @ parameters["hidden1.weight"].T + parameters["hidden1.bias"])
    expected = hidden @ parameters["output.weight"].T + parameters["output.bias"]
    torch.testing.assert_close(module(inputs), expected)


def test_deep_linear_network_is_the_product_of_its_matrices():
    module = build("linear", widths=(5, 4), input_shape=(3,), num_outputs=2)
    first, second, third = module.parameters()
    inputs = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(inputs), inputs @ (third @ second @ first).T)


@pytest.mark.parametrize("input_shape", [(1, 8, 8), (8, 8)])
def test_cnn_has_the_parameters_of_its_layers(input_shape: tuple[int, ...]):
    module = build("cnn", input_shape=input_shape)
    assert num_parameters(module) == (9 + 1) * 8 + (8 * 9 + 1) * 16 + 16 * 2 * 2 * 10 + 10
    assert module(torch.ones(3, *input_shape)).shape == (3, 10)


def test_cnn_with_batchnorm_and_odd_sides():
    module = build("cnn", input_shape=(2, 11, 9), channels=(4,), kernel_size=5, batchnorm=True)
    assert num_parameters(module) == 2 * 4 * 25 + 2 * 4 + 4 * 5 * 4 * 10 + 10
    assert module(torch.ones(3, 2, 11, 9)).shape == (3, 10)


def residual_network_size(depth: int, width_factor: int = 1, num_channels: int = 3) -> int:
    """Table 6 of He et al. 2016 in the option A form, counted layer by layer."""
    widths = [16] + [16 * width_factor * 2**stage for stage in range(3) for _ in range((depth - 2) // 3)]
    weights = 9 * num_channels * 16 + sum(9 * a * b for a, b in itertools.pairwise(widths))
    return weights + 2 * sum(widths) + widths[-1] * 10 + 10


def test_resnet20_has_the_parameters_of_the_paper():
    assert residual_network_size(20) == 269_722
    assert num_parameters(build("resnet", input_shape=(3, 32, 32))) == 269_722


@pytest.mark.parametrize(("depth", "width_factor", "shortcuts"), [(8, 1, True), (14, 2, True), (8, 1, False)])
def test_resnet_grows_by_depth_and_width_and_its_shortcuts_are_free(
    depth: int, width_factor: int, shortcuts: bool
):
    module = build(
        "resnet", input_shape=(28, 28), depth=depth, width_factor=width_factor, shortcuts=shortcuts
    )
    assert num_parameters(module) == residual_network_size(depth, width_factor, num_channels=1)
    assert module(torch.ones(2, 28, 28)).shape == (2, 10)


def test_resnet_without_batchnorm_has_biases_and_no_buffers():
    module = build("resnet", input_shape=(3, 8, 8), depth=8, batchnorm=False)
    assert not list(module.buffers())
    assert num_parameters(module) == residual_network_size(8) - (16 + 2 * (16 + 32 + 64))


def test_resnet_shortcut_subsamples_and_pads_with_zeros():
    module = build("resnet", input_shape=(3, 8, 8), depth=8)
    block = module.stage2[0]
    features = torch.rand(2, 16, 7, 7, generator=torch.Generator().manual_seed(0))
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    output = block(features)
    torch.testing.assert_close(output[:, :16], features[:, :, ::2, ::2])
    assert output.shape == (2, 32, 4, 4)
    assert not output[:, 16:].any()


def test_plain_network_forgets_its_input_when_a_block_is_zero():
    module = build("resnet", input_shape=(3, 8, 8), depth=8, shortcuts=False)
    for parameter in module.stage2[0].parameters():
        nn.init.zeros_(parameter)
    assert not module.stage2[0](torch.rand(2, 16, 8, 8)).any()


def test_resnet_weights_are_drawn_as_in_he_2015():
    module = build("resnet", input_shape=(3, 32, 32))
    weight = module.stage3[1].conv1.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)


# Purity of the seed


def test_ding_begins_where_all_weights_are_one_whatever_the_seed():
    for seed in (1, 2):
        module = build("ding", seed, input_shape=(1,), num_outputs=1, width=4)
        assert torch.equal(nn.utils.parameters_to_vector(module.parameters()), torch.ones(8))
        assert not module(torch.randn(5, 1)).abs().gt(1e-6).any()
    with pytest.raises(BadInput, match="one number in and one out"):
        build("ding", input_shape=(2,), num_outputs=1)


@pytest.mark.parametrize("spec", [spec for spec in MODELS if spec != "ding"])
def test_seed_decides_the_parameters_and_the_global_state_stays(spec: str):
    toy = spec.startswith("toy")
    shape, num_outputs = ((1,), 1) if toy else ((1, 8, 8), 10)

    def parameters(seed: int) -> torch.Tensor:
        module = build(spec, seed, input_shape=shape, num_outputs=num_outputs)
        return nn.utils.parameters_to_vector(module.parameters())

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = parameters(1)
    torch.randn(3)
    after_a_draw = torch.get_rng_state()
    assert torch.equal(first, parameters(1))
    assert not torch.equal(first, parameters(2))
    assert torch.equal(torch.get_rng_state(), after_a_draw)
    torch.set_rng_state(before)


def test_global_state_stays_whatever_the_factory_does(user_file: Path):
    before = torch.get_rng_state()
    build(f"{user_file}:restless")
    with pytest.raises(BadInput):
        build(f"{user_file}:broken")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32


def test_parameters_do_not_depend_on_the_callers_dtype():
    expected = build("mlp", widths=3).output.weight
    torch.set_default_dtype(torch.float64)
    try:
        found = build("mlp", widths=3).output.weight
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


# The user's own


def test_user_factory_gets_what_it_asks_for(user_file: Path):
    assert build(f"{user_file}:plain", hidden=4).weight.shape == (1, 4)
    assert build(f"{user_file}:shaped").weight.shape == (10, 64)
    assert build(f"{user_file}:shaped", num_outputs=2).weight.shape == (2, 64)
    assert build(f"{user_file}:Classed", scale=2.0).weight.tolist() == [2.0] * 10


def test_an_argument_wins_over_the_data(user_file: Path):
    module = build_model(f"{user_file}:shaped", {"num_outputs": 3}, 0, input_shape=(64,), num_outputs=10)
    assert module.weight.shape == (3, 64)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("number", "returned an int; expected a torch.nn.Module"),
        ("broken", "raised RuntimeError: out of luck"),
        ("frozen", "no parameters that require grad"),
        ("lazy", "lazy parameters"),
        ("instance", "is a Linear; expected a class or a function"),
        ("value", "is an int; expected a class or a function"),
        ("absent", "has no 'absent'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_user_factory_that_is_wrong_gets_a_sentence(user_file: Path, name: str, sentence: str):
    with pytest.raises(BadInput, match=sentence):
        build(f"{user_file}:{name}")


@pytest.mark.parametrize(
    ("spec", "arguments", "sentence"),
    [
        ("resnt", {}, "unknown model 'resnt'.*mlp, linear, cnn.*did you mean 'resnet'"),
        ("mlp", {"wide": 3}, "does not take these arguments.*widths"),
        ("mlp", {"width": 0}, "width=0; expected positive integers"),
        ("mlp", {"activation": "tanh:2"}, "a number with leaky_relu"),
        ("mlp", {"activation": "elu:much"}, "a number after the colon"),
        ("mlp", {"activation": "rulu"}, "unknown activation 'rulu'; expected one of relu"),
        ("mlp", {"widths": (3, 0)}, r"widths=\(3, 0\); expected positive integers"),
        ("mlp", {"widths": "wide"}, "widths='wide'; expected positive integers"),
        ("mlp", {"dropout": 1.0}, "dropout=1.0; expected a probability"),
        ("cnn", {}, r"samples of shape \(64,\) are not images.*image=true"),
        ("cnn", {"input_shape": (1, 3, 8)}, "2 blocks halve an image of 3×8 to nothing"),
        ("cnn", {"input_shape": (8, 8), "kernel_size": 4}, "kernel_size=4; expected an odd number"),
        ("resnet", {}, "are not images"),
        ("resnet", {"input_shape": (8, 8), "depth": 18}, "depth=18.*the nearest is 20"),
        ("resnet", {"input_shape": (8, 8), "depth": 2}, "depth=2.*the nearest is 8"),
        ("resnet", {"input_shape": (8, 8), "depth": "deep"}, "depth='deep'"),
    ],
)
def test_bad_input_gets_a_sentence(spec: str, arguments: dict, sentence: str):
    with pytest.raises(BadInput, match=sentence):
        build_model(spec, arguments, 0, input_shape=(64,), num_outputs=10)


def test_width_and_depth_are_widths_that_are_all_the_same():
    short = mlp((3,), 1, activation="leaky_relu:0.1", width=4, depth=2)
    assert [layer.out_features for layer in short if isinstance(layer, nn.Linear)] == [4, 4, 1]
    assert [layer.negative_slope for layer in short if isinstance(layer, nn.LeakyReLU)] == [0.1, 0.1]
