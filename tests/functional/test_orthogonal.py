"""Directions that avoid others: exactly where there is room, least where there is none."""

import pytest
import torch

from regrow.functional import avoiding_directions


def _rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = (each.double() / each.double().norm(dim=-1, keepdim=True) for each in (a, b))
    return (a @ b.mT).abs()


@pytest.mark.parametrize(("given", "wanted", "length"), [(10, 5, 27), (40, 30, 288), (1, 1, 2)])
@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_with_room_they_are_orthogonal_to_all_and_to_each_other(
    given: int, wanted: int, length: int, spread: float
) -> None:
    """Also where what is avoided is nearly or wholly dependent, and of very different lengths."""
    avoid = _rows(given, length)
    avoid[0] *= 1e4
    if given > 3:
        avoid[1] = avoid[0]
        avoid[2] = avoid[0] + spread * avoid[3]
    made = avoiding_directions(avoid, _rows(wanted, length, seed=1))
    assert _cosines(made, avoid).max() < 1e-5
    unit = torch.eye(wanted, dtype=torch.float64)
    torch.testing.assert_close(made.double() @ made.double().mT, unit, atol=1e-5, rtol=0)


def test_they_are_random_inside_the_null_space() -> None:
    avoid = _rows(3, 12)
    first, second = (avoiding_directions(avoid, _rows(4, 12, seed=seed)) for seed in (1, 2))
    assert not torch.allclose(first, second)
    # The share of the noise outside of what is avoided is what they span.
    noise = _rows(4, 12, seed=1).double()
    basis = torch.linalg.qr(avoid.double().mT).Q
    inside = noise - noise @ basis @ basis.mT
    span = torch.linalg.qr(first.double().mT).Q
    torch.testing.assert_close(inside @ span @ span.mT, inside, atol=1e-5, rtol=0)
    assert ((inside * first.double()).sum(1)[0] > 0).item()


def test_a_null_space_that_is_too_small_is_used_and_then_what_is_used_least() -> None:
    avoid = _rows(6, 8)
    avoid[5] = avoid[4]  # five directions of eight are taken
    made = avoiding_directions(avoid, _rows(5, 8, seed=1))
    cosines = _cosines(made, avoid)
    assert cosines[:3].max() < 1e-5
    unit = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(made.double() @ made.double().mT, unit, atol=1e-5, rtol=0)
    given = avoid.double() / avoid.double().norm(dim=1, keepdim=True)
    least = torch.linalg.svd(given).Vh[4].abs()  # of the five that are used the least
    torch.testing.assert_close(made[3].double().abs(), least, atol=1e-5, rtol=0)


def test_more_than_there_are_numbers_end_with_the_noise() -> None:
    noise = _rows(12, 9, seed=1)
    made = avoiding_directions(_rows(20, 9), noise)
    torch.testing.assert_close(made.norm(dim=1), torch.ones(12))
    torch.testing.assert_close(made[9:], noise[9:] / noise[9:].norm(dim=1, keepdim=True))


def test_nothing_to_avoid_and_filters_of_zeros() -> None:
    for avoid in (torch.zeros(0, 6), torch.zeros(3, 6)):
        made = avoiding_directions(avoid, _rows(2, 6))
        torch.testing.assert_close(made @ made.mT, torch.eye(2), atol=1e-6, rtol=0)


def test_long_filters_without_a_free_direction() -> None:
    """These are looked at in less precision first; the span of what is used least is the same."""
    avoid = _rows(400, 256) * torch.linspace(0.5, 2.0, 256)
    made = avoiding_directions(avoid, _rows(20, 256, seed=1)).double()
    unit = torch.eye(20, dtype=torch.float64)
    torch.testing.assert_close(made @ made.mT, unit, atol=1e-5, rtol=0)
    given = avoid.double() / avoid.double().norm(dim=1, keepdim=True)
    least = torch.linalg.svd(given).Vh[-20:]
    assert torch.linalg.svdvals(made @ least.mT).min() > 1 - 1e-5


def test_long_filters_with_a_few_free_directions() -> None:
    avoid = _rows(400, 250) @ _rows(250, 256, seed=2)
    made = avoiding_directions(avoid, _rows(20, 256, seed=1))
    assert _cosines(made, avoid)[:6].max() < 1e-5
    assert _cosines(made, avoid)[6:].amax(1).min() > 1e-4


@pytest.mark.parametrize("spread", [1e-6, 1e-7])
def test_filters_that_are_nearly_the_same(spread: float) -> None:
    avoid = _rows(20, 200)
    avoid[10:] = avoid[:10] + spread * avoid[10:]
    assert _cosines(avoiding_directions(avoid, _rows(9, 200, seed=1)), avoid).max() < 1e-5


@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_many_long_filters(spread: float) -> None:
    """Float32 where that is enough, and float64 where filters are nearly dependent: the promise is the same."""
    avoid = _rows(256, 2304)
    avoid[1] = avoid[0] + spread * avoid[1]
    made = avoiding_directions(avoid, _rows(76, 2304, seed=1))
    assert _cosines(made, avoid).max() < 1e-5
    unit = torch.eye(76, dtype=torch.float64)
    torch.testing.assert_close(made.double() @ made.double().mT, unit, atol=1e-5, rtol=0)
    assert ((made[0] * _rows(76, 2304, seed=1)[0]).sum() > 0).item()


def test_what_is_not_finite_has_no_direction() -> None:
    given = torch.randn(4, 20)
    whole = torch.cat([given, torch.full((1, 20), torch.nan), torch.full((1, 20), torch.inf)])
    noise = torch.randn(3, 20)
    assert torch.equal(avoiding_directions(whole, noise), avoiding_directions(given, noise))
    lost = torch.full((30, 20), torch.nan)
    assert bool(avoiding_directions(lost, noise).isfinite().all())


def test_noise_of_too_few_dimensions() -> None:
    """An initialiser that draws all filters alike: what it lacks is taken from the null space all the same."""
    given, noise = torch.randn(8, 72), torch.full((4, 72), 0.1)
    made = avoiding_directions(given, noise).double()
    unit = torch.nn.functional.normalize(given.double(), dim=1)
    assert float((made @ unit.mT).abs().max()) < 1e-5
    assert torch.allclose(made @ made.mT, torch.eye(4, dtype=torch.float64), atol=1e-5)
