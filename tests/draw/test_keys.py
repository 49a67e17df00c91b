"""Numbers depend on every field of their key, and on nothing else."""

import itertools
import math

import torch
from scipy import stats

from regrow.draw.keys import Key, normal_rows, uniform_rows

FILTERS = torch.arange(6)


def test_every_field_matters() -> None:
    keys = [
        Key(seed=0, step=0, layer="a"),
        Key(seed=2**32, step=0, layer="a"),  # equal to seed 0 in a generator that takes 32 bits
        Key(seed=-1, step=0, layer="a"),
        Key(seed=0, step=1, layer="a"),
        Key(seed=0, step=2**32, layer="a"),
        Key(seed=0, step=0, layer="b"),
        Key(seed=0, step=0, layer="a", purpose="other"),
    ]
    draws = [uniform_rows(key, filters=FILTERS, count=5) for key in keys]
    for first, second in itertools.combinations(draws, 2):
        assert not (first == second).any()


def test_filters_differ_and_do_not_depend_on_their_company() -> None:
    key = Key(seed=5, step=9, layer="conv")
    rows = uniform_rows(key, filters=FILTERS, count=7)
    assert len(set(rows.flatten().tolist())) == rows.numel()
    assert torch.equal(uniform_rows(key, filters=torch.tensor([4]), count=7)[0], rows[4])
    assert torch.equal(uniform_rows(key, filters=FILTERS, count=3), rows[:, :3])


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    normal_rows(Key(seed=0, step=0, layer="a"), filters=FILTERS, count=11)
    assert torch.equal(before, torch.get_rng_state())


def test_distributions() -> None:
    key = Key(seed=1, step=2, layer="conv")
    uniform = uniform_rows(key, filters=torch.arange(50), count=400).flatten().numpy()
    normal = normal_rows(key, filters=torch.arange(50), count=400).flatten().numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert stats.kstest(normal * 1.1, "norm").pvalue < 1e-3  # the test sees a wrong deviation
    assert uniform.min() > 0
    assert uniform.max() < 1
    assert math.isfinite(float(abs(normal).max()))
