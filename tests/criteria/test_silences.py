"""Criteria that count silences: what is remembered, what ends it, and what does not count."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from criteria.seen import after, passes, scores
from regrow.criteria import FiringRate, Observation, OwnSilence, SilenceLimit, SinceFiring

ON, OFF = [0.5], [0.0]


def _share(history: list[bool], *, window: int) -> float:
    """The paper's probability from a life of firings, in a plain loop."""
    silences: list[int] = []
    silence, begun = 0, False
    for fires in history:
        if fires and begun:
            silences.append(silence)
        begun = begun or fires
        silence = 0 if fires else silence + 1
    silences = silences[-window:]
    return (1 + sum(each >= silence for each in silences)) / (1 + len(silences))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_own_silence_is_the_papers_probability_over_a_life(rate: float) -> None:
    source = random.Random(0)  # noqa: S311 # no secret
    life = [source.random() < rate for _ in range(400)]
    criterion = OwnSilence(min_silence=1, max_silence=10**6)
    state = after(criterion)
    for length, fires in enumerate(life, 1):
        state = after(criterion, ON if fires else OFF, state=state)
        if length % 29 == 0 and not fires:
            assert scores(criterion, state) == [_share(life[:length], window=128)]


def test_a_silence_that_is_usual_for_one_unit_is_not_for_another() -> None:
    criterion = OwnSilence(rejection=0.05, min_silence=2)
    often = [[1.0, 1.0]] * 40
    rarely = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]] * 40
    state = after(criterion, *often, *rarely, [0.0, 0.0], [0.0, 0.0])
    steady, sparse = scores(criterion, state)
    assert steady <= 0.05 < sparse


def test_before_the_shortest_silence_nobody_is_judged_and_from_the_longest_on_everybody() -> None:
    criterion = OwnSilence(rejection=0.1, min_silence=3, max_silence=5)
    state = after(criterion, *[ON] * 200)
    found: list[float] = []
    for _ in range(6):
        state = after(criterion, OFF, state=state)
        found += scores(criterion, state)
    assert found == [1.0, 1.0, 1 / 129, 1 / 129, 0.0, 0.0]


def test_who_never_fired_is_judged_by_the_longest_silence_alone() -> None:
    criterion = OwnSilence(max_silence=30)
    state = after(criterion, *[OFF] * 29)
    assert scores(criterion, state) == [1.0]
    assert scores(criterion, after(criterion, OFF, state=state)) == [0.0]


def test_what_was_before_the_first_firing_is_no_silence() -> None:
    """Nobody knows when it began: the first interval would be as long as the training happens to be."""
    criterion = OwnSilence(min_silence=1)
    state = after(criterion, *[OFF] * 50, *[ON] * 11)
    assert sorted(state["past"][0].tolist())[-10:] == [0] * 10
    assert int(state["known"]) == 10


@pytest.mark.parametrize("criterion", [OwnSilence(), SinceFiring()])
def test_a_renewed_unit_has_no_history(criterion: Any) -> None:
    """Its predecessor's would say that it should have fired long ago, and take it again."""
    state = after(criterion, *[[1.0, 1.0]] * 200, *[[1.0, 0.0]] * 9)
    renewed = criterion.renewed(state, torch.tensor([False, True]))
    fresh = criterion.renewed(after(criterion, [0.0, 0.0]), torch.tensor([True, True]))
    for key, value in renewed.items():
        assert torch.equal(value[1], fresh[key][1])
        assert torch.equal(value[0], state[key][0])


@pytest.mark.parametrize("criterion", [OwnSilence(), SinceFiring()])
def test_steps_that_do_not_count(criterion: Any) -> None:
    """A branch that was not run, an input that is constant: no silence of the unit's own."""
    state = after(criterion, ON, *[OFF] * 3)
    for told in ({"seen": [False]}, {"starved": [True], "silent": [True]}):
        same = after(criterion, *[OFF] * 5, state=state, **told)
        assert all(torch.equal(same[key], state[key]) for key in state)
    published = SinceFiring(as_published=True)
    before = after(published, ON)
    assert scores(published, after(published, OFF, state=before, starved=[True])) == [-1.0]


def test_a_constant_above_0_is_a_silence_unless_as_published() -> None:
    for as_published, expected in ((False, -2.0), (True, 0.0)):
        criterion = SinceFiring(as_published=as_published)
        state = after(criterion, ON, [1.0], [1.0], silent=None)
        state = after(criterion, [1.0], [1.0], state=state, silent=[True])
        assert scores(criterion, state) == [expected]


def test_a_step_that_was_not_read_changes_nothing() -> None:
    criterion = OwnSilence()
    state = after(criterion, ON, OFF)
    other = criterion.observe(state, Observation(count=1))
    assert other is state


