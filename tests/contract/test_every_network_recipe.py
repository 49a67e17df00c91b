"""What holds for every recipe that changes a whole network, driven by the rows; a recipe without a row fails."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from contract.network_rows import NETWORK, VARIANTS
from contract.rows import wiring_of
from contract.test_idle_operations import Counter
from crossed import crossed, seldom
from regrow import recipes
from regrow.errors import ConfigError
from regrow.graph import Wiring
from regrow.loop import Detached
from regrow.renewal.network import Pull, ShrinkAndAdd
from surgery.rows import ROWS

Batches = list[tuple[Tensor, Tensor]]
Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]

STEPS, BOUNDARIES = 14, (5, 9)
"""Boundaries are told before these steps."""

ONE_OF_A_KIND = {row.kind: name for name, row in reversed(ROWS.items())}
OPTIMIZERS = seldom(ROWS, often=ONE_OF_A_KIND.values())
FEW = ("SGD momentum", "Adam")
WEIGHTS = ("0.weight", "3.weight", "6.weight")


def wired(model: nn.Module) -> Wiring:
    return wiring_of(copy.deepcopy(model).float())  # type: ignore[arg-type]


class Run:
    """One training in float64 with a recipe attached, or without."""

    def __init__(
        self,
        model: nn.Module,
        recipe: regrow.Recipe | None,
        optimizer: str = "Adam",
        **told: Any,
    ) -> None:
        self.model, self.row = model.double(), ROWS[optimizer]
        self.optimizer = self.row.make(list(model.parameters()))
        self.regrower = (
            None
            if recipe is None
            else regrow.attach(
                recipe,
                model,
                self.optimizer,
                **{"wiring": wired(model), "seed": 3, **told},  # type: ignore[arg-type]
            )
        )

    def train(self, batches: Batches, *, start: int = 0, boundaries: bool = True) -> Run:
        for step, (images, labels) in enumerate(batches[start:], start):
            if boundaries and step in BOUNDARIES and self.regrower is not None:
                self.regrower.boundary()
            self.step(images, labels)
        return self

    def step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(images.double()), labels).backward()
        self.optimizer.step()

    @property
    def acting(self) -> regrow.Regrower:
        assert self.regrower is not None
        return self.regrower

    def values(self) -> dict[str, Tensor]:
        return {name: each.detach().clone() for name, each in self.model.state_dict().items()}

    def memory(self) -> dict[str, Tensor]:
        names = {each: name for name, each in self.model.named_parameters()}
        return {
            f"{names[parameter]} {key}": value.detach().clone()
            for parameter, state in self.optimizer.state.items()
            for key, value in state.items()
            if isinstance(value, Tensor)
        }


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[key], other[key]) for key in one)


def made(name: str, **other: Any) -> regrow.Recipe:
    return VARIANTS[name].make(**{**VARIANTS[name].acts, **other})


EACH = seldom(VARIANTS, often=NETWORK)
AT_BOUNDARIES = [name for name, row in VARIANTS.items() if row.at_boundaries]


def test_every_recipe_of_the_family_has_its_row() -> None:
    family = {name for name in recipes.names() if recipes.info(name).family == "network"}
    assert family == set(NETWORK)


@pytest.mark.parametrize("name", NETWORK)
def test_the_card_is_there_and_its_defaults_hold(name: str) -> None:
    info, given = recipes.info(name), recipes.settings(name)
    assert info.summary.endswith(".")
    assert info.url.startswith("https://")
    assert len(info.differs) >= 3
    assert {key: given[key] for key in NETWORK[name].defaults} == NETWORK[name].defaults


@pytest.mark.parametrize("name", NETWORK)
def test_wrong_settings_are_refused_in_one_line(name: str) -> None:
    for wrong in NETWORK[name].wrong:
        with pytest.raises(wrong.error, match=wrong.match) as caught:
            recipes.build(name, wrong.settings, where="study.toml: arms.a.settings")
        assert str(caught.value).startswith("study.toml: arms.a.settings: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", EACH)
def test_plain_training_bit_for_bit_until_it_acts(name: str, small_cnn: Cnn, batches: Some) -> None:
    row = VARIANTS[name]
    plain = Run(small_cnn(0), None).train(batches(STEPS))
    if row.at_boundaries:  # nobody tells a boundary
        acting = Run(small_cnn(0), made(name)).train(batches(STEPS), boundaries=False)
        assert acting.acting.report.network_changes == 0
        assert same(plain.values(), acting.values())
        assert same(plain.memory(), acting.memory())
    if row.idle is not None:
        idle = Run(small_cnn(0), row.make(**row.idle)).train(batches(STEPS))
        assert same(plain.values(), idle.values())
        assert same(plain.memory(), idle.memory())


@pytest.mark.parametrize("name", EACH)
def test_what_is_written_and_what_not(name: str, small_cnn: Cnn, batches: Some) -> None:
    run = Run(small_cnn(0), made(name)).train(batches(5))
    before, memory = run.values(), run.memory()
    identity = {key: id(each) for key, each in run.model.named_parameters()}
    random = torch.get_rng_state()
    run.acting.boundary()
    after = run.values()
    assert torch.equal(random, torch.get_rng_state())
    assert {key: id(each) for key, each in run.model.named_parameters()} == identity
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    if not VARIANTS[name].at_boundaries:
        assert not changed
        assert same(memory, run.memory())
    elif VARIANTS[name].whole:
        assert changed == set(identity)  # and no running statistic
    else:
        assert changed == set(WEIGHTS)
    assert run.acting.report.boundaries == 1
    assert not run.acting.report.events


def _go_on_alike(run: Run, twin: Run, batches: Batches) -> None:
    """From a boundary on, a training of its own."""
    # They keep a rate, and a product of momenta, in float32.
    coarse = {torch.optim.ASGD, torch.optim.NAdam}
    exact = 1e-6 if twin.row.kind in coarse else 1e-11
    for images, labels in batches[5:]:
        run.step(images, labels)
        twin.step(images, labels)
    mine, other = run.values(), twin.values()
    for key, value in mine.items():
        assert torch.allclose(value.double(), other[key].double(), atol=exact, rtol=0), key


@pytest.mark.parametrize(
    ("name", "optimizer"), crossed([each for each in AT_BOUNDARIES if each != "fire"], OPTIMIZERS)
)
def test_exact_is_a_new_optimizer(name: str, optimizer: str, small_cnn: Cnn, batches: Some) -> None:
    run = Run(small_cnn(0), made(name), optimizer).train(batches(5))
    run.acting.boundary()
    twin = Run(copy.deepcopy(run.model), None, optimizer)
    _go_on_alike(run, twin, batches(STEPS))


@pytest.mark.parametrize("optimizer", FEW)
def test_exact_is_a_new_optimizer_for_what_is_projected(
    optimizer: str, small_cnn: Cnn, batches: Some
) -> None:
    """The others keep what they have."""
    run = Run(small_cnn(0), made("fire"), optimizer).train(batches(5))
    run.acting.boundary()
    twin = Run(copy.deepcopy(run.model), None, optimizer)
    known, kept = twin.optimizer.state_dict(), copy.deepcopy(run.optimizer.state_dict()["state"])
    for number, (key, _) in enumerate(run.model.named_parameters()):
        if key in WEIGHTS:
            del kept[number]
    twin.optimizer.load_state_dict({**known, "state": kept})
    _go_on_alike(run, twin, batches(STEPS))


@pytest.mark.parametrize(("name", "optimizer"), crossed(AT_BOUNDARIES, FEW))
def test_zeroed_and_kept_are_what_they_say(
    name: str, optimizer: str, small_cnn: Cnn, batches: Some
) -> None:
    row = VARIANTS[name]
    for state in ("zeroed", "kept"):
        run = Run(small_cnn(0), made(name, optimizer_state=state), optimizer).train(batches(5))
        before = run.memory()
        run.acting.boundary()
        changed = {key for key, _ in run.model.named_parameters() if row.whole or key in WEIGHTS}
        for key, value in run.memory().items():
            parameter, what = key.split(" ")
            if state == "zeroed" and parameter in changed and what != "step":
                assert not value.any(), key
                assert before[key].any(), key
            else:
                assert torch.equal(value, before[key]), key


@pytest.mark.parametrize(("name", "optimizer", "cut"), crossed(VARIANTS, FEW, [3, 5, 6, 11]))
def test_interrupted_and_resumed_is_uninterrupted(
    name: str, optimizer: str, cut: int, small_cnn: Cnn, batches: Some
) -> None:
    """At 5 it is saved right behind a boundary, before the next step."""
    whole = Run(small_cnn(0), made(name), optimizer).train(batches(STEPS))
    first = Run(small_cnn(0), made(name), optimizer).train(batches(STEPS)[:cut])
    if cut in BOUNDARIES:
        first.acting.boundary()
    file = io.BytesIO()
    torch.save([each.state_dict() for each in (first.model, first.optimizer, first.acting)], file)
    file.seek(0)
    second = Run(small_cnn(1), made(name), optimizer)
    states = torch.load(file, weights_only=True)
    second.model.load_state_dict(states[0])
    second.optimizer.load_state_dict(states[1])
    second.acting.load_state_dict(states[2])
    for step, (images, labels) in enumerate(batches(STEPS)[cut:], cut):
        if step in BOUNDARIES and step != cut:
            second.acting.boundary()
        second.step(images, labels)
    assert same(whole.values(), second.values())
    assert same(whole.memory(), second.memory())
    assert whole.acting.report.network_changes == second.acting.report.network_changes
    assert second.acting.report.boundaries == 2


@pytest.mark.parametrize("name", EACH)
def test_the_seed_decides_the_draw_and_each_boundary_has_its_own(
    name: str, small_cnn: Cnn, batches: Some
) -> None:
    runs = [Run(small_cnn(0), made(name), seed=seed).train(batches(STEPS)) for seed in (1, 1, 2)]
    assert same(runs[0].values(), runs[1].values())
    assert same(runs[0].values(), runs[2].values()) != VARIANTS[name].drawn
    if VARIANTS[name].drawn:
        restart = Run(small_cnn(0), VARIANTS[name].make(shrink=0.0, noise=1.0))
        drawn = []
        for _ in range(2):  # without a step between them
            restart.acting.boundary()
            drawn.append(restart.values())
        assert not torch.equal(drawn[0]["3.weight"], drawn[1]["3.weight"])


@pytest.mark.parametrize("name", EACH)
def test_a_dry_run_counts_and_changes_nothing(name: str, small_cnn: Cnn, batches: Some) -> None:
    plain = Run(small_cnn(0), None).train(batches(STEPS))
    dry = Run(small_cnn(0), made(name), dry_run=True).train(batches(STEPS))
    real = Run(small_cnn(0), made(name)).train(batches(STEPS))
    assert same(plain.values(), dry.values())
    assert same(plain.memory(), dry.memory())
    counts = [
        (run.acting.report.boundaries, run.acting.report.network_changes) for run in (dry, real)
    ]
    assert counts[0] == counts[1] == (2, 2 if VARIANTS[name].at_boundaries else STEPS)


@pytest.mark.parametrize("name", EACH)
def test_copies_go_the_same_way_where_the_network_jumps(
    name: str, small_cnn: Cnn, batches: Some
) -> None:
    """A copy with the same values ends with the same values, one with others with others; an average is left alone."""
    model = small_cnn(0).double()
    twin, other = copy.deepcopy(model), small_cnn(1).double()
    before = [copy.deepcopy(each.state_dict()) for each in (twin, other)]
    run = Run(model, made(name), companions=[twin, other])
    if not VARIANTS[name].at_boundaries:
        run.train(batches(3))
        assert same(before[0], twin.state_dict())
        return
    run.acting.boundary()
    assert same(run.values(), twin.state_dict())
    assert not same(before[1], other.state_dict())
    assert not same(twin.state_dict(), other.state_dict())


@pytest.mark.parametrize("name", EACH)
def test_what_nobody_trains_keeps_its_bits(name: str, small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0)
    model.get_submodule("3").requires_grad_(False)
    run = Run(model, made(name))
    run.optimizer.param_groups[0]["params"] = [
        each for key, each in model.named_parameters() if key != "6.bias"
    ]
    kept = ("3.weight", "3.bias", "6.bias")
    before = run.values()
    run.train(batches(STEPS))
    after = run.values()
    assert {
        key for key in dict(model.named_parameters()) if torch.equal(before[key], after[key])
    } == set(kept)


@pytest.mark.parametrize("name", EACH)
def test_include_and_exclude_say_which_modules(name: str, small_cnn: Cnn, batches: Some) -> None:
    """Behind one step, and a boundary: what is excluded is where plain training leaves it."""
    run, plain = Run(small_cnn(0), made(name), exclude=["6"]), Run(small_cnn(0), None)
    for each in (run, plain):
        each.train(batches(1))
    run.acting.boundary()
    mine, other = run.values(), plain.values()
    assert torch.equal(mine["6.weight"], other["6.weight"])
    assert torch.equal(mine["6.bias"], other["6.bias"])
    assert not torch.equal(mine["0.weight"], other["0.weight"])


@pytest.mark.parametrize(("name", "hooks"), crossed(VARIANTS, [True, False]))
def test_by_hooks_by_hand_and_with_several_optimizers_alike(
    name: str, hooks: bool, small_cnn: Cnn, batches: Some
) -> None:
    whole = Run(small_cnn(0), made(name), "SGD momentum").train(batches(STEPS))
    model = small_cnn(0).double()
    every = list(model.parameters())
    optimizers = [ROWS["SGD momentum"].make(some) for some in (every[:3], every[3:])]
    regrower = regrow.attach(
        made(name), model, optimizers, wiring=wired(model), seed=3, hooks=hooks
    )
    for step, (images, labels) in enumerate(batches(STEPS)):
        if step in BOUNDARIES:
            regrower.boundary()
        model.zero_grad()
        nn.functional.cross_entropy(model(images.double()), labels).backward()
        if not hooks:
            regrower.before_step()
            with pytest.raises(ConfigError, match=r"between two steps, .*\(regrower"):
                regrower.boundary()
        for each in optimizers:
            each.step()
        if not hooks:
            regrower.after_step()
    assert same(whole.values(), model.state_dict())


@pytest.mark.parametrize("name", EACH)
def test_mixed_precision_and_a_step_that_is_not_made(
    name: str, small_cnn: Cnn, batches: Some
) -> None:
    """Scales are powers of two. A step that the scaler skips pulls nothing, and counts nothing."""
    plain = Run(small_cnn(0), made(name)).train(batches(STEPS))
    model = small_cnn(0).double()
    optimizer = ROWS["Adam"].make(list(model.parameters()))
    regrower = regrow.attach(made(name), model, optimizer, wiring=wired(model), seed=3)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    for step, (images, labels) in enumerate(batches(STEPS)):
        if step in BOUNDARIES:
            regrower.boundary()
        for spoilt in (True, False) if step == 7 else (False,):
            statistics = copy.deepcopy(model[1].state_dict())  # type: ignore[index]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.double()), labels)
            scaler.scale(loss * (float("inf") if spoilt else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
            if spoilt:
                model[1].running_mean.copy_(statistics["running_mean"])  # type: ignore[index]
                model[1].running_var.copy_(statistics["running_var"])  # type: ignore[index]
    mine = dict(model.named_parameters())
    for key, value in plain.model.named_parameters():
        assert torch.equal(value, mine[key]), key
    assert regrower.report.steps == STEPS


@pytest.mark.parametrize("name", EACH)
def test_after_detach_nothing_happens_and_a_copy_does_nothing(
    name: str, small_cnn: Cnn, batches: Some
) -> None:
    run = Run(small_cnn(0), made(name)).train(batches(6))
    copied = copy.deepcopy(run.acting)
    assert isinstance(copied, Detached)
    copied.boundary()
    assert copied.report.boundaries == 1
    again = Run(small_cnn(0), made(name))
    again.acting.load_state_dict(copied.state_dict())
    assert again.acting.report.boundaries == 1
    run.acting.detach()
    before = run.values()
    run.acting.boundary()
    assert same(before, run.values())
    assert run.acting.report.boundaries == 1


@pytest.mark.parametrize("name", AT_BOUNDARIES)
def test_a_step_without_a_boundary_costs_nothing(name: str, small_cnn: Cnn, batches: Some) -> None:
    """Counted in operations of passes and steps."""
    counts = []
    for recipe in (None, made(name)):
        run = Run(small_cnn(0), recipe).train(batches(2))
        with Counter() as counter:
            run.train(batches(3), start=2)
        counts.append(counter.count)
    assert counts[0] == counts[1] > 0


def test_filters_that_are_out_stay_out(small_cnn: Cnn, batches: Some) -> None:
    """The network is changed around them, and they come back from changed values."""
    recipe = regrow.RePr(s1=4, s2=4, cycles=1, unit="steps").with_parts(
        network=ShrinkAndAdd(shrink=0.5, noise=0.2)
    )
    run = Run(small_cnn(0), recipe).train(batches(6))  # a boundary is told before step 5
    resting = run.acting.report.resting
    assert resting
    assert run.acting.report.network_changes == 1
    for path, filters in resting.items():
        assert not run.model.get_parameter(f"{path}.weight")[list(filters)].any()
    for images, labels in batches(STEPS)[6:]:
        run.step(images, labels)
    assert run.acting.report.renewed
    assert not run.acting.report.resting


@pytest.mark.slow  # the compiler takes its time
@pytest.mark.parametrize("name", EACH)
def test_a_compiled_model_follows(name: str, small_cnn: Cnn, batches: Some) -> None:
    model = small_cnn(0).double().eval()
    compiled: Any = torch.compile(model, backend="aot_eager")
    run = Run(model, made(name))
    for step, (images, labels) in enumerate(batches(8)):
        if step == 5:
            run.acting.boundary()
        run.optimizer.zero_grad()
        assert torch.allclose(compiled(images.double()), model(images.double()), atol=1e-12)
        nn.functional.cross_entropy(compiled(images.double()), labels).backward()
        run.optimizer.step()


@pytest.mark.parametrize("control", ["random", "inverted", "never"])
def test_there_is_no_choice_to_control(control: str) -> None:
    with pytest.raises(ConfigError, match="of must name a recipe that renews filters, got 'fire'"):
        recipes.build(control, {"of": "fire"}, like=())


def test_never_leaves_a_change_of_the_network_out() -> None:
    both = regrow.ReDo().with_parts(network=Pull(strength=0.1))
    assert recipes.never(both).network is None
    assert recipes.inverted(both).network == Pull(strength=0.1)
