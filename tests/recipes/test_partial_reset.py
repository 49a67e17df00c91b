"""Partial resets: how far each unit is moved, and what nothing happens to; each public bug has its test."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from recipes.small import EXAMPLE, dense, is_plain_training, kill, renewed, steps, train
from regrow.criteria import GradientUtility, Observation
from regrow.errors import ConfigError
from regrow.renewal import Blend
from regrow.selection import Graded, UpTo
from traced import attach_traced

Batches = Callable[[int], list[tuple[Tensor, Tensor]]]
Cnn = Callable[[int], nn.Module]


def observed(criterion: GradientUtility, *grads: Tensor, state: Any = None) -> Any:
    state = {} if state is None else state
    for grad in grads:
        state = criterion.observe(state, Observation(count=len(grad), grad=grad))
    return state


def scores(criterion: GradientUtility, state: Any) -> list[float]:
    _, found = criterion.score(state, layer="a", count=0, step=0, seed=0)
    assert found is not None
    return found.tolist()


def rows(*sizes: float) -> Tensor:
    return torch.tensor(sizes, dtype=torch.float64)[:, None] * torch.tensor([[0.5, -0.5]])


class TestUtility:
    def test_it_is_the_average_over_the_units_own_life(self) -> None:
        """Against a plain loop, with a renewal of unit 1 on the way."""
        criterion = GradientUtility(decay=0.9)
        grads = torch.randn(12, 3, 4, generator=torch.Generator().manual_seed(0)).double()
        state = observed(criterion, *grads[:7])
        state = criterion.renewed(state, torch.tensor([False, True, False]))
        state = observed(criterion, *grads[7:], state=state)
        expected: list[float] = []
        for unit, since in ((0, 0), (1, 7), (2, 0)):
            weights = [0.9 ** (11 - step) for step in range(since, 12)]
            total = 0.0
            for weight, grad in zip(weights, grads[since:].tolist(), strict=True):
                sizes = [sum(abs(value) for value in row) for row in grad]
                total += weight * sizes[unit] / (sum(sizes) / 3)
            expected.append(total / sum(weights))
        assert scores(criterion, state) == pytest.approx(expected, rel=1e-12)

    def test_the_average_decays(self) -> None:
        criterion = GradientUtility(decay=0.9)
        state = observed(criterion, *[rows(1.9, 0.1)] * 50, *[rows(0.0, 2.0)] * 50)
        assert scores(criterion, state) == pytest.approx([0.0, 2.0], abs=0.02)

    def test_an_average_that_begins_at_one_makes_everybody_look_due(self) -> None:
        """Published: after ten steps a unit with twice the mean's gradient still reads 1.1."""
        steps_ = [rows(2.0, 1.0, 0.0)] * 10
        published = GradientUtility(from_one=True)
        expected = [1 + (1 - 0.99**10) * (value - 1) for value in (2.0, 1.0, 0.0)]
        state = observed(published, *steps_)
        assert scores(published, state) == pytest.approx(expected)
        assert scores(GradientUtility(), observed(GradientUtility(), *steps_)) == pytest.approx(
            [2.0, 1.0, 0.0]
        )
        again = published.renewed(state, torch.tensor([True, False, True]))
        assert scores(published, observed(published, rows(2.0, 1.0, 0.0), state=again)) == (
            pytest.approx([1.01, expected[1], 0.99])
        )

    def test_a_step_without_any_gradient_counts_for_nothing(self) -> None:
        """With 1e-8 added to the mean it would count as 0 for everybody."""
        criterion = GradientUtility(decay=0.5)
        seen = [rows(1.5, 0.5), rows(0.0, 0.0), rows(math.nan, math.inf), rows(1.5, 0.5)]
        assert scores(criterion, observed(criterion, *seen)) == pytest.approx([1.5, 0.5])
        never = observed(criterion, rows(0.0, 0.0))
        assert criterion.score(never, layer="a", count=2, step=0, seed=0)[1] is None

    def test_it_does_not_depend_on_the_losss_scale(self, batches: Batches) -> None:
        """A sum over the batch in the place of its mean is a gradient of twelve times the size."""
        [(images, labels)] = batches(1)
        found: list[Any] = []
        for reduction in ("mean", "sum"):
            model = dense()
            F.cross_entropy(model(images), labels, reduction=reduction).backward()
            state = observed(GradientUtility(), model[1].weight.grad)  # type: ignore[arg-type]
            found.append(scores(GradientUtility(), state))
        assert found[0] == pytest.approx(found[1], rel=1e-4)

    def test_in_small_batches_units_look_alike(self) -> None:
        """A unit whose mean gradient is 0 beside one whose is 1, each with noise of 1 an example: by batch size.

        The size of a mean over B examples is E|N(mu, 1/B)|: noise decides at 1, the mean at 256.
        """
        generator = torch.Generator().manual_seed(0)
        found: list[float] = []
        for size in (1, 16, 256):
            noise = torch.randn(2000, 2, size, 1, generator=generator, dtype=torch.float64).mean(2)
            noise[:, 1] += 1.0
            found.append(scores(GradientUtility(), observed(GradientUtility(), *noise))[0])
            s = 1 / math.sqrt(size)
            silent = s * math.sqrt(2 / math.pi)
            asked = silent * math.exp(-0.5 / s**2) + math.erf(1 / (s * math.sqrt(2)))
            # Each step is measured by its own mean, so that this is only nearly the ratio of the means.
            assert found[-1] == pytest.approx(2 * silent / (silent + asked), rel=0.25)
        assert found[0] > 2 * found[1] > 4 * found[2]


