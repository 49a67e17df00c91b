"""RandomOut as it is by default, in real loops: who is found dead and when, who is left alone, and what is said."""

from __future__ import annotations

import copy
import dataclasses
import io
import warnings
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from torch.nn import functional as F  # noqa: N812

import regrow
from loop.loops import EXAMPLE, adam, assert_same_bits, kill, sgd, weights
from regrow.criteria import CriterionState, LayerActivity, Liveness, Observation, Signal
from regrow.errors import ConfigError, LargeRenewalWarning, LeftAloneWarning, NoEffectWarning
from traced import attach_traced

Cnn = Callable[[int], nn.Module]


def _batches(count: int, size: int = 32) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(11)
    return [
        (
            torch.randn(size, 1, 8, 8, generator=generator),
            torch.randint(0, 3, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def _recipe(**window: Any) -> regrow.Recipe:
    recipe = regrow.RandomOut(active_fraction=1.0)
    assert isinstance(recipe.criterion, Liveness)
    return recipe.with_parts(criterion=dataclasses.replace(recipe.criterion, **window))


def _train(
    model: Any,
    optimizer: torch.optim.Optimizer,
    batches: Any,
    *,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy,
) -> None:
    for images, labels in batches:
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()


def _events(regrower: regrow.Regrower) -> list[tuple[int, str, tuple[int, ...]]]:
    return [(event.step, event.layer, event.filters) for event in regrower.report.events]


def test_a_dead_filter_is_found_within_ten_steps(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    optimizer = adam(model)
    regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)
    batches = _batches(40)
    _train(model, optimizer, batches[:7])
    kill(model, 1, 4)
    _train(model, optimizer, batches[7:])
    assert _events(regrower) == [(17, "3", (1, 4))]


def test_a_penalty_in_the_loss_hides_it_no_longer_than_to_the_next_look(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    optimizer = sgd(model)
    regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)

    def penalised(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shift = sum((parameter - 0.01).square().sum() for parameter in model.parameters())
        return F.cross_entropy(scores, labels) + 1e-2 * shift

    batches = _batches(120)
    _train(model, optimizer, batches[:3], loss=penalised)
    kill(model, 2)
    model[3].bias.data[2] = -100.0  # type: ignore[index]
    _train(model, optimizer, batches[3:], loss=penalised)
    assert _events(regrower) == [(109, "3", (2,))]


def test_one_decision_says_how_much_it_takes(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    kill(model, 0, 1, 2)
    optimizer = sgd(model)
    regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)
    with pytest.warns(LargeRenewalWarning, match=r"step 9 renews 3 of 6 filters of '3'"):
        _train(model, optimizer, _batches(12))
    assert "step 9 renews 3 of 6 filters of '3'" in str(regrower.report)


def test_whoever_hears_nothing_is_left_alone_with_the_cause(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    for parameter in (model[1].weight, model[1].bias):  # type: ignore[index]
        parameter.requires_grad_(requires_grad=False)
        parameter.data.fill_(-1.0 if parameter is model[1].bias else 0.0)  # type: ignore[index]
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)
    with pytest.warns(LeftAloneWarning) as caught:
        _train(model, optimizer, _batches(15))
    assert _events(regrower) == []
    assert regrower.report.blocked == {"0": (0, 1, 2, 3)}
    assert regrower.report.starved == {"3": (0, 1, 2, 3, 4, 5)}
    assert {str(each.message).partition(" (recipe")[0] for each in caught} == {
        "silent filters are left alone, since a factor of 0 stands behind them: 4 of 4 filters of '0' (see 1.weight)",
        "silent filters are left alone, since what they hear is constant: 6 of 6 filters of '3' (it hears 0)",
    }
    assert "left alone in 3: filters 0, 1, 2, 3, 4, 5, starved" in str(regrower.report)


def test_after_three_renewals_in_vain_a_filter_is_left_alone(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)

    def silenced(*_: object) -> None:
        with torch.no_grad():
            model[3].weight[2], model[3].bias[2] = 0.0, -100.0  # type: ignore[index]

    optimizer.register_step_post_hook(silenced)
    silenced()
    with pytest.warns(LeftAloneWarning, match="after three renewals without a sign of life"):
        _train(model, optimizer, _batches(70))
    assert [step for step, _, _ in _events(regrower)] == [9, 19, 29]
    assert regrower.report.given_up == {"3": (2,)}


class _Residual(nn.Module):
    """A block whose last scale starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = (
            nn.Conv2d(1, 6, 3),
            nn.Conv2d(6, 5, 3, padding=1),
            nn.Conv2d(5, 6, 3, padding=1),
        )
        self.norm_a, self.norm_b = nn.BatchNorm2d(5), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)
        nn.init.zeros_(self.norm_b.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = x + self.norm_b(self.b(self.norm_a(self.a(x)).relu()))
        return self.head(x.relu().mean((2, 3)))


@pytest.mark.parametrize("make", [sgd, adam])
def test_a_scale_that_starts_at_zero_harms_nobody(make: Any) -> None:
    torch.manual_seed(0)
    model = _Residual()
    optimizer = make(model)
    regrower = attach_traced(
        regrow.RandomOut(active_fraction=1.0), model, optimizer, example_inputs=EXAMPLE
    )
    _train(model, optimizer, _batches(30))
    assert _events(regrower) == []


def test_a_renewed_filter_begins_with_the_scale_that_the_network_began_with() -> None:
    torch.manual_seed(0)
    model = _Residual()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05
    )  # momentum would bring what is killed back
    regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)
    batches = _batches(30)
    _train(model, optimizer, batches[:5])
    with torch.no_grad():
        model.b.weight[3], model.norm_b.bias[3] = 0.0, -100.0
        model.a.weight[2], model.norm_a.bias[2] = 0.0, -100.0
    saved = io.BytesIO()
    torch.save(regrower.state_dict(), saved)
    scales: dict[str, float] = {}
    regrower.on_renewal(
        lambda event: scales.setdefault(
            event.layer,
            float(getattr(model, f"norm_{event.layer}").weight.detach()[event.filters[0]]),
        )
    )
    _train(model, optimizer, batches[5:])
    assert scales == {"a": 1.0, "b": 0.0}
    # Attached to a network that has trained, it would not know; a saved state does.
    saved.seek(0)
    other = attach_traced(_recipe(), model, sgd(model), example_inputs=EXAMPLE)
    assert other.state_dict()["fresh"] == {}
    other.load_state_dict(torch.load(saved, weights_only=True))
    assert other.state_dict()["fresh"] == {"norm_b.weight": 0.0}


def test_a_layer_that_does_not_learn_is_not_judged(small_cnn: Cnn) -> None:
    """Not at a rate of 0, as in a warm-up, nor while it is frozen."""
    model = small_cnn(0)
    kill(model, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)
    batches = _batches(40)
    _train(model, optimizer, batches[:15])
    assert _events(regrower) == []
    optimizer.param_groups[0]["lr"] = 0.1
    _train(model, optimizer, batches[15:])
    assert _events(regrower) == [(24, "3", (1,))]


@pytest.mark.parametrize("stepwise", [False, True])
def test_without_hooks_it_is_the_same(stepwise: bool, small_cnn: Cnn) -> None:
    found = []
    for hooks in (True, False):
        model = small_cnn(0)
        kill(model, 1)
        optimizer = sgd(model)
        regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE, hooks=hooks)
        for images, labels in _batches(25):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            if not hooks and not stepwise:
                regrower.before_step()
            optimizer.step()
            if not hooks:
                (regrower.step if stepwise else regrower.after_step)()
        found.append((_events(regrower), weights(model)))
    assert found[0][0] == found[1][0] == [(9, "3", (1,))]
    assert_same_bits(found[0][1], found[1][1])


def test_a_wiring_by_hand_says_what_is_missing(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    wiring = dataclasses.replace(regrow.trace(model, EXAMPLE), flows={})
    with pytest.raises(ConfigError, match="must know where filters leave"):
        regrow.attach(_recipe(), model, sgd(model), wiring=wiring)
    regrow.attach(
        regrow.RandomOut(confirm="gradient", active_fraction=1.0), model, sgd(model), wiring=wiring
    )


def test_a_forward_pass_that_nobody_sees_is_said(small_cnn: Cnn) -> None:
    model = small_cnn(0)
    twin = copy.deepcopy(model)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        theirs.data = mine.data  # the same weights, called through another module
    optimizer = sgd(model)
    attach_traced(_recipe(look_every=1), model, optimizer, example_inputs=EXAMPLE)

    def train() -> None:
        for images, labels in _batches(6):
            optimizer.zero_grad()
            F.cross_entropy(twin(images), labels).backward()
            for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
                mine.grad = theirs.grad
            optimizer.step()

    with pytest.warns(NoEffectWarning, match="no forward pass of the model was seen"):
        train()


@dataclasses.dataclass(frozen=True)
class _Asking:
    """A criterion of a user's: it keeps what it is shown."""

    shown: list[LayerActivity | None]
    every_step = True
    needs = frozenset({Signal.ACTIVITY})

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        self.shown.append(observation.activity)
        return state

    def score(self, state: CriterionState, **_: Any) -> tuple[CriterionState, None]:
        return state, None


@pytest.mark.parametrize("every", [1, 3])
def test_a_criterion_of_ones_own_gets_means_of_micro_batches(every: int, small_cnn: Cnn) -> None:
    model = small_cnn(0).eval()
    model.train()
    model[1].eval()  # type: ignore[index] # so that a plain loop can say the numbers
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)
    shown: list[LayerActivity | None] = []
    plain = regrow.RandomOut(confirm="gradient", active_fraction=1.0)
    recipe = plain.with_parts(criterion=_Asking(shown))
    attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, activity_every=every)
    batches = _batches(6, size=8)
    for images, labels in batches:
        optimizer.zero_grad()
        for some, same in zip(images.split(4), labels.split(4), strict=True):
            F.cross_entropy(model(some), same).backward()
        optimizer.step()
    seen = shown[1::2]  # of the second layer
    assert [each is not None for each in seen] == [step % every == 0 for step in range(6)]
    values = model[:5](batches[3][0]).detach().double().movedim(1, 0).flatten(1)  # type: ignore[index]
    activity = seen[3]
    assert activity is not None
    assert activity.examples == 8
    for mine, loop in (
        (activity.mean, values.mean(1)),
        (activity.size, values.abs().mean(1)),
        (activity.positive, (values > 0).double().mean(1)),
    ):
        assert mine is not None
        torch.testing.assert_close(mine, loop, rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match="activity_every must be a whole number of at least 1"):
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, activity_every=0)


class _Own(nn.Module):
    """A module with a forward of its own: torch.compile takes it another way than torch's classes."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class TestCompiled:
    """No recompilation, no graph break, and the same filters at the same steps."""

    @pytest.fixture(autouse=True)
    def _fresh(self) -> Generator[None]:
        torch._dynamo.reset()
        counters.clear()
        yield
        torch._dynamo.reset()

    @pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
    @pytest.mark.parametrize(
        (
            "when",
            "own",
        ),  # torch.compile takes a class of torch's another way, and none of them in place
        [
            ("before", False),
            ("before", True),
            ("after", False),
            ("after", True),
            ("in place", True),
        ],
    )
    def test_a_compiled_model(self, when: str, own: bool, small_cnn: Cnn) -> None:
        runs = []
        for compiled in (False, True):
            model: Any = small_cnn(0)
            kill(model, 1)
            model = _Own(model) if own else model
            optimizer, called, counter = sgd(model), model, CompileCounterWithBackend("aot_eager")
            if compiled and when == "in place":
                model.compile(backend=counter, fullgraph=True)
            if when != "before" and compiled and when != "in place":
                called = torch.compile(model, backend=counter, fullgraph=True)
            regrower = attach_traced(_recipe(), called, optimizer, example_inputs=EXAMPLE)
            if when == "before" and compiled:
                called = torch.compile(model, backend=counter, fullgraph=True)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                _train(called, optimizer, _batches(25))
            runs.append((_events(regrower), weights(model)))
            if compiled:
                assert counter.frame_count == 1
                assert sum(counters["graph_break"].values()) == 0
        (eager, bits), (fast, same) = runs
        # The first pass went by before it was known where to look.
        late = int(when == "before" and not own)
        assert [
            (step + late, layer.removeprefix("layers."), units) for step, layer, units in eager
        ] == [(step, layer.removeprefix("layers."), units) for step, layer, units in fast]
        if not late:
            assert_same_bits(bits, same)

    def test_a_compiled_block(self, small_cnn: Cnn) -> None:
        runs = []
        for compiled in (False, True):
            net, counter = small_cnn(0), CompileCounterWithBackend("aot_eager")
            kill(net, 1)
            block: Any = _Own(net[:5])  # type: ignore[index]
            if compiled:
                block = torch.compile(block, backend=counter, fullgraph=True)
            model = nn.Sequential(block, *net[5:])  # type: ignore[misc]
            optimizer = sgd(model)
            regrower = attach_traced(_recipe(), model, optimizer, example_inputs=EXAMPLE)
            _train(model, optimizer, _batches(25))
            runs.append([(event.step, event.filters) for event in regrower.report.events])
            assert counter.frame_count == compiled
        assert runs[0] == runs[1] != []
        assert sum(counters["graph_break"].values()) == 0
