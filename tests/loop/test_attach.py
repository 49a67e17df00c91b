"""attach in a hand-written loop: what it changes, what it leaves, and what it says."""

import copy
import functools
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from crossed import crossed
from regrow.errors import (
    ConfigError,
    NoEffectWarning,
    NonFiniteWarning,
    OptimizerError,
    ShapeError,
    StateError,
)
from regrow.history import Renewed
from traced import attach_traced

Batches = list[tuple[torch.Tensor, torch.Tensor]]
EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS = 12


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def _kill(model: nn.Module, *filters: int) -> None:
    """Make filters of the second convolution silent on every input: their gradient is exactly 0."""
    with torch.no_grad():
        for index in filters:
            model[3].weight[index] = 0.0  # type: ignore[index]
            model[3].bias[index] = -1.0  # type: ignore[index]


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    *,
    start: int = 0,
    scale: float = 1.0,
) -> None:
    for images, labels in batches[start:]:
        optimizer.zero_grad()
        (scale * nn.functional.cross_entropy(model(images), labels)).backward()
        optimizer.step()


def _gradient(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return loss


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def recipe() -> regrow.Recipe:
    return regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)


@pytest.mark.parametrize("make", [_sgd, _adam])
def test_before_the_first_renewal_training_is_bit_equal(
    make: Callable[[nn.Module], torch.optim.Optimizer],
    recipe: regrow.Recipe,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    plain, watched = small_cnn(0), small_cnn(0)
    _train(plain, make(plain), batches(STEPS))
    optimizer = make(watched)
    regrower = attach_traced(recipe, watched, optimizer, example_inputs=EXAMPLE)
    _train(watched, optimizer, batches(STEPS))
    assert regrower.report.renewed == 0
    assert regrower.report.checks == STEPS
    assert _equal(_state(plain), _state(watched))


def test_dead_filters_are_redrawn_and_learn(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1, 4)
    optimizer = _sgd(model)
    before = _state(model)
    seen: list[Renewed] = []
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    regrower.on_renewal(seen.append)
    _train(model, optimizer, batches(1))
    assert [
        (event.step, event.layer, event.filters, event.scores) for event in regrower.report.events
    ] == [(0, "3", (1, 4), (0.0, 0.0))]
    assert seen == regrower.report.events
    after = _state(model)
    for index in (1, 4):
        fresh = after["3.weight"][index]
        assert fresh.abs().max() > 0
        assert fresh.abs().max() <= 1 / (4 * 9) ** 0.5  # torch's own distribution for this layer
        assert after["3.bias"][index] == 0
    plain = small_cnn(0)
    plain.load_state_dict(before)
    _train(plain, _sgd(plain), batches(1))
    kept = [0, 2, 3, 5]
    assert torch.equal(_state(plain)["3.weight"][kept], after["3.weight"][kept])
    assert torch.equal(_state(plain)["6.weight"], after["6.weight"])  # the readers are kept
    _train(model, optimizer, batches(2), start=1)
    assert not torch.equal(_state(model)["3.weight"][1], after["3.weight"][1])


def test_norm_entries_of_a_renewed_filter_are_those_of_a_fresh_one(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    with torch.no_grad():
        model[1].weight[2], model[1].bias[2] = 0.0, -1.0  # type: ignore[index]
    optimizer = _sgd(model)
    regrower = attach_traced(
        regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0, norm="l2"),
        model,
        optimizer,
        example_inputs=EXAMPLE,
    )
    _train(model, optimizer, batches(1))
    assert [(event.layer, event.filters) for event in regrower.report.events] == [("0", (2,))]
    norm = model[1]  # type: ignore[index]
    assert [norm.weight[2].item(), norm.bias[2].item()] == [1.0, 0.0]
    assert [norm.running_mean[2].item(), norm.running_var[2].item()] == [0.0, 1.0]
    assert norm.running_mean[1].item() != 0.0


def test_as_the_authors_code_touches_the_weights_alone(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    optimizer = _sgd(model)
    recipe = regrow.RandomOut(
        confirm="gradient",
        threshold=1e-12,
        active_fraction=1.0,
        reset_bias=False,
        reset_norm=False,
        optimizer_state="kept",
    )
    attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    _train(model, optimizer, batches(1))
    assert model[3].bias[1].item() == -1.0  # type: ignore[index]
    assert model[3].weight[1].abs().max() > 0  # type: ignore[index]


def test_zeroed_and_redrawn_readers(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    columns = slice(16, 32)  # filter 1 of the second convolution in the flattened 6 x 4 x 4 map
    for readers in ("zero", "redraw"):
        model = small_cnn(0)
        _kill(model, 1)
        optimizer = _sgd(model)
        recipe = regrow.RandomOut(
            confirm="gradient", threshold=1e-12, active_fraction=1.0, readers=readers
        )  # type: ignore[arg-type]
        plain = small_cnn(0)
        _kill(plain, 1)
        _train(plain, _sgd(plain), batches(1))
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        _train(model, optimizer, batches(1))
        head, untouched = model[6].weight.detach(), plain[6].weight.detach()  # type: ignore[index]
        if readers == "zero":
            assert not head[:, columns].any()
        else:
            assert (head[:, columns] != untouched[:, columns]).all()
        rest = torch.ones(96, dtype=torch.bool)
        rest[columns] = False
        assert torch.equal(head[:, rest], untouched[:, rest])
        # With zeroed readers the new filter's gradient is exactly 0 for a step: grace keeps it from being redrawn.
        _train(model, optimizer, batches(4), start=1)
        assert len(regrower.report.events) == 1


def test_without_grace_zeroed_readers_would_be_redrawn_for_ever(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    optimizer = _sgd(model)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, readers="zero", grace_steps=0
    )
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    _train(model, optimizer, batches(4))
    assert [event.step for event in regrower.report.events] == [0, 1, 2, 3]


def test_the_head_is_never_renewed(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    optimizer = _sgd(model)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    regrower = attach_traced(
        recipe, model, optimizer, example_inputs=EXAMPLE, layers=("conv", "linear")
    )
    before = _state(model)
    plain = small_cnn(0)
    _train(plain, _sgd(plain), batches(1))
    _train(model, optimizer, batches(1))
    assert set(regrower.report.layers) == {"0", "3"}
    assert regrower.report.renewed == 10
    assert torch.equal(_state(model)["6.weight"], _state(plain)["6.weight"])
    assert not torch.equal(_state(model)["6.weight"], before["6.weight"])


@pytest.mark.parametrize(("source", "make"), crossed(["last", "accumulated"], [_sgd, _adam]))
def test_resumed_is_bit_equal_to_uninterrupted(
    make: Callable[[nn.Module], torch.optim.Optimizer],
    source: Any,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    def start() -> tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]:
        model = small_cnn(0)
        _kill(model, 1, 4)
        optimizer = make(model)
        recipe = regrow.RandomOut(
            confirm="gradient",
            threshold=0.4,
            active_fraction=0.8,
            source=source,
            every_steps=3,
            init="normal:0.2",
        )
        regrower = attach_traced(
            recipe, model, optimizer, example_inputs=EXAMPLE, total_steps=STEPS, seed=5
        )
        return model, optimizer, regrower

    model, optimizer, regrower = start()
    _train(model, optimizer, batches(STEPS))
    half, half_optimizer, half_regrower = start()
    _train(half, half_optimizer, batches(5))
    file = io.BytesIO()
    torch.save([half.state_dict(), half_optimizer.state_dict(), half_regrower.state_dict()], file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again, again_optimizer, again_regrower = start()
    again.load_state_dict(saved[0])
    again_optimizer.load_state_dict(saved[1])
    again_regrower.load_state_dict(saved[2])
    _train(again, again_optimizer, batches(STEPS), start=5)
    assert regrower.report.renewed > 2
    assert regrower.report.events == again_regrower.report.events
    assert _equal(_state(model), _state(again))


def test_accumulated_sees_what_the_last_batch_does_not(
    small_cnn: Callable[[int], nn.Module],
) -> None:
    model = small_cnn(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recipes = {
        source: regrow.RandomOut(
            confirm="gradient", threshold=1e-12, active_fraction=1.0, source=source, every_steps=2
        )  # type: ignore[arg-type]
        for source in ("last", "accumulated")
    }
    regrowers = {
        source: attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, dry_run=True)
        for source, recipe in recipes.items()
    }
    for factor in (1.0, 0.0):  # the second step's gradient is exactly 0
        optimizer.zero_grad()
        (factor * model(torch.randn(4, 1, 8, 8)).square().sum()).backward()
        optimizer.step()
    assert regrowers["last"].report.renewed == 10
    assert regrowers["accumulated"].report.renewed == 0


def test_dry_run_reports_and_changes_nothing(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model, plain = small_cnn(0), small_cnn(0)
    _kill(model, 1)
    _kill(plain, 1)
    optimizer = _sgd(model)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, dry_run=True)
    _train(model, optimizer, batches(3))
    _train(plain, _sgd(plain), batches(3))
    assert regrower.report.renewed == 3
    assert _equal(_state(model), _state(plain))


def test_a_gradient_that_is_no_number_selects_nothing_and_is_reported(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    with pytest.warns(NonFiniteWarning, match="not finite at step 0"):
        _train(model, optimizer, batches(1), scale=float("nan"))
    assert regrower.report.renewed == 0
    assert regrower.report.nonfinite == 10


def test_min_loss_is_a_gate(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, min_loss=0.5
    )
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    with pytest.raises(ConfigError, match=r"call regrower\.tell\(loss=\.\.\.\)"):
        _train(model, optimizer, batches(1))
    regrower.detach()
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    for told in (0.4, 0.6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batches(1)[0][0]), batches(1)[0][1]).backward()
        regrower.tell(loss=torch.tensor(told))
        optimizer.step()
    assert [event.step for event in regrower.report.events] == [1]


def test_closures_are_followed(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    optimizer = _sgd(model)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, min_loss=0.0
    )
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    images, labels = batches(1)[0]

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    optimizer.step(closure=closure)
    assert regrower.report.steps == 2
    assert [event.step for event in regrower.report.events][:1] == [0]


def test_three_ways_in_are_one(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    """Hooks, explicit steps and a closure give the same weights."""
    results = []
    for way in ("hooks", "step", "closure"):
        model = small_cnn(0)
        _kill(model, 1, 2)
        optimizer = _adam(model)
        regrower = attach_traced(
            recipe, model, optimizer, example_inputs=EXAMPLE, hooks=way != "step"
        )
        for images, labels in batches(6):
            closure = functools.partial(_gradient, model, optimizer, images, labels)
            if way == "closure":
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
            if way == "step":
                regrower.step()
        results.append(_state(model))
    assert _equal(results[0], results[1])
    assert _equal(results[0], results[2])


def test_the_control_copies_steps_layers_and_counts(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1, 4)
    optimizer = _sgd(model)
    tested = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    _train(model, optimizer, batches(6))
    picked = set()
    for seed in range(6):
        other = small_cnn(0)
        _kill(other, 1, 4)
        other_optimizer = _sgd(other)
        control = attach_traced(
            regrow.RandomControl(like=tested.report.events),
            other,
            other_optimizer,
            example_inputs=EXAMPLE,
            seed=seed,
        )
        _train(other, other_optimizer, batches(6))
        assert [(e.step, e.layer, len(e.filters)) for e in control.report.events] == [
            (e.step, e.layer, len(e.filters)) for e in tested.report.events
        ]
        picked |= {event.filters for event in control.report.events}
    assert len(picked) > 1


def test_detach_and_context_manager(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    optimizer = _sgd(model)
    with attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE) as regrower:
        _train(model, optimizer, batches(2))
    _train(model, optimizer, batches(2))
    assert regrower.report.steps == 2
    regrower.detach()


def test_scaled_gradients_of_a_fused_optimizer_are_read_unscaled(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    """A fused optimizer under a gradient scaler sees scaled gradients, and is called in skipped steps too."""
    scores = []
    for scaled in (False, True):
        model = small_cnn(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, dry_run=True)
        for factor in (float("inf"), 1.0) if scaled else (1.0,):
            optimizer.zero_grad()
            images, labels = batches(1)[0]
            loss = nn.functional.cross_entropy(model(images), labels) * factor
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        assert regrower.report.steps == 1
        scores.append([event.scores for event in regrower.report.events])
    assert scores[0][0] == pytest.approx(scores[1][0], rel=1e-4)


def test_names_inside_wrappers(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = nn.DataParallel(small_cnn(0))
    _kill(model.module, 1)
    optimizer = _sgd(model)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    _train(model, optimizer, batches(1))
    assert list(regrower.report.layers) == ["0", "3"]
    assert regrower.report.renewed == 1


def test_linear_layers_when_asked(batches: Callable[[int], Batches]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 3))
    with torch.no_grad():
        model[1].bias[7] = -1e3
    optimizer = _sgd(model)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)
    with pytest.raises(ConfigError, match="no filter that the recipe may renew"):
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, layers=("linear",))
    _train(model, optimizer, batches(1))
    assert [(event.layer, event.filters) for event in regrower.report.events] == [("1", (7,))]


def test_frozen_layers_are_left(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module]
) -> None:
    model = small_cnn(0)
    optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1)  # type: ignore[index]
    assert list(attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE).report.layers) == [
        "3"
    ]


@pytest.mark.parametrize(("readers", "renewed"), [("keep", 1), ("zero", 0), ("redraw", 0)])
def test_a_frozen_reader_keeps_its_bits(
    readers: str,
    renewed: int,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    """A renewal that must change it waits, and says so; one that does not is made."""
    model = small_cnn(0)
    _kill(model, 1)
    optimizer = torch.optim.SGD([*model[0].parameters(), *model[3].parameters()], lr=0.1)  # type: ignore[index]
    head = model[6].weight.detach().clone()  # type: ignore[index]
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, readers=readers
    )
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    _train(model, optimizer, batches(2))
    assert regrower.report.renewed == renewed
    assert torch.equal(head, model[6].weight)  # type: ignore[index]
    told = "3: not renewed before 6.weight is trained, which must change with it"
    assert (told in regrower.report.notes) == (not renewed)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"example_inputs": None}, ConfigError, "example_inputs or wiring"),
        ({"include": ("conv9*",)}, ConfigError, "conv9"),
        ({"include": ("6",)}, ConfigError, "no filter that the recipe may renew"),
        ({"total_steps": 0}, ConfigError, "total_steps must be a whole number of at least 1"),
        ({"init": "glorot"}, LookupError, "unknown initialiser 'glorot'"),
        ({"init": 3}, ConfigError, "a name or a function, got 3"),
        ({"init": lambda weight: None}, ConfigError, "must fill the whole tensor"),
        ({"init": lambda weight: weight[:1]}, ShapeError, "must fill a tensor of shape"),
        ({"layers": "conv"}, ConfigError, "layers must be a list or tuple of strings, got 'conv'"),
        ({"include": "3"}, ConfigError, "include must be a list or tuple of strings, got '3'"),
        (
            {"init": {"9": "kaiming_normal"}},
            ConfigError,
            "init pattern '9' matches no layer that is drawn",
        ),
    ],
)
def test_bad_use_is_refused_before_training(
    change: dict[str, Any],
    error: type[Exception],
    message: str,
    recipe: regrow.Recipe,
    small_cnn: Callable[[int], nn.Module],
) -> None:
    model = small_cnn(0)
    with pytest.raises(error, match=message):
        regrow.attach(recipe, model, _sgd(model), **{"example_inputs": EXAMPLE, **change})