def flat(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in model.state_dict().items()}


class TestInTraining:
    @pytest.mark.parametrize("as_published", [False, True])
    def test_weights_and_readers_are_the_released_codes(
        self, as_published: bool, batches: Batches
    ) -> None:
        """Layer after layer, in float64, from the gradients of one step; the draw is whatever it was."""
        [(images, labels)] = batches(1)
        model = dense().double()
        with torch.no_grad():
            model[1].bias.add_(0.3)
        before = flat(model)
        F.cross_entropy(model(images.double()), labels).backward()
        rate, k = 0.4, 2.0
        r = {}
        for layer in (1, 3):
            sizes = model[layer].weight.grad.abs().sum(1)  # type: ignore[union-attr]
            u = sizes / sizes.mean()
            u = 0.99 + 0.01 * u if as_published else u
            r[layer] = rate * torch.minimum(2 / (1 + torch.exp(k * (u - 1))), torch.ones(()))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-300)
        recipe = regrow.PartialReset(
            rate=rate, sharpness=k, every_steps=1, as_published=as_published
        )
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE.double())
        optimizer.step()
        after = flat(model)
        keep = {layer: 1 - r[layer] for layer in r}
        torch.testing.assert_close(
            after["5.weight"], before["5.weight"] * keep[3], rtol=1e-9, atol=0
        )
        drawn = {
            1: (after["1.weight"] - keep[1][:, None] * before["1.weight"]) / r[1][:, None],
            3: (after["3.weight"] - keep[3][:, None] * before["3.weight"] * keep[1])
            / r[3][:, None],
        }
        for width, layer in ((64, 1), (8, 3)):
            bound = 1 / math.sqrt(width)  # of a linear layer's own initialiser
            assert drawn[layer].abs().amax() <= bound * (1 + 1e-6)
            assert drawn[layer].abs().amax() > 0.8 * bound
        for layer in (1, 3):
            bias = before[f"{layer}.bias"] * (1 if as_published else keep[layer])
            torch.testing.assert_close(after[f"{layer}.bias"], bias, rtol=1e-9, atol=0)
        assert torch.equal(after["5.bias"], before["5.bias"])

    def test_a_rate_of_0_is_plain_training_bit_for_bit(self, batches: Batches) -> None:
        recipe = regrow.PartialReset(rate=0.0, every_steps=2)
        assert is_plain_training(recipe, batches(8))

    def test_the_output_changes_in_proportion_to_the_rate(self, batches: Batches) -> None:
        [(images, labels)] = batches(1)
        moves: list[float] = []
        for rate in (0.04, 0.02, 0.01):
            model = dense().double()
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-300)
            recipe = regrow.PartialReset(rate=rate, every_steps=1)
            attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE.double())
            before = model(images.double()).detach()
            F.cross_entropy(model(images.double()), labels).backward()
            optimizer.step()
            moves.append(float((model(images.double()).detach() - before).abs().amax()))
        assert moves[0] / moves[1] == pytest.approx(2.0, rel=0.1)
        assert moves[1] / moves[2] == pytest.approx(2.0, rel=0.05)

    def test_the_redraw_has_the_layers_own_law(self, batches: Batches) -> None:
        """Ports draw 2.45 times too wide: Kaiming's uniform with the gain of a ReLU, where it is 1 / sqrt(fan in)."""
        [(images, labels)] = batches(1)
        model = dense(width=64).double()
        before = model[1].weight.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-300)
        recipe = regrow.PartialReset(rate=0.25, sharpness=0.0, every_steps=1)  # all alike
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE.double())
        F.cross_entropy(model(images.double()), labels).backward()
        optimizer.step()
        drawn = ((model[1].weight.detach() - 0.75 * before) / 0.25).flatten() * math.sqrt(64)
        places = (drawn.sort().values + 1) / 2  # uniform within (-1, 1)
        even = (torch.arange(len(places)) + 0.5) / len(places)
        assert (places - even).abs().amax() < 1.63 / math.sqrt(len(places))  # Kolmogorov at 1 %

    def test_adams_state_keeps_its_bits_and_the_next_step_is_no_longer_than_others(
        self, batches: Batches
    ) -> None:
        """No cliff: begun anew, each moved weight would answer by a step as long as the rate allows."""

        def run(move: bool) -> tuple[Any, Tensor]:
            model = dense()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            if move:
                recipe = regrow.PartialReset(rate=0.015, every_steps=30)
                attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
            steps(model, optimizer, batches(30))
            state = copy.deepcopy(optimizer.state_dict()["state"])
            before = model[1].weight.detach().clone()
            steps(model, optimizer, batches(31)[30:])
            return state, (model[1].weight.detach() - before).abs()

        (plain, usual), (moved, here) = run(False), run(True)
        for key, memory in plain.items():
            assert all(torch.equal(moved[key][each], memory[each]) for each in memory)
        assert float(here.mean()) == pytest.approx(float(usual.mean()), rel=0.1)
        assert float(usual.mean()) < 0.7e-3  # a first step is 1e-3 everywhere

    def test_neighbours_that_are_due_nothing_keep_their_bits(self, batches: Batches) -> None:
        """So steep that only those below the mean move: the others' weights and next update are plain training's."""
        ends: list[dict[str, Tensor]] = []
        for move in (True, False):
            model = dense()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            if move:
                recipe = regrow.PartialReset(
                    rate=0.5, transform="linear", sharpness=1e6, every_steps=3
                )
                found = attach_traced(
                    recipe, model, optimizer, example_inputs=EXAMPLE, include=["3"]
                )
            steps(model, optimizer, batches(3))
            ends.append(flat(model))
        here, there = ends
        [event] = found.report.events
        others = [unit for unit in range(8) if unit not in event.filters]
        assert others
        assert event.filters
        assert torch.equal(here["3.weight"][others], there["3.weight"][others])
        assert torch.equal(here["5.weight"][:, others], there["5.weight"][:, others])
        assert not (here["3.weight"] == there["3.weight"])[list(event.filters)].all(1).any()

    def test_every_parameter_stays_in_the_optimizer_and_moves(self, batches: Batches) -> None:
        model = dense()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recipe = regrow.PartialReset(rate=0.3, every_steps=2)
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        held = [id(each) for group in optimizer.param_groups for each in group["params"]]
        assert held == [id(each) for each in model.parameters()]
        steps(model, optimizer, batches(2))
        before = flat(model)
        steps(model, optimizer, batches(3)[2:])
        assert held == [id(each) for each in model.parameters()]
        assert all(not torch.equal(each, before[name]) for name, each in flat(model).items())

    def test_a_companion_is_moved_from_where_it_is(self, batches: Batches) -> None:
        model = dense().double()
        target = dense(seed=1).double()
        before, there = flat(model), flat(target)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-300)
        recipe = regrow.PartialReset(rate=0.5, sharpness=0.0, every_steps=1)
        attach_traced(
            recipe, model, optimizer, example_inputs=EXAMPLE.double(), companions=[target]
        )
        [(images, labels)] = batches(1)
        F.cross_entropy(model(images.double()), labels).backward()
        optimizer.step()
        after, moved = flat(model), flat(target)
        fresh = after["1.weight"] - 0.5 * before["1.weight"]
        torch.testing.assert_close(moved["1.weight"], 0.5 * there["1.weight"] + fresh)
        torch.testing.assert_close(moved["5.weight"], 0.5 * there["5.weight"])
        assert torch.equal(moved["5.bias"], there["5.bias"])

    def test_the_strength_adds_up_to_a_bound(self, batches: Batches) -> None:
        """Zeroed readers and a gradient criterion fight each other: here no unit is ever more than its rate due."""
        rate, every = 0.01, 5
        recipe = regrow.PartialReset(rate=rate, every_steps=every)
        found = train(dense(), batches(40) * 5, recipe, lr=0.05)
        assert isinstance(recipe.select, Graded)
        total: dict[tuple[str, int], float] = {}
        for event in found.report.events:
            due = recipe.select.strengths({"a": torch.tensor(event.scores)})["a"].tolist()
            for unit, strength in zip(event.filters, due, strict=True):
                total[event.layer, unit] = total.get((event.layer, unit), 0.0) + strength
        assert 0 < max(total.values()) <= rate * 200 / every * (1 + 1e-6)


