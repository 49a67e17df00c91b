"""ReDo: who is dormant, and what becomes of it; each test of the second half would have caught a public bug."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from recipes.small import dense, is_plain_training, kill, renewed, train
from regrow.errors import NoEffectWarning
from regrow.selection import FractionOfLayer

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]
Cnn = Callable[[int], nn.Module]


class TestWhoIsDormant:
    @pytest.mark.parametrize("threshold", [0.0, 0.1])
    def test_a_dead_relu_unit_is_found_and_lives_again(
        self, threshold: float, batches: Batches
    ) -> None:
        model = dense()
        kill(model[1], 2)
        kill(model[3], 5)
        found = train(model, batches(4), regrow.ReDo(threshold=threshold, every_steps=4))
        assert {2} <= set(renewed(found)["1"])
        assert {5} <= set(renewed(found)["3"])
        images = batches(4)[-1][0]
        with torch.no_grad():
            assert (model[:3](images)[:, 2] > 0).any()
            assert (model[:5](images)[:, 5] > 0).any()

    def test_scores_are_the_papers_on_the_training_batch(self, batches: Batches) -> None:
        model = dense()
        [batch] = batches(1)
        given = model[:3](batch[0]).detach().double().abs().mean(0)
        expected = given / given.mean()
        found = train(model, [batch], regrow.ReDo(threshold=0.8, every_steps=1))
        [event] = [each for each in found.report.events if each.layer == "1"]
        assert list(event.filters) == (expected <= 0.8).nonzero()[:, 0].tolist()
        assert event.scores == pytest.approx(expected[list(event.filters)].tolist(), rel=1e-5)

    def test_never_the_head(self, small_cnn: Cnn, batches: Batches) -> None:
        found = train(small_cnn(0), batches(3), regrow.ReDo(threshold=1e9, every_steps=1))
        assert set(found.report.layers) == {"0", "3"}

    def test_never_all_units_of_a_layer(self, batches: Batches) -> None:
        model = dense()
        found = train(model, batches(1), regrow.ReDo(threshold=1e9, every_steps=1))
        assert {layer: len(units) for layer, units in renewed(found).items()} == {"1": 7, "3": 7}

    def test_most_of_layer_is_a_cap(self, batches: Batches) -> None:
        recipe = regrow.ReDo(threshold=1e9, every_steps=1, most_of_layer=0.5)
        found = train(dense(), batches(1), recipe)
        assert {layer: len(units) for layer, units in renewed(found).items()} == {"1": 4, "3": 4}

    def test_a_renewed_unit_is_not_renewed_within_its_grace(self, batches: Batches) -> None:
        recipe = regrow.ReDo(threshold=1e9, every_steps=1, grace_steps=3)
        found = train(dense(), batches(10), recipe)
        steps: dict[tuple[str, int], list[int]] = {}
        for event in found.report.events:
            for unit in event.filters:
                steps.setdefault((event.layer, unit), []).append(event.step)
        gaps = [b - a for each in steps.values() for a, b in pairwise(each)]
        assert gaps
        assert min(gaps) == 4

    def test_silence_behind_a_norm_is_a_constant(self, batches: Batches) -> None:
        """Conv, ReLU, norm: what the readers get of a dead unit is the norm's shift, of any size."""

        def made() -> nn.Sequential:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = nn.Sequential(
                    *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)),
                    *(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
                )
            kill(model[0], 1)
            with torch.no_grad():
                model[2].bias.fill_(3.0)
            return model

        found = train(made(), batches(1), regrow.ReDo(every_steps=1))
        assert renewed(found)["0"] == [1]
        published = train(made(), batches(1), regrow.ReDo(every_steps=1, as_published=True))
        assert "0" not in renewed(published)

    def test_who_stands_before_a_zero_is_left_alone(self, batches: Batches) -> None:
        """A scale that begins at 0 and is trained silences healthy units: here one of four."""

        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.head = nn.Linear(64, 4), nn.Linear(4, 3)
                self.scale = nn.Parameter(torch.tensor([1.0, 0.0, 1.0, 1.0]))

            def forward(self, x: Tensor) -> Tensor:
                return self.head(self.first(x.flatten(1)).sigmoid() * self.scale)

        def found(*, as_published: bool) -> dict[str, list[int]]:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = Scaled()
            recipe = regrow.ReDo(every_steps=1, as_published=as_published)
            return renewed(train(model, batches(1), recipe))

        assert found(as_published=False) == {}
        assert found(as_published=True) == {"first": [1]}


