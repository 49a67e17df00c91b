"""Self-normalized resets: whose silence is too long, and what becomes of it; each public bug has its test."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from recipes.small import EXAMPLE, dense, kill, renewed, steps, train
from regrow.criteria import OwnSilence, SilenceLimit
from regrow.selection import UpTo
from traced import attach_traced

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]


def gated(*rates: float) -> nn.Sequential:
    """One hidden layer that hears one number a unit, and gives it: who fires is up to the data."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(len(rates), len(rates)), nn.ReLU(), nn.Linear(len(rates), 3)
        )
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(len(rates)))
        model[0].bias.zero_()
    return model


class TestWhoIsRenewed:
    def test_those_that_the_papers_test_rejects_and_no_others(self) -> None:
        """Three units that fire in 95, 50 and 20 % of all steps, and die: each against its own history."""
        source = random.Random(0)  # noqa: S311 # no secret
        rates = (0.95, 0.5, 0.2)
        lives = [[source.random() < rate for rate in rates] for _ in range(300)]
        lives += [[False] * 3] * 60
        recipe = regrow.SelfNormalizedResets(rejection=0.03, min_silence=2, max_silence=10**6)
        model = gated(*rates)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-30)
        found = attach_traced(
            recipe, model, optimizer, example_inputs=torch.zeros(1, 3), dry_run=True
        )
        expected: list[tuple[int, int]] = []
        silence, past = [0] * 3, [list[int]() for _ in rates]
        begun = [False] * 3
        for step, life in enumerate(lives):
            x = torch.tensor([[1.0 if fires else -1.0 for fires in life], [-2.0] * 3])
            F.cross_entropy(model(x), torch.tensor([0, 1])).backward()
            optimizer.step()
            for unit, fires in enumerate(life):
                if fires:
                    if begun[unit]:
                        past[unit] = [*past[unit], silence[unit]][-128:]
                    begun[unit], silence[unit] = True, 0
                    continue
                silence[unit] += 1
                longer = sum(each >= silence[unit] for each in past[unit])
                share = (1 + longer) / (1 + len(past[unit]))
                if silence[unit] >= 2 and share <= 0.03:
                    expected.append((step, unit))
        # A renewal of a dry run is none in the model, and the unit begins without a history all the same: so the first
        # of each unit is compared.
        first: dict[int, int] = {}
        for event in found.report.events:
            for unit in event.filters:
                first.setdefault(unit, event.step)
        assert first == {unit: min(s for s, u in expected if u == unit) for _, unit in expected}
        assert set(first) == {0, 1, 2}

    def test_a_unit_without_a_history_waits_for_the_longest_silence(self, batches: Batches) -> None:
        """Ports reject it by a limit that has nothing to do with it."""
        model = dense()
        kill(model[1], 2)
        recipe = regrow.SelfNormalizedResets(rejection=0.5, min_silence=1, max_silence=9)
        found = train(model, batches(12), recipe)
        assert [event.step for event in found.report.events if event.layer == "1"] == [8]
        assert renewed(found)["1"] == [2]

    @pytest.mark.parametrize("shift", [3.0, -3.0])
    def test_silence_behind_a_norm_is_a_constant(self, shift: float, batches: Batches) -> None:
        """By the sign alone a dead unit with a shift above 0 fires for ever."""

        def made() -> nn.Sequential:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = nn.Sequential(
                    *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)),
                    *(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
                )
            kill(model[0], 1)
            with torch.no_grad():
                model[2].bias[1] = shift
            return model

        told = {"min_silence": 3, "max_silence": 3}
        found = train(made(), batches(4), regrow.SelfNormalizedResets(**told), include=["0"])
        assert renewed(found) == {"0": [1]}
        signs = regrow.SelfNormalizedResets(**told, as_published=True)
        found = train(made(), batches(4), signs, include=["0"])
        assert renewed(found) == ({} if shift > 0 else {"0": [1]})

    def test_who_stands_before_a_zero_is_left_alone(self, batches: Batches) -> None:
        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.head = nn.Linear(64, 4), nn.Linear(4, 3)
                self.scale = nn.Buffer(torch.tensor([1.0, 0.0, 1.0, 1.0]))

            def forward(self, x: Tensor) -> Tensor:
                return self.head(self.first(x.flatten(1)).relu() * self.scale)

        found: list[dict[str, list[int]]] = []
        for as_published in (False, True):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = Scaled()
            recipe = regrow.SelfNormalizedResets(
                min_silence=3, max_silence=3, as_published=as_published
            )
            found.append(renewed(train(model, batches(4), recipe)))
        assert found == [{}, {"first": [1]}]

    def test_who_hears_nothing_but_a_constant_is_left_alone(self, batches: Batches) -> None:
        """Where all in front of it are dead, it is they who are to be renewed."""
        found: list[int] = []
        for as_published in (False, True):
            model = dense()
            kill(model[1], *range(8))
            with torch.no_grad():
                model[3].bias.fill_(-1.0)
            recipe = regrow.SelfNormalizedResets(
                min_silence=3, max_silence=3, as_published=as_published
            )
            found.append(len(renewed(train(model, batches(3), recipe, include=["3"])).get("3", [])))
        assert found == [0, 7]

    def test_micro_batches_are_one_step(self, batches: Batches) -> None:
        """A unit that fires in one half of the batch has fired."""
        taken: list[list[int]] = []
        for parts in (1, 4):
            model = dense()
            kill(model[1], 6)
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-30)
            recipe = regrow.SelfNormalizedResets(min_silence=5, max_silence=5)
            found = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, include=["1"])
            for images, labels in batches(6):
                for some, same in zip(images.chunk(parts), labels.chunk(parts), strict=True):
                    F.cross_entropy(model(some), same).backward()
                optimizer.step()
            taken.append([event.step for event in found.report.events])
            assert renewed(found) == {"1": [6]}
        assert taken == [[4], [4]]