def test_optimizers_that_cannot_be_followed(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module]
) -> None:
    model = small_cnn(0)
    with pytest.raises(OptimizerError, match="LBFGS"):
        attach_traced(recipe, model, torch.optim.LBFGS(model.parameters()), example_inputs=EXAMPLE)
    adafactor = torch.optim.Adafactor(model.parameters())
    with pytest.raises(OptimizerError, match="optimizer_state='kept' in the recipe"):
        attach_traced(recipe, model, adafactor, example_inputs=EXAMPLE)
    as_is = regrow.RandomOut(confirm="gradient", active_fraction=1.0, optimizer_state="kept")
    assert attach_traced(as_is, model, adafactor, example_inputs=EXAMPLE).report.steps == 0


def test_a_state_of_another_run_is_refused(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module]
) -> None:
    model = small_cnn(0)
    regrower = attach_traced(recipe, model, _sgd(model), example_inputs=EXAMPLE)
    state = regrower.state_dict()
    for key, value in (("seed", 3), ("recipe", "repr"), ("layers", {"0": 4}), ("version", 99)):
        with pytest.raises(StateError, match=f"saved regrower has {key}"):
            regrower.load_state_dict({**copy.deepcopy(state), key: value})
    with pytest.raises(StateError, match="optimizer_state"):
        regrower.load_state_dict({**state, "optimizers": [None]})
    with pytest.raises(StateError, match="lacks born, report"):
        regrower.load_state_dict({k: v for k, v in state.items() if k not in {"born", "report"}})
    with pytest.raises(StateError, match="state of '3' is not whole"):
        regrower.load_state_dict({**state, "born": {**state["born"], "3": torch.zeros(5)}})
    for memory in (None, {"scores": torch.zeros(5)}, {"scores": [0.0] * 6}):
        with pytest.raises(StateError, match="state of '3' is not whole"):
            regrower.load_state_dict({**state, "criteria": {**state["criteria"], "3": memory}})
    with pytest.raises(StateError, match="report lacks checks, events, large, nonfinite, seconds"):
        regrower.load_state_dict({**state, "report": {}})
    with pytest.raises(StateError, match=r"as state_dict\(\) gives it, got NoneType"):
        regrower.load_state_dict(None)  # type: ignore[arg-type]


