"""Silences beside a unit's own, against plain loops in float64."""

import random

import pytest
import torch

from regrow.functional import silence_limit, silence_share


def _share(silence: int, past: list[int]) -> float:
    """P(A >= a), with the present silence as one of those that it is compared with."""
    known = [each for each in past if each >= 0]
    return (1 + sum(each >= silence for each in known)) / (1 + len(known))


def test_the_share_is_the_papers_probability() -> None:
    generator = torch.Generator().manual_seed(0)
    past = torch.randint(-1, 12, (3, 5, 40), generator=generator, dtype=torch.int32)
    silence = torch.randint(0, 14, (3, 5), generator=generator, dtype=torch.int32)
    expected = [
        [_share(a, each) for a, each in zip(row, rows, strict=True)]
        for row, rows in zip(silence.tolist(), past.tolist(), strict=True)
    ]
    found = silence_share(silence, past=past)
    assert found.dtype == torch.float64
    assert found.tolist() == expected


@pytest.mark.parametrize("known", [3, 9, 19, 60])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_no_more_silences_than_the_level_are_rejected_however_short_the_history(
    known: int, level: float
) -> None:
    """Present and past from one law: an exact test, and with next to no history it rejects nobody."""
    source = random.Random(1)  # noqa: S311 # no secret
    draws = [[int(source.expovariate(0.3)) for _ in range(known + 1)] for _ in range(20_000)]
    rows = torch.tensor(draws, dtype=torch.int32)
    share = float((silence_share(rows[:, 0], past=rows[:, 1:]) <= level).double().mean())
    assert share <= level + 0.006  # four standard errors
    assert (share == 0.0) == (1 / (known + 1) > level)


def test_without_a_history_nothing_is_unusual() -> None:
    none = torch.full((2, 8), -1, dtype=torch.int32)
    assert silence_share(torch.tensor([0, 10**6]), past=none).tolist() == [1.0, 1.0]


def _limit(
    silences: list[int], *, limit: int, percentile: float, growth: float, least: int, most: int
) -> int:
    """As the released code has it, from the silences themselves."""
    if not silences:
        return max(least, min(most, limit))
    ordered = sorted(silences)
    q = next(
        each
        for each in ordered
        if sum(other <= each for other in ordered) >= percentile * len(ordered) - 1e-9
    )
    found = q if q < limit else int(growth * limit)
    return max(least, min(most, found))


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.92, 0.99, 1.0])
def test_limits_are_percentiles_or_grow(percentile: float) -> None:
    source = random.Random(2)  # noqa: S311 # no secret
    units = [
        [min(30, int(source.expovariate(rate))) for _ in range(count)]
        for rate in (0.05, 0.3, 2.0)
        for count in (0, 1, 10, 100)
    ]
    limits = [source.randint(1, 30) for _ in units]
    counts = torch.zeros(len(units), 31, dtype=torch.int32)
    for row, silences in enumerate(units):
        for each in silences:
            counts[row, each] += 1
    told = {"percentile": percentile, "growth": 2.0, "least": 2, "most": 40}
    found = silence_limit(counts, limit=torch.tensor(limits, dtype=torch.int32), **told)  # type: ignore[arg-type]
    expected = [
        _limit(silences, limit=limit, **told)  # type: ignore[arg-type]
        for silences, limit in zip(units, limits, strict=True)
    ]
    assert found.tolist() == expected
    assert found.dtype == torch.int32
