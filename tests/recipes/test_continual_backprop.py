"""Continual Backprop: who is replaced, when, and what the readers notice; each public bug has its test."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from recipes.small import EXAMPLE, dense, is_plain_training, kill, train
from regrow.criteria import LayerActivity, Observation, Utility
from regrow.errors import ConfigError
from regrow.renewal import Redraw
from regrow.selection import RateOfLayer
from traced import attach_traced

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]
Cnn = Callable[[int], nn.Module]


def activity(size: list[float], **places: Tensor) -> LayerActivity:
    """One step's, of units that were all seen."""
    no = torch.zeros(len(size), dtype=torch.bool)
    return LayerActivity(
        seen=~no,
        silent=no,
        starved=no,
        blocked=no,
        examples=16,
        size=torch.tensor(size, dtype=torch.float64),
        places=tuple(places.values()),
    )


def observed(criterion: Utility, *sizes: list[float], state: Any = None) -> Any:
    state = {} if state is None else state
    for size in sizes:
        outgoing = torch.ones(len(size))
        seen = Observation(count=len(size), activity=activity(size), outgoing=outgoing)
        state = criterion.observe(state, seen)
    return state


def scores(criterion: Utility, state: Any) -> list[float]:
    _, found = criterion.score(state, layer="a", count=0, step=0, seed=0)
    assert found is not None
    return found.tolist()


class TestUtility:
    def test_it_is_the_average_over_the_units_own_life(self) -> None:
        """Against a plain loop, with a renewal of unit 1 on the way."""
        criterion = Utility(decay=0.9)
        values = torch.rand(12, 2, generator=torch.Generator().manual_seed(0)).double()
        state = observed(criterion, *values[:7].tolist())
        state = criterion.renewed(state, torch.tensor([False, True]))
        state = observed(criterion, *values[7:].tolist(), state=state)
        expected: list[float] = []
        for unit, since in ((0, 0), (1, 7)):
            weights = [0.9 ** (11 - step) for step in range(since, 12)]
            lived = values[since:, unit].tolist()
            total = sum(w * v for w, v in zip(weights, lived, strict=True))
            expected.append(total / sum(weights))
        assert scores(criterion, state) == pytest.approx(expected, rel=1e-12)

    def test_the_average_decays(self) -> None:
        """The ResNet's code adds (1 - decay) |h| to a sum that never decays: old units look ever better."""
        criterion = Utility(decay=0.9)
        state = observed(criterion, *[[1.0]] * 50, *[[0.0]] * 50)
        assert scores(criterion, state)[0] < 0.01

    def test_a_renewed_unit_does_not_inherit_its_predecessors_average(self) -> None:
        criterion = Utility(decay=0.9)
        state = criterion.renewed(
            observed(criterion, *[[5.0, 5.0]] * 9), torch.tensor([True, False])
        )
        state = observed(criterion, [1.0, 5.0], state=state)
        assert scores(criterion, state) == pytest.approx([1.0, 5.0])

    def test_a_young_strong_unit_outlives_an_old_weak_one(self) -> None:
        """Ranked as it is, at decay 0.99 a unit of a hundred steps reads 0.63 of its value."""
        criterion = Utility(decay=0.99)
        state = observed(criterion, *[[0.7, 1.0]] * 900)
        state = criterion.renewed(state, torch.tensor([False, True]))
        state = observed(criterion, *[[0.7, 1.0]] * 100, state=state)
        raw = state["utility"].tolist()
        assert raw[1] < raw[0]  # what the bug ranks by
        old, young = scores(criterion, state)
        assert young == pytest.approx(1.0)
        assert old == pytest.approx(0.7)

    def test_a_step_that_is_no_number_counts_for_nothing(self) -> None:
        criterion = Utility(decay=0.5)
        state = observed(criterion, [1.0, 2.0], [float("inf"), float("nan")], [1.0, 2.0])
        assert scores(criterion, state) == pytest.approx([1.0, 2.0])
        assert state["age"].tolist() == [2, 2]