def test_the_report_reads_well(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    optimizer = _sgd(model)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    _train(model, optimizer, batches(1))
    text = str(regrower.report)
    assert text.splitlines()[0].startswith("randomout: 1 renewal in 1 step, 1 check")
    assert "  3: 1 renewal of 1 of 6 filters" in text


def test_half_precision_models_are_tested_against_the_threshold(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0).half()
    _kill(model, 1)
    optimizer = _sgd(model)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e-8, active_fraction=1.0)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE.half())
    images, labels = batches(1)[0]
    nn.functional.cross_entropy(model(images.half()).float(), labels).backward()
    optimizer.step()
    assert [(event.layer, event.filters) for event in regrower.report.events] == [("3", (1,))]


def test_a_wrapper_that_is_an_optimizer_itself_is_looked_through(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    class Accelerated(torch.optim.Optimizer):
        """As Accelerate's: a subclass that never calls its parent's constructor."""

        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

    model = small_cnn(0)
    _kill(model, 1)
    optimizer = _adam(model)
    regrower = attach_traced(recipe, model, Accelerated(optimizer), example_inputs=EXAMPLE)
    _train(model, optimizer, batches(1))
    assert regrower.report.renewed == 1


@pytest.mark.filterwarnings("ignore:the recipe .* is at work:regrow.errors.RegrowWarning")
@pytest.mark.filterwarnings("ignore:the .* has made steps before:regrow.errors.RegrowWarning")
@pytest.mark.parametrize(
    "make",
    [
        _adam,
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, dampening=0.5),
    ],
)
def test_two_recipes_on_one_optimizer_correct_its_steps_once(
    make: Callable[[nn.Module], torch.optim.Optimizer],
    recipe: regrow.Recipe,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    """Both redraw the same filter with the same numbers: what follows must be what one alone gives."""
    results = []
    for count in (1, 2):
        model = small_cnn(0)
        optimizer = make(model)
        _train(model, optimizer, batches(4))
        _kill(model, 1)
        regrowers = [
            attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE) for _ in range(count)
        ]
        _train(model, optimizer, batches(10), start=4)
        assert {regrower.report.renewed for regrower in regrowers} == {1}
        results.append(_state(model))
    assert _equal(*results)