class TestBugsOfOthers:
    def test_a_class_head_is_not_reset(self, small_cnn: Cnn, batches: Batches) -> None:
        """The port of the continuous form moves the head of a network in which it is not told which layer that is."""
        model = small_cnn(0)
        before = model[6].bias.detach().clone()  # type: ignore[index]
        recipe = regrow.PartialReset(rate=0.5, sharpness=0.0, every_steps=1)
        found = train(model, batches(1), recipe, lr=1e-30)
        assert set(found.report.layers) == set(renewed(found)) == {"0", "3"}
        assert torch.equal(model[6].bias, before)  # type: ignore[index]

    def test_a_layer_that_no_gradient_reaches_is_not_moved_as_a_whole(
        self, batches: Batches
    ) -> None:
        """With 1e-8 added to the mean all of its units score 0: behind a head that begins at 0 everybody is due."""
        model = dense()
        with torch.no_grad():
            model[5].weight.zero_()
        before = flat(model)
        found = train(model, batches(1), regrow.PartialReset(rate=0.5, every_steps=1), lr=1e-30)
        assert not found.report.events
        assert torch.equal(model[1].weight, before["1.weight"])

    @pytest.mark.parametrize("as_published", [False, True])
    def test_a_bias_that_stays_holds_a_dead_relu_shut(
        self, as_published: bool, batches: Batches
    ) -> None:
        model = dense()
        kill(model[1], 2)
        with torch.no_grad():
            model[1].bias[2] = -10.0
        recipe = regrow.PartialReset(rate=0.5, every_steps=1, as_published=as_published)
        found = train(model, batches(12), recipe, lr=1e-30, include=["1"])
        dead = [
            dict(zip(event.filters, event.scores, strict=True))[2] for event in found.report.events
        ]
        assert dead[0] == (0.99 if as_published else 0.0)  # it is found, and is due the full rate
        with torch.no_grad():
            lives = bool((model[:3](batches(1)[0][0])[:, 2] > 0).any())
        assert lives != as_published

    def test_columns_of_the_dense_layer_behind_convolutions(
        self, small_cnn: Cnn, batches: Batches
    ) -> None:
        """Channels come first here: those of unit u are 16 u to 16 u + 15. Repeated where they must be tiled, or the
        other way round, they would be those of others."""
        model = small_cnn(0)
        before = model[6].weight.detach().clone()  # type: ignore[index]
        recipe = regrow.PartialReset(
            rate=0.5, transform="linear", sharpness=1e6, every_steps=1
        )  # nothing or half
        found = train(model, batches(1), recipe, lr=1e-30)
        [event] = [each for each in found.report.events if each.layer == "3"]
        assert 0 < len(event.filters) < 6
        share = torch.ones(6)
        share[list(event.filters)] = 0.5
        expected = before * share.repeat_interleave(16)
        torch.testing.assert_close(model[6].weight.detach(), expected)  # type: ignore[index]


def test_a_graded_selection_takes_a_renewal_that_goes_a_part_of_the_way() -> None:
    with pytest.raises(ConfigError, match=r"take renewal.Blend\(\) \(recipe 'redo'\)"):
        regrow.ReDo().with_parts(select=Graded(rate=0.1))
    with pytest.raises(ConfigError, match=r"drop=True takes filters out as a whole"):
        regrow.PartialReset().with_parts(drop=True)
    binary = regrow.PartialReset().with_parts(select=UpTo(threshold=0.5), renew=Blend(strength=0.2))
    assert not binary.select.graded


def test_any_selection_may_be_blended(batches: Batches) -> None:
    """ReDo with a renewal of a fifth: who is dormant loses a fifth of what reads it."""
    model = dense()
    kill(model[1], 2)
    before = model[3].weight.detach().clone()
    recipe = regrow.ReDo(threshold=0.0, every_steps=1).with_parts(renew=Blend(strength=0.2))
    found = train(model, batches(1), recipe, include=["1"], lr=1e-30)
    assert renewed(found) == {"1": [2]}
    torch.testing.assert_close(model[3].weight[:, 2], 0.8 * before[:, 2])