class TestRate:
    @staticmethod
    def run(rate: float, eligible: Callable[[int], list[bool]], *, steps: int) -> list[int]:
        """How many are taken in each step."""
        select, saved, found = RateOfLayer(rate=rate), dict[str, Tensor](), list[int]()
        for step in range(steps):
            may = {"a": torch.tensor(eligible(step))}
            values = {"a": torch.arange(len(may["a"]), dtype=torch.float64)}
            state, masks = select.chosen(saved, values, eligible=may, step=step)
            saved = dict(state)
            found.append(int(masks["a"].sum()) if "a" in masks else 0)
        return found

    @pytest.mark.parametrize("rate", [1e-3, 0.013, 0.1, 0.4])
    def test_in_the_long_run_the_rate_is_met_within_one_unit(self, rate: float) -> None:
        taken = self.run(rate, lambda step: [True] * 20, steps=300)
        assert abs(sum(taken) - rate * 20 * 300) <= 1
        assert max(taken) - min(taken) <= 1

    def test_no_debt_while_nobody_is_eligible_and_no_burst_at_maturity(self) -> None:
        """Saved up over all units in the warm-up, a hundred steps at 0.1 would take the whole layer at once."""
        taken = self.run(0.1, lambda step: [step >= 100] * 10, steps=110)
        assert taken[:100] == [0] * 100
        assert taken[100:] == [1] * 10

    def test_a_huge_rate_is_clamped_and_owes_nothing(self) -> None:
        taken = self.run(1.0, lambda step: [True] * 4 if step == 0 else [step > 5] * 4, steps=8)
        assert taken == [3, 0, 0, 0, 0, 0, 3, 3]

    def test_it_takes_no_more_than_are_eligible(self) -> None:
        taken = self.run(1.0, lambda step: [True, False, False, True], steps=2)
        assert taken == [2, 2]


class TestInTraining:
    def test_nobody_is_renewed_before_maturity_and_then_at_the_rate(self, batches: Batches) -> None:
        found = train(dense(), batches(60), regrow.ContinualBackprop(rate=0.05, maturity=20))
        steps = Counter(event.step for event in found.report.events for _ in event.filters)
        assert min(steps) >= 20
        # Two layers of eight, 0.4 units each a step, less those that are young again.
        assert max(steps.values()) <= 2
        by_layer = Counter(e.layer for e in found.report.events for _ in e.filters)
        assert set(by_layer) == {"1", "3"}
        lives: dict[tuple[str, int], list[int]] = {}
        for event in found.report.events:
            for unit in event.filters:
                lives.setdefault((event.layer, unit), []).append(event.step)
        ages = [b - a for each in lives.values() for a, b in pairwise(each)]
        assert all(age > 20 for age in ages)

    def test_the_dead_go_first_and_never_the_head(self, batches: Batches) -> None:
        model = dense()
        kill(model[1], 6)
        kill(model[3], 2)
        found = train(model, batches(8), regrow.ContinualBackprop(rate=0.05, maturity=4))
        first = {e.layer: e.filters for e in reversed(found.report.events)}
        assert first == {"1": (6,), "3": (2,)}
        assert set(found.report.layers) == {"1", "3"}

    def test_scores_are_the_papers_at_a_decay_of_0(self, batches: Batches) -> None:
        [(images, labels)] = batches(1)
        model = dense()
        given = model[:3](images).detach().double().abs().mean(0)
        expected = given * model[3].weight.detach().double().abs().sum(0)
        recipe = regrow.ContinualBackprop(rate=0.5, maturity=0, decay=0.0)
        found = train(model, [(images, labels)], recipe)
        [event] = [each for each in found.report.events if each.layer == "1"]
        assert sorted(event.filters) == sorted(expected.argsort()[:4].tolist())
        assert event.scores == pytest.approx(expected[list(event.filters)].tolist(), rel=1e-5)

    def test_a_rate_of_0_is_plain_training_bit_for_bit(self, batches: Batches) -> None:
        recipe = regrow.ContinualBackprop(rate=0.0, maturity=0)
        assert is_plain_training(recipe, batches(12))

    def test_what_is_saved_up_is_saved(self, batches: Batches) -> None:
        """A rate that takes one unit every few steps: resumed between two of them it goes on where it was."""
        recipe = regrow.ContinualBackprop(rate=0.03, maturity=3)
        whole = train(dense(), batches(30), recipe)
        assert len(whole.report.events) > 4
        model = dense()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        for step, (images, labels) in enumerate(batches(30)):
            if step == 13:
                file = io.BytesIO()
                torch.save([each.state_dict() for each in (model, optimizer, regrower)], file)
                file.seek(0)
                regrower.detach()
                model = dense()
                optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
                regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
                states = torch.load(file, weights_only=True)
                for part, state in zip((model, optimizer, regrower), states, strict=True):
                    part.load_state_dict(state)
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        assert regrower.report.events == whole.report.events