@pytest.mark.parametrize("overflow", [False, True])
def test_undamped_first_steps_under_a_gradient_scaler(
    overflow: bool,
    recipe: regrow.Recipe,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    """A fused SGD sees scaled gradients, and its hooks run in skipped steps too."""
    results = []
    for scaled in (False, True):
        model = small_cnn(0).eval()  # a skipped step's forward pass must leave no trace
        _kill(model, 1)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, dampening=0.5, fused=True
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
        for step, (images, labels) in enumerate(batches(4)):
            for factor in (float("inf"), 1.0) if scaled and overflow and step == 1 else (1.0,):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                scaler.scale(loss * factor).backward()
                scaler.step(optimizer)
                scaler.update()
        assert (regrower.report.steps, regrower.report.renewed) == (4, 1)
        results.append(_state(model))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-5, atol=1e-6)


def test_a_callback_that_raises_leaves_nothing_half_done(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    with torch.no_grad():
        model[1].weight[2], model[1].bias[2] = 0.0, -1.0  # type: ignore[index]
    optimizer = _sgd(model)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)

    def fail(event: Renewed) -> None:
        raise ValueError(event.layer)

    regrower.on_renewal(fail)
    with pytest.raises(ValueError, match="0"):
        _train(model, optimizer, batches(1))
    assert [event.layer for event in regrower.report.events] == ["0", "3"]
    assert regrower.report.steps == 1
    assert model[3].bias[1] == 0.0  # type: ignore[index]