class TestAsReleased:
    @staticmethod
    def limits(steps: list[list[float]], **settings: Any) -> list[int]:
        criterion = SilenceLimit(min_silence=1, **settings)
        return after(criterion, *steps)["limit"].tolist()

    def test_limits_are_those_of_a_plain_loop(self) -> None:
        """A period of forty steps: the smallest length that covers nine in ten silences, or twice the limit."""
        source = random.Random(3)  # noqa: S311 # no secret
        life = [float(source.random() < 0.4) for _ in range(40)]
        silences, silence = [], 0
        for fires in life:
            if fires:
                silences.append(silence)
            silence = 0 if fires else silence + 1
        ordered = sorted(silences)
        q = next(
            each for each in ordered if sum(x <= each for x in ordered) >= 0.9 * len(ordered) - 1e-9
        )
        told = {"rejection": 0.1, "update_every": 40, "max_silence": 50}
        assert self.limits([[each] for each in life], **told) == [max(1, q)]

    def test_a_limit_that_is_filled_doubles_and_the_period_is_forgotten(self) -> None:
        criterion = SilenceLimit(rejection=0.1, update_every=6, min_silence=1, max_silence=40)
        fast = [ON] * 6  # silences of 0: the smallest limit
        state = after(criterion, *fast)
        assert state["limit"].tolist() == [1]
        assert not state["counts"].any()
        slow = [OFF, OFF, ON] * 2  # silences of 2 fill it
        for expected in (2, 4, 2, 4):
            state = after(criterion, *slow, state=state)
            assert state["limit"].tolist() == [expected]

    def test_the_predecessors_history_and_the_silence_of_the_reset_are_kept(self) -> None:
        criterion = SilenceLimit(max_silence=20)
        state = after(criterion, *[ON] * 5, *[OFF] * 8)
        again = criterion.renewed(state, torch.tensor([True]))
        assert again["silence"].tolist() == [0]
        assert (again["counts"] - state["counts"])[0].nonzero()[:, 0].tolist() == [8]

    def test_the_score_is_what_is_left(self) -> None:
        criterion = SilenceLimit(max_silence=20)
        assert scores(criterion, after(criterion, ON, *[OFF] * 5)) == [0.75]
        assert scores(criterion, after(criterion, *[OFF] * 25)) == [0.0]


class TestBatchSize:
    """The same healthy units, which fire on each example with probability 0.2, seen in batches of several sizes."""

    @staticmethod
    def rejected(examples: int, *, steps: int) -> float:
        """Rejections in a thousand steps, of forty units whose history goes on."""
        criterion = OwnSilence()
        generator = torch.Generator().manual_seed(0)
        state, count = after(criterion), 0
        for _ in range(steps):
            fires = (torch.rand(40, examples, generator=generator) < 0.2).double().mean(1)
            state = criterion.observe(state, passes(fires.tolist()))
            _, found = criterion.score(state, layer="a", count=40, step=0, seed=0)
            assert found is not None
            mask = found <= 0.01
            if bool(mask.any()):
                count += int(mask.sum())
                state = criterion.renewed(state, mask)
        return 1000 * count / (steps * 40)

    def test_at_one_example_a_step_healthy_units_are_rejected_and_at_sixteen_they_are_not(
        self,
    ) -> None:
        one, sixteen = self.rejected(1, steps=1500), self.rejected(16, steps=500)
        # Every silence of which no hundred were longer: of the order of one in a hundred silences of five steps.
        assert 0.2 < one < 3.0
        assert sixteen == 0.0


class TestFiringRate:
    def test_it_is_the_average_over_the_units_own_life(self) -> None:
        criterion = FiringRate(decay=0.9)
        values = torch.rand(12, 2, generator=torch.Generator().manual_seed(0)).double()
        state = after(criterion, *values[:7].tolist())
        state = criterion.renewed(state, torch.tensor([False, True]))
        state = after(criterion, *values[7:].tolist(), state=state)
        expected: list[float] = []
        for unit, since in ((0, 0), (1, 7)):
            weights = [0.9 ** (11 - step) for step in range(since, 12)]
            lived = values[since:, unit].tolist()
            total = sum(w * v for w, v in zip(weights, lived, strict=True))
            expected.append(total / sum(weights))
        assert scores(criterion, state) == pytest.approx(expected, rel=1e-12)

    def test_it_does_not_depend_on_the_batch_size(self) -> None:
        """Four examples in one step, and one in each of four steps, are the same share."""
        plain = FiringRate(decay=0.0)
        assert scores(plain, after(plain, [0.25])) == [0.25]
        slow = FiringRate(decay=0.999999)
        assert scores(slow, after(slow, [1.0], [0.0], [0.0], [0.0])) == pytest.approx(
            [0.25], abs=1e-5
        )