NETS: Mapping[str, Callable[[], nn.Sequential]] = {
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 5)),
    "conv, flatten, dense": lambda: nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 9, 5))
    ),
    "conv, 1x1 conv": lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 1)),
    "grouped": lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 1, groups=2)),
    "transposed": lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.ConvTranspose2d(6, 5, 1)),
}


class TestTransfer:
    """On one batch, at a decay of 0, the average is the batch's mean."""

    @staticmethod
    def renewed(name: str, batches: Batches, *, as_published: bool) -> tuple[Tensor, Tensor, Any]:
        """The next layer's mean output before and after a renewal that nothing else has moved."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            body = NETS[name]()
            model = nn.Sequential(body, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)).double()
            model(EXAMPLE.double())
        [(images, labels)] = batches(1)
        images = images.double()

        def mean() -> Tensor:
            with torch.no_grad():
                given = body(images)
            return given.mean([axis for axis in range(given.ndim) if axis != 1])

        before = mean()
        recipe = regrow.ContinualBackprop(
            rate=0.4, maturity=0, decay=0.0, as_published=as_published
        )
        inner = "0.0" if isinstance(body[0], nn.Conv2d) else "0.1"
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-200)
        found = attach_traced(
            recipe, model, optimizer, example_inputs=EXAMPLE.double(), include=[inner]
        )
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        assert [len(event.filters) for event in found.report.events] == [2]
        assert not found.report.notes
        return before, mean(), body

    @pytest.mark.parametrize("name", NETS)
    def test_the_next_layers_mean_input_stays(self, name: str, batches: Batches) -> None:
        before, after, _ = self.renewed(name, batches, as_published=False)
        torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-7)

    def test_the_published_transfer_adds_exactly_nothing(self, batches: Batches) -> None:
        """The released code sets the mean to 0 before it is read."""
        before, after, body = self.renewed("dense", batches, as_published=True)
        assert (after - before).abs().amax() > 1e-3
        with torch.random.fork_rng():
            torch.manual_seed(0)
            untouched = NETS["dense"]().double()
        assert torch.equal(body[3].bias, untouched[3].bias)

    def test_a_reader_without_a_bias_is_named(self, batches: Batches) -> None:
        model = nn.Sequential(
            *(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 5, bias=False)),
            *(nn.ReLU(), nn.Linear(5, 3)),
        )
        found = train(model, batches(1), regrow.ContinualBackprop())
        assert any("is not moved into 3" in note for note in found.report.notes)

    @pytest.mark.parametrize("between", [nn.LayerNorm(6), nn.Dropout(0.1)])
    def test_the_mean_behind_something_else_is_not_moved(
        self, between: nn.Module, batches: Batches
    ) -> None:
        model = nn.Sequential(
            *(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), between, nn.Linear(6, 3)),
        )
        before = model[4].bias.detach().clone()
        recipe = regrow.ContinualBackprop(rate=0.4, maturity=0)
        found = train(model, batches(1), recipe, lr=1e-30)
        assert found.report.renewed == 2
        assert any("is not moved into 4" in note for note in found.report.notes)
        assert torch.equal(model[4].bias, before)

    def test_a_criterion_that_remembers_no_means_is_refused(self, batches: Batches) -> None:
        plain = regrow.RandomOut(confirm="gradient", active_fraction=1.0)
        recipe = plain.with_parts(renew=Redraw(transfer=True))
        with pytest.raises(ConfigError, match="GradientSize does not remember"):
            train(dense(), batches(1), recipe, layers=["linear"])


def test_averages_hold_over_micro_batches(batches: Batches) -> None:
    """Two halves of a batch in one step are the batch."""
    ends: list[Any] = []
    for parts in (1, 2):
        model = dense()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-30)
        recipe = regrow.ContinualBackprop(rate=0.4, maturity=0, decay=0.0)
        found = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        [(images, labels)] = batches(1)
        for some, same in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            F.cross_entropy(model(some), same).backward()
        optimizer.step()
        ends.append((found.report.events, model[3].bias.detach().clone()))
    assert [e.filters for e in ends[0][0]] == [e.filters for e in ends[1][0]]
    torch.testing.assert_close(ends[0][1], ends[1][1])
