"""Optimizers of other packages: each is exact or refused with its reason; a version that computes otherwise is seen."""

import importlib
import importlib.util
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

import regrow
from regrow.errors import OptimizerError, RegrowWarning
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, trial
from regrow.surgery.optimizers import (
    FOREIGN,
    FOREIGN_REFUSED,
    TESTED,
    Family,
    family_of,
    qualified,
)
from surgery.foreign_rows import FOREIGN_ROWS, maker
from traced import attach_traced

DOCS = Path(__file__).parents[2] / "docs" / "optimizers.md"
needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm is not installed"
)
ROW = torch.tensor([[True], [False]])


def _weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(2, 3))


def _surgeon(optimizer: Optimizer, reset_state: str = "exact") -> OptimizerSurgeon:
    weight = optimizer.param_groups[0]["params"][0]
    return OptimizerSurgeon(optimizer, {"w": weight}, reset_state=reset_state)  # type: ignore[arg-type]


def _step(optimizer: Optimizer) -> None:
    for weight in optimizer.param_groups[0]["params"]:
        weight.grad = torch.ones_like(weight)
    optimizer.step()


def _classes(package: str) -> Iterator[str]:
    """Every optimizer of a package that steps parameters itself."""
    for file in Path(importlib.import_module(package).__path__[0]).glob("*.py"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one of the files says that it is deprecated
            module = importlib.import_module(f"{package}.{file.stem}")
        for kind in vars(module).values():
            mine = inspect.isclass(kind) and kind.__module__ == module.__name__
            if mine and issubclass(kind, Optimizer) and kind is not Optimizer:
                yield qualified(kind)


@needs_timm
def test_every_optimizer_of_timm_is_known_or_refused() -> None:
    """A new one in timm fails here: it needs a family and rows, or a reason."""
    found = set(_classes("timm.optim")) - {"timm.optim.lookahead.Lookahead"}
    mine = {name for name in (*FOREIGN, *FOREIGN_REFUSED) if name.startswith("timm.")}
    assert found == mine


@pytest.mark.parametrize("name", FOREIGN)
def test_every_known_one_has_rows_and_stands_in_the_docs_with_its_versions(name: str) -> None:
    assert name in {row.name for row in FOREIGN_ROWS.values()}
    text = DOCS.read_text(encoding="utf-8")
    assert f"`{name.rpartition('.')[2]}`" in text
    distribution, first, last = TESTED[name.partition(".")[0]]
    assert f"{distribution} {first}" in text
    assert last in text


def _refused() -> list[Any]:
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(name.partition(".")[0]) is None,
                reason=f"{name.partition('.')[0]} is not installed",
            ),
        )
        for name in FOREIGN_REFUSED
    ]


