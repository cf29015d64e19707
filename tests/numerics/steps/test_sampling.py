"""Mini-batches: what each rule promises, and that a stopped sampler goes on as if it had not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import BadInput
from landscape.numerics.steps.sampling import (
    SAMPLINGS,
    Sampler,
    isolated_rng,
    restore_rng,
    rng_state,
    seed_of_draw,
)

sizes = st.integers(1, 30)
CPU = torch.device("cpu")


def one_pass(sampler):
    return torch.cat([sampler.next() for _ in range(sampler.batches_per_pass)])


@given(st.sampled_from(["cycle", "reshuffle", "ordered"]), sizes, sizes, st.integers(0, 5))
def test_a_pass_sees_every_sample_once(rule, num_samples, batch_size, seed):
    sampler = Sampler(rule, num_samples, batch_size, seed)
    passes = [one_pass(sampler) for _ in range(3)]
    for seen in passes:
        assert sorted(seen.tolist()) == list(range(num_samples))
    if rule in ("cycle", "ordered"):
        assert torch.equal(passes[0], passes[1])
        assert torch.equal(passes[0], passes[2])


def test_reshuffle_changes_the_order_and_cycle_is_shuffled():
    sampler = Sampler("reshuffle", 100, 7, 0)
    assert not torch.equal(one_pass(sampler), one_pass(sampler))
    assert not torch.equal(one_pass(Sampler("cycle", 100, 7, 0)), torch.arange(100))


def test_uniform_draws_with_replacement():
    sampler = Sampler("uniform", 10, 5, 0)
    draws = torch.stack([sampler.next() for _ in range(4000)])
    counts = draws.flatten().bincount(minlength=10)
    # 20000 draws, 2000 expected of each, deviation 42
    assert (counts - 2000).abs().max() < 5 * 42
    # five draws of ten are all different with probability 10·9·8·7·6/10⁵
    distinct = torch.tensor([len(set(row.tolist())) == 5 for row in draws]).double().mean()
    assert float(distinct) == pytest.approx(0.3024, abs=0.04)


@given(st.sampled_from(SAMPLINGS), sizes, sizes, st.integers(0, 20))
def test_a_stopped_sampler_goes_on(rule, num_samples, batch_size, cut):
    whole = Sampler(rule, num_samples, batch_size, 3)
    for _ in range(cut):
        whole.next()
    other = Sampler(rule, num_samples, batch_size, 99)
    other.restore({name: tensor.clone() for name, tensor in whole.state().items()})
    for _ in range(8):
        assert torch.equal(other.next(), whole.next())


def test_a_batch_is_at_most_all_samples():
    assert len(Sampler("uniform", 5, 100, 0).next()) == 5
    assert Sampler("cycle", 10, 4, 0).batches_per_pass == 3


def test_an_unknown_rule():
    with pytest.raises(BadInput, match="one of uniform, cycle, reshuffle"):
        Sampler("shuffle", 3, 1, 0)


def test_global_generators_are_seeded_inside_and_as_before_outside():
    before = torch.get_rng_state()
    with isolated_rng(7, CPU):
        first = torch.rand(3)
        state = rng_state(CPU)
        second = torch.rand(3)
        restore_rng(state, CPU)
        assert torch.equal(torch.rand(3), second)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(RuntimeError), isolated_rng(7, CPU):
        torch.rand(3).view(2)
    with isolated_rng(7, CPU):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbouring_seeds_have_no_draw_in_common():
    draws = [seed_of_draw(seed, number) for seed in range(20) for number in range(1000)]
    assert len(set(draws)) == len(draws)
    assert min(draws) == 0
