"""What a look holds does not grow with depth or data, and what is compared in turns is compared rightly."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.functional import silent
from regrow.health.input_reading import InletReading
from regrow.health.pass_values import PassValues

WIDTH = 24
MATRIX = WIDTH * WIDTH * 8


def _deep(layers: int) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(layers)]
    return nn.Sequential(*blocks, nn.Linear(WIDTH, 3))


def _batches(count: int, examples: int = 32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(examples, WIDTH, generator=generator) for _ in range(count)]


def _matrices() -> int:
    """How many matrices of this width in double precision anybody holds."""
    return sum(
        isinstance(each, Tensor) and each.dtype == torch.float64 and each.shape == (WIDTH, WIDTH)
        for each in gc.get_objects()
    )


def _most_held(net: nn.Sequential, batches: list[Tensor]) -> int:
    """The most of them while the net runs, and between batches."""
    held: list[int] = []
    for each in net:
        each.register_forward_pre_hook(lambda *_: held.append(_matrices()))

    def loader() -> Iterator[Tensor]:
        for batch in batches:
            held.append(_matrices())
            yield batch

    regrow.inspect(net, loader())
    return max(held)


@pytest.mark.parametrize("count", [1, 3])
def test_matrices_do_not_grow_with_depth(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("regrow.health.turns.ROOM", 2 * MATRIX)
    held = {layers: _most_held(_deep(layers), _batches(count)) for layers in (2, 8)}
    assert held == {2: 2, 8: 2}


def test_where_there_is_room_all_layers_are_compared_over_all_batches() -> None:
    assert _most_held(_deep(5), _batches(3)) == 5


def _hidden(net: nn.Sequential, layer: int, batches: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return net[: layer + 1](torch.cat(batches)).double()


def _rank(features: Tensor) -> float:
    values = torch.linalg.svdvals(features)
    shares = values / values.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))


def test_a_turn_is_as_many_batches_as_make_two_examples_a_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("regrow.health.turns.ROOM", 2 * MATRIX)
    net, batches = _deep(5), _batches(5)
    health = regrow.inspect(net, iter(batches))
    # 48 rows are two batches; the fifth layer has the last batch for itself.
    for layer, turn in enumerate((slice(0, 2), slice(0, 2), slice(2, 4), slice(2, 4), slice(4, 5))):
        expected = _rank(_hidden(net, layer, batches[turn]))
        assert health[f"{layer}.0"].numbers["effective_rank"] == pytest.approx(expected, rel=1e-5)
    assert any("took turns" in note for note in health.notes)


def test_one_batch_is_enough_for_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    net, (batch,) = _deep(5), _batches(1)
    with torch.no_grad():
        net[4][0].weight[3], net[4][0].bias[3] = net[4][0].weight[2], net[4][0].bias[2]
    together = regrow.inspect(net, batch)
    monkeypatch.setattr("regrow.health.turns.ROOM", MATRIX)
    apart = regrow.inspect(net, batch)
    assert {2, 3} <= set(apart["4.0"].units["alike"])
    assert [layer.numbers for layer in apart.layers] == [layer.numbers for layer in together.layers]
    assert [layer.units for layer in apart.layers] == [layer.units for layer in together.layers]


def test_positions_are_taken_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a unit from few images of many positions."""
    monkeypatch.setattr("regrow.health.turns.ROOM", 0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Tanh(), nn.Flatten(), nn.Linear(40 * 64, 2))
    x = torch.randn(5, 3, 10, 10)
    found = regrow.inspect(net, x)["0"].numbers["effective_rank"]
    with torch.no_grad():
        given = net[:2](x).double().flatten(2)[:, :, ::4]  # 16 of 64 positions: 80 rows
    assert found == pytest.approx(_rank(given.movedim(1, -1).flatten(0, 1)), rel=1e-5)


def test_a_branch_that_is_seldom_taken_is_compared_when_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.seldom, self.always = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.head = nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.always(x).tanh()
            return self.head(self.seldom(x).tanh() if x.shape[0] % 2 == 0 else x)

    monkeypatch.setattr("regrow.health.turns.ROOM", MATRIX)
    net = Branch()
    odd, even = (_batches(2, examples) for examples in (49, 50))
    health = regrow.inspect(net, iter([*odd, *even]), wiring=regrow.trace(net, even[0][:2]))
    assert health["always"].numbers["effective_rank"] > 1
    assert health["seldom"].numbers["effective_rank"] > 1


def test_what_is_certain_is_not_looked_for_and_comes_out_the_same() -> None:
    """Later batches are larger, have dead units, or are no numbers: each unit is named as in one batch of all."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.Flatten())
    net.append(nn.Linear(8 * 16, 5))
    with torch.no_grad():
        net[0].weight[4], net[0].bias[4] = 0.0, -1.0
        net[0].weight[7], net[0].bias[7] = 0.0, 2.0
    generator = torch.Generator().manual_seed(1)
    quiet = torch.randn(6, 3, 8, 8, generator=generator)
    for later in (quiet.flip(0), 30 * quiet, 1e5 * quiet, quiet * torch.inf, 0 * quiet):
        batches = [quiet, quiet + 0.1, later, quiet]
        apart = regrow.inspect(net, iter(batches))
        together = regrow.inspect(net, torch.cat(batches))
        for one, other in zip(apart.layers, together.layers, strict=True):
            # As a share of what came to be the largest, units of the other batches gave one value; they did not.
            if later.abs().max() < 1e4 or not later.isfinite().all():
                assert one.units == other.units
            assert {4, 7} & set(one.units.get("dead", ())) == {4, 7} & set(
                other.units.get("dead", ())
            )


def test_who_hears_what_changes_is_found_as_by_reading_everything() -> None:
    """Over jumps of size that make what has changed before look like nothing."""
    generator = torch.Generator().manual_seed(0)
    seen = set[bool]()
    for case in range(300):
        size = 10.0 ** torch.randint(-8, 4, (3, 1, 1), generator=generator)
        step = 10.0 ** torch.randint(-9, 1, (3, 1, 1), generator=generator)
        same = torch.ones(1, 4, 4) if case % 2 else torch.randn(1, 4, 4, generator=generator)
        batches = list(size * (same + step * torch.randn(3, 4, 4, generator=generator)))
        if case % 3 == 0:
            batches = [batches[0]] * 3
        reading = InletReading(-1, groups=1)
        for each in batches:
            reading.take(each, PassValues())
        every = torch.cat(batches)
        low, high = every.amin(0), every.amax(0)
        constant = bool(silent(low, high, largest=every.abs().amax()).all())
        assert not (constant and reading.changes)
        if not reading.changes:
            assert reading.low is not None
            assert torch.equal(reading.low, low)
        seen.add(reading.changes)
    assert seen == {True, False}