def _made(name: str) -> Optimizer:
    more: dict[str, Any] = {
        "timm.optim.sgdp.SGDP": {"lr": 0.1, "momentum": 0.9},
        "timm.optim.lars.Lars": {"lr": 0.1, "momentum": 0.9},
    }.get(name, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Kron, which would like another package beside it
        return maker(name)([_weight()], **more)


@pytest.mark.parametrize("name", _refused())
def test_refusals_name_the_reason_and_the_way_out(name: str) -> None:
    optimizer = _made(name)
    reason = re.escape(FOREIGN_REFUSED[name])
    with pytest.raises(
        OptimizerError, match=rf"cannot be edited.*{reason}.*optimizer_state='kept'"
    ):
        _surgeon(optimizer)
    assert f"`{type(optimizer).__name__}`" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", _refused())
def test_zeroing_reaches_the_moments_of_those_that_scale_by_norms(name: str) -> None:
    optimizer = _made(name)
    if "Adafactor" in name or "Kron" in name:
        with pytest.raises(OptimizerError, match="reset_state='zero' is not for"):
            _surgeon(optimizer, "zero")
        return
    if "Adahessian" in name:
        pytest.skip("its step needs a gradient with a graph")
    surgeon = _surgeon(optimizer, "zero")
    _step(optimizer)
    surgeon.reset([Edit(name="w", mask=ROW, value=0.0)])
    memories = [
        value
        for value in next(iter(optimizer.state.values())).values()
        if isinstance(value, torch.Tensor) and value.shape == (2, 3)
    ]
    assert memories
    assert all(not memory[0].any() for memory in memories)


COUPLED: dict[str, dict[str, Any]] = {
    "timm.optim.lion.Lion": {"caution": True},
    "timm.optim.nadamw.NAdamW": {"clipping_threshold": 1.0},
    "timm.optim.sgdw.SGDW": {"caution": True, "momentum": 0.9},
    "timm.optim.rmsprop_tf.RMSpropTF": {"caution": True, "momentum": 0.9},
    "timm.optim.adopt.Adopt": {"caution": True},
    "timm.optim.laprop.LaProp": {"caution": True},
    "timm.optim.adan.Adan": {"caution": True},
    "timm.optim.adamw.AdamWLegacy": {"clipping_threshold": 2.0},
}


@needs_timm
@pytest.mark.parametrize("name", COUPLED)
def test_options_that_couple_units_are_refused_by_name(name: str) -> None:
    """At attach; and, set while training, at the renewal, before anything is written."""
    options = COUPLED[name]
    option = next(iter(options))
    wanted = rf"cannot be edited.*{option}=.*over the whole tensor.*optimizer_state='kept'"
    with pytest.raises(OptimizerError, match=wanted):
        _surgeon(maker(name)([_weight()], **options))
    optimizer = maker(name)([_weight()], **{**options, option: None})
    surgeon = _surgeon(optimizer)
    _step(optimizer)
    optimizer.param_groups[0][option] = options[option]
    with pytest.raises(OptimizerError, match=wanted):
        surgeon.check([Edit(name="w", mask=ROW, value=0.0)])


# ---- what is known by its name is tried out


def _lion() -> type[Optimizer]:
    return importlib.import_module("timm.optim.lion").Lion


class _OtherStep:
    """What the next version might do under the same names."""

    @torch.no_grad()
    def step(self: Any, closure: Callable[[], Any] | None = None) -> None:
        """A step that shrinks with the time, which its class does not do."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    state = self.state[weight]
                    state["count"] = state.get("count", 0) + 1
                    state.setdefault("exp_avg", torch.zeros_like(weight)).lerp_(weight.grad, 0.1)
                    weight.sub_(group["lr"] * state["exp_avg"].sign() / state["count"])


@needs_timm
def test_a_version_that_computes_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lion(), "step", _OtherStep.step)
    optimizer = _lion()([_weight()])
    wanted = (
        r"Lion of timm \d.* does not step as the versions.*1\.0\.15 to.*differs by.*reset_state"
    )
    with pytest.raises(OptimizerError, match=wanted):
        _surgeon(optimizer)
    surgeon = _surgeon(optimizer, "zero")
    assert surgeon.state_dict()["family"] == "Zeroed"


class _Nothing(Family):
    """A renewed entry keeps its memory, and is as old as its tensor."""

    def begin_(self, *args: Any, **options: Any) -> None:
        """Nothing begins anew."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=row.marks()) for name, row in FOREIGN_ROWS.items()]
)
def test_the_trial_sees_what_would_be_missing(name: str) -> None:
    """Of every class and set of options: its own family passes, one that does nothing is far away."""
    optimizer = FOREIGN_ROWS[name].make([_weight()])
    (kind,) = trial._kinds_of_groups(optimizer)
    assert trial._distance(optimizer, family_of(optimizer), *kind) < trial._TOLERANCE
    assert trial._distance(optimizer, _Nothing(), *kind) > 100 * trial._TOLERANCE


@needs_timm
def test_one_that_cannot_be_tried_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: object, closure: object = None) -> None:
        raise RuntimeError("needs another driver")

    monkeypatch.setattr(_lion(), "step", gone)
    with pytest.raises(OptimizerError, match=r"could not be tried out .RuntimeError: needs"):
        _surgeon(_lion()([_weight()]))