@pytest.mark.filterwarnings("ignore:the recipe .* is at work:regrow.errors.RegrowWarning")
def test_a_callback_may_detach(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    optimizer = _sgd(model)
    first, second = (
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE) for _ in range(2)
    )
    first.on_renewal(lambda event: first.detach())
    _train(model, optimizer, batches(3))
    assert (first.report.steps, second.report.steps) == (1, 3)


def test_a_model_that_is_moved_after_attach(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    """`Module.to` replaces buffers: a reset must reach those that the model has now."""
    model = small_cnn(0)
    with torch.no_grad():
        model[1].weight[2], model[1].bias[2] = 0.0, -1.0  # type: ignore[index]
    optimizer = _sgd(model)
    attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    model.double()
    _train(model, optimizer, [(images.double(), labels) for images, labels in batches(1)])
    norm = model[1]  # type: ignore[index]
    assert [norm.running_mean[2].item(), norm.running_var[2].item()] == [0.0, 1.0]
    assert norm.running_mean[1].item() != 0.0


def test_gradients_that_are_gone_already_are_missed_aloud(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    optimizer = _sgd(model)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, hooks=False)
    _train(model, optimizer, batches(1))
    optimizer.zero_grad()
    with pytest.warns(NoEffectWarning, match=r"or regrower\.step\(\) before zero_grad\(\)"):
        regrower.step()
    regrower.step()  # warned once


def test_a_control_that_cannot_copy_its_run_says_so(small_cnn: Callable[[int], nn.Module]) -> None:
    model = small_cnn(0)

    def attach(layer: str, count: int, **clock: int) -> None:
        event = Renewed(step=4, layer=layer, filters=tuple(range(count)), scores=(0.0,) * count)
        control = regrow.RandomControl(like=[event])
        attach_traced(control, model, _sgd(model), example_inputs=EXAMPLE, **clock).detach()

    attach("3", 6, total_steps=5)
    with pytest.raises(ConfigError, match="'features', which is not watched here; watched: 0, 3"):
        attach("features", 1)
    with pytest.raises(ConfigError, match="7 filters of '3' at step 4, which has 6 here"):
        attach("3", 7)
    with pytest.warns(NoEffectWarning, match="ends after 4 steps, and the last of them is step 4"):
        attach("3", 1, total_steps=4)


def test_a_wiring_of_another_model_is_refused(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module]
) -> None:
    model = small_cnn(0)
    wider = nn.Sequential(nn.Conv2d(1, 8, 3), *list(small_cnn(0))[2:])
    wider[2] = nn.Conv2d(8, 6, 3)
    with pytest.raises(ConfigError, match=r"0\.weight has shape \(8, 1, 3, 3\), the model's \(4,"):
        regrow.attach(recipe, model, _sgd(model), wiring=regrow.trace(wider, EXAMPLE))
    other = nn.Sequential(small_cnn(0))
    with pytest.raises(ConfigError, match=r"'0\.0' needs 0\.0\.weight, which is not in the model"):
        regrow.attach(recipe, model, _sgd(model), wiring=regrow.trace(other, EXAMPLE))