class TestWhatBecomesOfIt:
    def test_readers_are_deaf_to_it_and_their_bias_stays(self, batches: Batches) -> None:
        """The released code's masks repeat where they must tile: there other units' columns become 0."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(
                *(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
                *(nn.Linear(5 * 9, 6), nn.ReLU(), nn.Linear(6, 3)),
            )
        kill(model[0], 3)
        before = model[4].weight.detach().clone()
        shift = model[4].bias.detach().clone()
        [(images, labels)] = batches(1)
        recipe = regrow.ReDo(threshold=0.0, every_steps=1)
        train(model, [(images, labels)], recipe, include=["0"], lr=1e-30)
        # Judged without the wiring: a change of what the unit gives reaches nobody, of any other unit somebody.
        with torch.no_grad():
            given = model[:2](images)
            for unit in range(5):
                moved = given.clone()
                moved[:, unit] += 1.0
                same = torch.equal(model[2:5](moved), model[2:5](given))
                assert same == (unit == 3)
        changed = (model[4].weight != before).any(0).nonzero()[:, 0].tolist()
        assert changed == list(range(27, 36))  # torch flattens channel by channel
        assert torch.equal(model[4].bias, shift)

    def test_the_draw_is_not_2_45_times_too_wide(self, batches: Batches) -> None:
        """A popular port passes PyTorch's gain and says ReLU: its bound is sqrt(6) times the layer's own."""
        model = dense(width=400)
        recipe = regrow.ReDo(threshold=1e9, every_steps=1)
        [units] = renewed(train(model, batches(1), recipe, include=["3"])).values()
        drawn = model[3].weight.detach()[units]
        own = 400**-0.5
        assert len(units) == 399
        assert 0.99 * own < float(drawn.abs().amax()) <= own
        # The variance of a uniform law is a third of its bound's square.
        assert float(drawn.var()) == pytest.approx(own**2 / 3, rel=0.02)

    def test_a_layer_of_zeros_is_not_drawn_anew_as_a_whole(self, batches: Batches) -> None:
        """With 1e-9 added to a mean of 0 all units score 0, and the layer goes, healthy units that wait and all."""
        model = dense()
        kill(model[1], *range(8))
        found = train(model, batches(2), regrow.ReDo(every_steps=1))
        assert "1" not in renewed(found)

    def test_rows_of_the_layer_and_columns_of_its_reader_not_the_other_way_round(
        self, batches: Batches
    ) -> None:
        """An early port applied one layer's mask to the next layer's rows, and its dead count never fell."""
        model = dense()
        kill(model[1], 2)
        before = [each.detach().clone() for each in (model[1].weight, model[3].weight)]
        recipe = regrow.ReDo(threshold=0.0, every_steps=1)
        train(model, batches(1), recipe, include=["1"], lr=1e-30)
        rows = (model[1].weight != before[0]).any(1).nonzero()[:, 0].tolist()
        assert rows == [2]
        assert (model[3].weight != before[1]).any(0).nonzero()[:, 0].tolist() == [2]

    def test_a_negative_threshold_is_plain_training_bit_for_bit(self, batches: Batches) -> None:
        assert is_plain_training(regrow.ReDo(threshold=-1.0, every_steps=2), batches(8))

    def test_norm_entries_begin_anew_unless_as_published(
        self, small_cnn: Cnn, batches: Batches
    ) -> None:
        for as_published in (False, True):
            model: Any = small_cnn(0)
            with torch.no_grad():
                model[1].weight[1], model[1].bias[1] = 0.5, -100.0
            recipe = regrow.ReDo(every_steps=1, threshold=0.0, as_published=as_published)
            found = train(model, batches(1), recipe)
            assert renewed(found)["0"] == [1]
            norm = [model[1].weight[1].item(), model[1].bias[1].item()]
            assert (norm == [1.0, 0.0]) is not as_published

    def test_residual_writers_are_left_alone_unless_they_are_named(self, batches: Batches) -> None:
        class Residual(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.inner = nn.Linear(64, 6), nn.Linear(6, 5)
                self.out, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

            def forward(self, x: Tensor) -> Tensor:
                x = self.stem(x.flatten(1))
                return self.head(x + self.out(self.inner(x).relu()))

        assert set(train(Residual(), batches(1), regrow.ReDo()).report.layers) == {"inner"}
        named = train(Residual(), batches(1), regrow.ReDo(), include=["inner", "out"])
        assert set(named.report.layers) == {"inner", "out"}


def test_the_end_of_training_is_told_where_nothing_can_happen(batches: Batches) -> None:
    with pytest.warns(NoEffectWarning, match="recipe 'redo' will never act"):
        train(dense(), batches(1), regrow.ReDo(), total_steps=500)


def test_the_scheduled_variant_takes_a_share_that_falls_along_a_cosine(batches: Batches) -> None:
    """Of 8 units 0.5 cos(pi/2 step/12), rounded down, at least one, and nobody from the step 12 on."""
    recipe = regrow.ReDo(every_steps=3).with_parts(
        select=FractionOfLayer(fraction=0.5, end_step=12)
    )
    found = train(dense(), batches(15), recipe)
    counts = [(e.step, len(e.filters)) for e in found.report.events if e.layer == "1"]
    assert counts == [(2, 3), (5, 3), (8, 2), (11, 1)]