@needs_timm
@pytest.mark.parametrize("version", ["1.0.14", "1.0.32", "2.0.0.dev1", None])
def test_an_untested_version_that_steps_alike_is_a_warning(
    version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_version", lambda _: version)
    named = version or "of an unknown version"
    with pytest.warns(RegrowWarning, match=rf"Lion of timm {named} is not among.*1\.0\.15 to"):
        surgeon = _surgeon(_lion()([_weight()]))
    assert surgeon.state_dict()["family"] == "Lion"


@needs_timm
def test_a_subclass_that_inherits_its_step_is_its_parent() -> None:
    class Renamed(_lion()):  # type: ignore[misc]
        pass

    class Overrides(_lion()):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    assert family_of(Renamed([_weight()])) is FOREIGN["timm.optim.lion.Lion"]
    with pytest.raises(OptimizerError, match="its arithmetic is not known"):
        _surgeon(Overrides([_weight()]))


@needs_timm
@pytest.mark.parametrize("name", ["timm.optim.nadamw.NAdamW", "timm.optim.adan.Adan"])
def test_trying_out_leaves_no_trace(name: str) -> None:
    """Nothing of the optimizer, of its hooks or of torch's generator moves, though a scheduler has hold of its step."""
    weight = _weight()
    optimizer = maker(name)([{"params": [weight], "weight_decay": 0.1}, {"params": [_weight()]}])
    calls: list[Optimizer] = []
    optimizer.register_step_pre_hook(lambda one, *_: calls.append(one))
    handle = register_optimizer_step_pre_hook(lambda one, *_: calls.append(one))
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)  # a warm-up: the rate is 0 now
    generator, options = torch.get_rng_state(), [dict(g) for g in optimizer.param_groups]
    _surgeon(optimizer)
    handle.remove()
    assert not calls
    assert not optimizer.state
    assert torch.equal(weight, torch.ones(2, 3))
    assert torch.equal(torch.get_rng_state(), generator)
    assert [dict(g) for g in optimizer.param_groups] == options


@needs_timm
def test_a_restarted_adan_begins_anew_with_all_entries() -> None:
    """`restart_opt` sets the group's count back: from then on renewed entries are as old as their neighbours."""
    weight = nn.Parameter(torch.ones(2, 3, dtype=torch.float64))
    optimizer = maker("timm.optim.adan.Adan")([weight], lr=0.01)
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    twin = nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
    fresh = maker("timm.optim.adan.Adan")([twin], lr=0.01)
    for step in range(40):
        noise = torch.sin(torch.arange(6.0, dtype=torch.float64) * (step + 1)).reshape(2, 3)
        weight.grad = noise + 0.5 * weight.detach()
        surgeon.before_step()
        optimizer.step()
        surgeon.after_step()
        if step >= 20:
            twin.grad = noise + 0.5 * twin.detach()
            fresh.step()
        if step == 10:
            surgeon.reset([Edit(name="w", mask=ROW, value=0.0)])
        if step == 19:
            optimizer.restart_opt()  # type: ignore[attr-defined]
            with torch.no_grad():
                twin.copy_(weight)
    torch.testing.assert_close(weight, twin, rtol=1e-12, atol=1e-12)


@needs_timm
@pytest.mark.parametrize("name", ["timm.optim.nadamw.NAdamW", "timm.optim.lion.Lion"])
def test_in_a_loop_with_hooks(
    name: str, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Any]
) -> None:
    """Attached, filters are renewed, and a run that is resumed goes on bit for bit."""
    data = batches(12)

    def begin(seed: int) -> tuple[nn.Module, Optimizer, regrow.Regrower]:
        model = small_cnn(seed)
        optimizer = maker(name)(list(model.parameters()), lr=0.01)
        recipe = regrow.RandomOut(
            confirm="gradient", threshold=0.5, every_steps=4, active_fraction=1.0
        )
        return (
            model,
            optimizer,
            attach_traced(recipe, model, optimizer, example_inputs=data[0][0], total_steps=12),
        )

    def train(training: tuple[nn.Module, Optimizer, regrow.Regrower], part: Any) -> regrow.Regrower:
        model, optimizer, regrower = training
        for images, labels in part:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return regrower

    whole, first, second = begin(0), begin(0), begin(1)
    assert train(whole, data).report.renewed
    train(first, data[:6])
    for mine, other in zip(second, first, strict=True):
        mine.load_state_dict(other.state_dict())
    train(second, data[6:])
    for mine, other in zip(second[0].parameters(), whole[0].parameters(), strict=True):
        assert torch.equal(mine, other)