class TestWhatBecomesOfIt:
    def test_a_fresh_unit_makes_adams_first_step_and_not_one_five_times_as_long(
        self, batches: Batches
    ) -> None:
        """Moments of 0 under a count of the tensor's: the released code's."""
        model = dense()
        kill(model[1], 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        recipe = regrow.SelfNormalizedResets(min_silence=60, max_silence=60)
        found = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, include=["1"])
        steps(model, optimizer, batches(60))
        assert renewed(found) == {"1": [2]}
        readers = model[3].weight.detach()[:, 2].clone()
        assert not readers.any()
        steps(model, optimizer, batches(61)[60:])
        way = (model[3].weight.detach()[:, 2] - readers).abs()
        assert float(way.amax()) <= 1.001e-3

    def test_never_the_head(self, batches: Batches) -> None:
        """One of eight outputs that no example asks for would be silent for ever."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8))
        kill(model[3], 7)
        recipe = regrow.SelfNormalizedResets(min_silence=3, max_silence=3)
        assert renewed(train(model, batches(8), recipe)) == {}


def test_as_published_it_is_the_limit_and_keeps_norm_entries() -> None:
    recipe = regrow.SelfNormalizedResets(as_published=True, rejection=0.08)
    assert recipe.criterion == SilenceLimit(rejection=0.08)
    assert recipe.select == UpTo(threshold=0.0)
    plain = regrow.SelfNormalizedResets(rejection=0.08)
    assert plain.criterion == OwnSilence(rejection=0.08)
    assert plain.select == UpTo(threshold=0.08)
    assert plain.grace == recipe.grace == 1
    assert recipe.renew != plain.renew


def test_a_small_rejection_remembers_as_much_as_it_needs() -> None:
    assert OwnSilence(rejection=0.00125).window == 799
    assert OwnSilence(rejection=0.01).window == 128
    assert OwnSilence(rejection=0.0).window == 128