def test_what_the_trace_left_out_is_in_the_notes(
    recipe: regrow.Recipe, small_cnn: Callable[[int], nn.Module]
) -> None:
    model = small_cnn(0)
    nn.utils.parametrizations.weight_norm(model[3])  # type: ignore[index]
    regrower = attach_traced(recipe, model, _sgd(model), example_inputs=EXAMPLE)
    assert list(regrower.report.layers) == ["0"]
    assert "convolution in '3': its weight is computed" in str(regrower.report)


class _OwnKernel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(5, 1, 3, 3))
        self.head = nn.Linear(5, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.conv2d(images, self.kernel).relu().mean((2, 3)))


def test_a_weight_of_its_own_name_needs_its_initialiser_told(recipe: regrow.Recipe) -> None:
    model = _OwnKernel()
    with pytest.raises(ConfigError, match=r"tell it with init=\{'kernel': \.\.\.\}"):
        attach_traced(recipe, model, _sgd(model), example_inputs=EXAMPLE)
    told = {"kernel": "normal:0.1"}
    regrower = attach_traced(recipe, model, _sgd(model), example_inputs=EXAMPLE, init=told)
    assert regrower.report.layers == {"kernel": 5}


def test_readers_that_are_drawn_can_be_told_their_initialiser(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    _kill(model, 1)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, readers="redraw"
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    init = {"6": "uniform:100"}
    attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, init=init)
    _train(model, optimizer, batches(1))
    assert model[6].weight[:, 16:32].abs().max() > 10  # type: ignore[index]
