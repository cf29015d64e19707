"""Losses against torch.nn.functional; sums told from means and weighted means, and from what is neither."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import Objective
from landscape.errors import BadInput
from landscape.objective.losses import LOSSES, known_loss, weighted_mean
from landscape.objective.meaning import settled as settle
from landscape.objective.meaning import spread
from landscape.objective.samples import Samples

N = 7


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CLASSES = torch.tensor([0, 2, 1, 1, 0, 2, 2])
BINARY = torch.tensor([0, 1, 1, 0, 1, 0, 0])


def close(seen, wanted):
    assert float(seen) == pytest.approx(float(wanted), rel=1e-14)


def test_cross_entropy_sums_over_samples():
    outputs = draw(N, 3)
    close(known_loss("cross_entropy").total(outputs, CLASSES), N * functional.cross_entropy(outputs, CLASSES))


def test_cross_entropy_averages_over_pixels():
    outputs, targets = draw(2, 3, 4, 5), torch.arange(40).reshape(2, 4, 5) % 3
    close(known_loss("cross_entropy").total(outputs, targets), 2 * functional.cross_entropy(outputs, targets))


def test_cross_entropy_takes_probabilities():
    outputs, targets = draw(N, 3), draw(N, 3, seed=1).softmax(1)
    close(known_loss("cross_entropy").total(outputs, targets), N * functional.cross_entropy(outputs, targets))


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_bce_takes_targets_of_either_shape(shape):
    outputs = draw(*shape)
    wanted = functional.binary_cross_entropy_with_logits(outputs, BINARY.double().reshape(shape))
    close(known_loss("bce").total(outputs, BINARY), N * wanted)


def test_mse_averages_over_outputs():
    outputs, targets = draw(N, 3), draw(N, 3, seed=1)
    close(known_loss("mse").total(outputs, targets), N * functional.mse_loss(outputs, targets))


def test_mse_makes_classes_one_hot():
    outputs = draw(N, 3)
    wanted = functional.mse_loss(outputs, functional.one_hot(CLASSES).double())
    close(known_loss("mse").total(outputs, CLASSES), N * wanted)


def test_mse_takes_integers_as_numbers_where_there_is_one_output():
    outputs = draw(N, 1)
    wanted = functional.mse_loss(outputs, CLASSES.double()[:, None])
    close(known_loss("mse").total(outputs, CLASSES), N * wanted)


def test_mse_never_broadcasts_or_scrambles():
    with pytest.raises(BadInput, match=r"\(7, 1\) for outputs of shape \(7, 3\)"):
        known_loss("mse").total(draw(N, 3), draw(N, 1))
    with pytest.raises(BadInput, match="same shape"):
        known_loss("mse").total(draw(N, 2, 3), draw(N, 3, 2))


def test_output_is_the_loss():
    close(known_loss("output").total(draw(N, 1), BINARY), draw(N, 1).sum())
    close(known_loss("output").total(torch.tensor(3.0), BINARY), 3.0 * N)


def test_sums_are_float64_whatever_the_outputs():
    for name, outputs, targets in (
        ("cross_entropy", draw(N, 3), CLASSES),
        ("bce", draw(N), BINARY),
        ("mse", draw(N, 3), CLASSES),
    ):
        assert LOSSES[name].total(outputs.float(), targets).dtype == torch.float64


def test_right_samples_are_counted():
    correct = LOSSES["cross_entropy"].correct
    outputs = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 4.0]])
    assert correct(outputs, torch.tensor([0, 0, 1])).tolist() == [True, False, True]
    as_probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])
    assert correct(outputs, as_probabilities).tolist() == [True, False, True]
    assert LOSSES["mse"].correct is None


def test_a_sample_of_many_labels_is_right_in_part():
    logits = torch.tensor([[1.0, -1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]])
    labels = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert LOSSES["bce"].correct(logits, labels).tolist() == [0.5, 1.0]
    pixels = torch.zeros(1, 2, 2, 2)
    pixels[0, 1, 0] = 1
    assert LOSSES["cross_entropy"].correct(pixels, torch.ones(1, 2, 2, dtype=torch.long)).tolist() == [0.5]


# Losses of the user's own: name -> (loss, outputs, targets). Each is the mean or sum of one per sample.
OWN = {
    "module mean": (nn.CrossEntropyLoss(), draw(N, 3), CLASSES),
    "module sum": (nn.CrossEntropyLoss(reduction="sum"), draw(N, 3), CLASSES),
    "module none": (nn.CrossEntropyLoss(reduction="none"), draw(N, 3), CLASSES),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), draw(N, 3), CLASSES),
    "function mean": (functional.l1_loss, draw(N, 3), draw(N, 3, seed=1)),
    "function sum": (lambda o, t: (o - t).abs().sum(), draw(N, 3), draw(N, 3, seed=1)),
    "function none": (lambda o, t: (o - t).abs(), draw(N, 3), draw(N, 3, seed=1)),
    "batchmean": (nn.KLDivLoss(reduction="batchmean"), draw(N, 3), draw(N, 3, seed=1).softmax(1)),
    "huber": (nn.SmoothL1Loss(), draw(N, 3), draw(N, 3, seed=1)),
}


def trials(outputs, targets):
    """As for real: outputs of the module, and such that are spread at random."""
    drawn = [spread(outputs, low, high, 3) for low, high in ((0, 1), (-1, 0), (-3, 3))]
    return [lambda rows, of=of: (of[rows], targets[rows]) for of in (outputs, *drawn)]


def settled(loss, outputs, targets):
    return settle(known_loss(loss), trials(outputs, targets), len(targets), torch.float64)


@pytest.mark.parametrize("name", OWN)
def test_reductions_are_settled(name):
    """The settled total is additive; over what it is taken, all of it is what the loss itself says."""
    loss, outputs, targets = OWN[name]
    found = settled(loss, outputs, targets)
    parts = [found.total(outputs[i : i + 1], targets[i : i + 1]) for i in range(N)]
    whole = found.total(outputs, targets)
    close(whole, sum(parts))
    close(whole / (1 if "sum" in name else N), loss(outputs, targets).mean())
    assert found.over == ("one" if "sum" in name else "samples")
    close(found.mean(outputs, targets), loss(outputs, targets).mean())


def test_a_sum_that_is_zero_on_the_samples_is_still_a_sum():
    """A hinge is zero where all is well; judged there it could as well be a mean."""

    def hinge(outputs, targets):
        return torch.relu(outputs[:, 0]).sum()

    found = settled(hinge, -torch.ones(4, 1, dtype=torch.float64), torch.zeros(4))
    assert found.over == "one"
    assert float(found.total(torch.ones(8, 1), torch.zeros(8))) == 8.0


WEIGHT = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
HANG_TOGETHER = {
    "variance": lambda o, t: o.var(),
    "root mean square": lambda o, t: (o[:, 0] - t).square().mean().sqrt(),
    "contrastive, per sample": lambda o, t: functional.cross_entropy(
        o @ o.T, torch.arange(len(o)), reduction="none"
    ),
    "weighted inside": lambda o, t: functional.cross_entropy(o, t, WEIGHT),
    "ignored inside": lambda o, t: functional.cross_entropy(o, t, ignore_index=2),
    "a weight of outputs": lambda o, t: ((o[:, 0] ** 3).sum(), o[:, 0].square().sum()),
}


@pytest.mark.parametrize("name", HANG_TOGETHER)
def test_what_no_cut_bears_is_a_whole(name):
    assert settled(HANG_TOGETHER[name], draw(N, 3), CLASSES) is None


def test_a_pair_is_a_total_and_a_weight():
    def loss(outputs, targets):
        weight = WEIGHT[targets]
        return (weight * functional.cross_entropy(outputs, targets, reduction="none")).sum(), weight.sum()

    outputs = draw(N, 3)
    found = settled(loss, outputs, CLASSES)
    assert found.over == "weight"
    close(found.mean(outputs, CLASSES), functional.cross_entropy(outputs, CLASSES, WEIGHT))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [-100, 1])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_weighted_means_are_those_of_torch(smoothing, ignored, weight):
    """Cut into single samples, those that do not count too; accuracy is over those that count."""
    loss = nn.CrossEntropyLoss(weight, ignore_index=ignored, label_smoothing=smoothing)
    outputs = draw(N, 3)
    found = weighted_mean(loss, Samples.of((CLASSES, CLASSES)))
    if weight is None and ignored == -100:
        assert found is None
        return
    parts = [slice(i, i + 1) for i in range(N)]
    total, over = (
        sum(float(function(outputs[one], CLASSES[one])) for one in parts)
        for function in (found.total, found.weight)
    )
    close(total / over, loss(outputs, CLASSES))
    counted = ignored != CLASSES
    right = (outputs.argmax(1) == CLASSES)[counted].double().mean()
    close(found.correct(outputs, CLASSES).double().mean(), right)
    assert loss.reduction == "mean"


def test_the_weighted_negative_log_likelihood_is_that_of_torch():
    loss, outputs = nn.NLLLoss(WEIGHT), draw(N, 3).log_softmax(1)
    found = weighted_mean(loss, Samples.of((CLASSES, CLASSES)))
    close(found.mean(outputs, CLASSES), loss(outputs, CLASSES))


def test_a_weighted_sum_stays_a_sum():
    loss = nn.CrossEntropyLoss(weight=WEIGHT, reduction="sum")
    found = settled(loss, draw(N, 3), CLASSES)
    assert found.over == "one"
    close(
        found.total(draw(N, 3), CLASSES),
        functional.cross_entropy(draw(N, 3), CLASSES, WEIGHT, reduction="sum"),
    )


def test_a_loss_of_the_wrong_shape_is_refused():
    with pytest.raises(BadInput, match=r"shape \(3,\)"):
        settled(lambda o, t: o.sum(0), draw(4, 3), CLASSES[:4])
    with pytest.raises(BadInput, match="returned a float"):
        settled(lambda o, t: 1.0, draw(4, 3), CLASSES[:4])
    for value, said in ((None, "a NoneType"), ({"loss": 1}, "a dict"), (("one", 1), "a str")):
        with pytest.raises(BadInput, match=f"returned {said}; expected a tensor; let it return the number"):
            Objective(nn.Linear(3, 3), lambda o, t, value=value: value, (draw(4, 3), CLASSES[:4]))


def test_losses_by_spec():
    assert known_loss("torch.nn.functional:l1_loss") is functional.l1_loss
    assert isinstance(known_loss("torch.nn:MSELoss"), nn.MSELoss)
    for name, loss in LOSSES.items():
        assert known_loss(name) is loss


@pytest.mark.parametrize(
    ("loss", "message"),
    [("cross_entrpy", "one of cross_entropy"), ("torch.nn:NoLoss", "has no 'NoLoss'"), (3, "a callable")],
)
def test_no_such_loss(loss, message):
    with pytest.raises(BadInput, match=message):
        known_loss(loss)


def test_what_should_make_a_loss_and_makes_none_is_told():
    def forgotten():
        torch.zeros(3)[4]

    data = torch.zeros(2, 1), torch.zeros(2, 1)
    for named, said in (
        (
            forgotten,
            r"the loss forgotten, which takes no arguments, was called .* raised IndexError: .*line \d+",
        ),
        (lambda: None, "returned a NoneType; .*let it take these"),
    ):
        with pytest.raises(BadInput, match=said):
            Objective(nn.Linear(1, 1), named, data)
    objective = Objective(nn.Linear(1, 1), lambda: LOSSES["mse"], data)
    assert objective.value(torch.ones(2)) == pytest.approx(1.0)
