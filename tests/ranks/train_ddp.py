"""What every rank runs: many short trainings under DistributedDataParallel, and a comparison of the ranks after each.

    PYTHONPATH=tests python -m torch.distributed.run --standalone --nproc-per-node 2 tests/ranks/train_ddp.py OUT.json

Rank 0 writes, for each scenario, whether all ranks ended with the same bits, and what was renewed. Nothing is asserted
here: the test that starts this reads the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel

import regrow
from contract.counting import counts
from ranks.harness import (
    EXAMPLE,
    STEPS,
    Net,
    backward,
    batch,
    build,
    differing,
    outcome,
    refusal,
    train,
)
from ranks.started import as_program
from regrow.criteria import Liveness
from regrow.errors import GuardWarning, LargeRenewalWarning, NonFiniteWarning
from regrow.loop.measure.probe import Probe
from regrow.loop.ranks import Ranks
from regrow.renewal import Redraw
from traced import attach_traced

SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {}


def scenario(run: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Add a scenario under its own name."""
    SCENARIOS[run.__name__] = run
    return run


def plain(**settings: Any) -> dict[str, Any]:
    """Build, train, compare."""
    model, optimizer, regrower = build(**settings)
    train(model, optimizer)
    assert regrower is not None
    return outcome(model, optimizer, regrower)


@scenario
def sgd() -> dict[str, Any]:
    """Momentum."""
    return plain()


@scenario
def adam() -> dict[str, Any]:
    """Ages of renewed entries too."""
    return plain(adam=True)


@scenario
def summed_gradients() -> dict[str, Any]:
    """A criterion that remembers."""
    return plain(recipe={"source": "accumulated", "every_steps": 3, "threshold": 1.0})


@scenario
def silence() -> dict[str, Any]:
    """One rank sees nothing but black images: there all filters are silent, and only who is so on all ranks is dead."""
    model, optimizer, _ = build(attach=False)
    with torch.no_grad():
        for layer in (model.module.second, model.module.side):
            layer.weight[1], layer.bias[1] = 0.0, -100.0
    recipe = regrow.RandomOut(active_fraction=1.0)
    assert isinstance(recipe.criterion, Liveness)
    recipe = recipe.with_parts(criterion=dataclasses.replace(recipe.criterion, examples=60))
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, seed=3)
    for step in range(STEPS):
        images, labels = batch(step, rank=dist.get_rank())
        optimizer.zero_grad()
        backward(model, images * float(dist.get_rank() > 0), labels)
        optimizer.step()
    events = [(event.step, event.layer, event.filters) for event in regrower.report.events]
    return {**outcome(model, optimizer, regrower), "events": events}


@scenario
def own_silences() -> dict[str, Any]:
    """One rank sees nothing but black images: who fires on the other one is not silent."""
    model, optimizer, _ = build(attach=False)
    with torch.no_grad():
        model.module.norm.weight[[1, 3]], model.module.norm.bias[[1, 3]] = 0.0, -1.0
    recipe = regrow.SelfNormalizedResets(min_silence=3, max_silence=4)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, include=["first"])
    for step in range(STEPS):
        images, labels = batch(step, rank=dist.get_rank())
        optimizer.zero_grad()
        backward(model, images * float(dist.get_rank() > 0), labels)
        optimizer.step()
    events = [(event.step, event.layer, event.filters) for event in regrower.report.events]
    return {**outcome(model, optimizer, regrower), "events": events}


@scenario
def distances() -> dict[str, Any]:
    """From means over all ranks' images, each rank's own share of the step's apart."""
    model, optimizer, _ = build(attach=False)
    recipe = regrow.ContinualBackprop(utility="adaptable_contribution", rate=0.3, maturity=1)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, include=["first"])
    train(model, optimizer)
    return outcome(model, optimizer, regrower)


def of_family(recipe: regrow.Recipe) -> dict[str, Any]:
    """Scores of what all ranks have seen, or of averaged gradients."""
    model, optimizer, _ = build(attach=False)
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, include=["first"])
    train(model, optimizer)
    return outcome(model, optimizer, regrower)


@scenario
def redo() -> dict[str, Any]:
    """By activity."""
    return of_family(regrow.ReDo(threshold=0.99, every_steps=2))


@scenario
def regrama() -> dict[str, Any]:
    """By gradients."""
    return of_family(regrow.ReGraMa(threshold=0.99, every_steps=2, grace_steps=0))


@scenario
def partial_resets() -> dict[str, Any]:
    """All units, each by a share of its own."""
    return of_family(regrow.PartialReset(rate=0.1, every_steps=3, sharpness=2.0))


@scenario
def boundaries() -> dict[str, Any]:
    """Changes of the whole network, drawn alike whatever each rank's own generator says."""
    found = {}
    for recipe in (regrow.ShrinkPerturb(), regrow.L2Init(strength=0.5), regrow.FIRE()):
        model, optimizer, _ = build(attach=False, adam=True)
        regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)
        train(model, optimizer, 4)
        regrower.boundary()
        train(model, optimizer, 4)
        changes = {"changes": regrower.report.network_changes}
        found[recipe.info.name] = outcome(model, optimizer, regrower) | changes
    return found


@scenario
def kept_output() -> dict[str, Any]:
    """Each rank calibrates on images of its own, with running statistics of its own."""
    model, optimizer, _ = build(attach=False)
    plain = regrow.RandomOut(confirm="gradient", threshold=0.3, every_steps=2, active_fraction=1.0)
    recipe = plain.with_parts(renew=Redraw(preserve=True), grace_steps=1)
    images, _ = batch(99, rank=dist.get_rank())
    regrower = attach_traced(
        recipe, model, optimizer, example_inputs=EXAMPLE, calibration_inputs=images
    )
    train(model, optimizer)
    return outcome(model, optimizer, regrower)


@scenario
def centred() -> dict[str, Any]:
    """The sums of a renewed filter have a mean of 0 over the images of all ranks, and not over those of one."""
    model, optimizer, _ = build(attach=False)
    plain = regrow.RandomOut(confirm="gradient", threshold=0.3, every_steps=2, active_fraction=1.0)
    recipe = plain.with_parts(renew=Redraw(draw="centred"))
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, seed=3)
    means: list[list[float]] = []
    for step in range(STEPS):
        optimizer.zero_grad()
        images, labels = batch(step, rank=dist.get_rank())
        backward(model, images + 0.5 * dist.get_rank(), labels)
        optimizer.step()
        units = [e.filters for e in regrower.report.events if (e.step, e.layer) == (step, "first")]
        for own in units:
            given = model.module.first(images + 0.5 * dist.get_rank()).detach().double()
            mean = given.mean((0, 2, 3))[list(own)]
            apart = mean.abs().max()
            dist.all_reduce(mean)
            means.append([float(mean.abs().max()), float(apart)])
    return outcome(model, optimizer, regrower) | {"means": means}


def _ranked(word: str) -> dict[str, Any]:
    """Each rank measures on images of its own, three or five of them: all get the numbers of all images together."""
    model, optimizer, _ = build(attach=False)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    own = [batch(99, rank=each, size=3 + 2 * (each % 2)) for each in range(ranks)]
    recipe = regrow.RePr(s1=2, s2=1, cycles=4, unit="steps", rank_by=word)  # type: ignore[arg-type]
    regrower = attach_traced(
        *(recipe, model, optimizer),
        example_inputs=EXAMPLE,
        calibration_inputs=own[rank][0],
        calibration_targets=own[rank][1],
    )
    for buffer in model.module.buffers():  # running statistics are each rank's own
        dist.broadcast(buffer, src=0)
    probes = [
        Probe(
            model.module,
            regrow.trace(model.module, EXAMPLE).renewable(),
            torch.cat([images for images, _ in some]),
            targets=torch.cat([labels for _, labels in some]),
            signals=recipe.criterion.needs,
            ranks=ranks_of,
        )
        for some, ranks_of in (([own[rank]], Ranks.of(model)), (own, None))
    ]
    apart, together = (
        {
            path: recipe.criterion.score(
                recipe.criterion.observe({}, one), layer=path, count=one.count, step=0, seed=0
            )[1]
            for path, one in probe.observe().items()
        }
        for probe in probes
    )
    as_one = all(
        torch.allclose(apart[path], together[path], rtol=1e-4, atol=1e-9)  # type: ignore[arg-type]
        for path in together
    )
    train(model, optimizer)
    return outcome(model, optimizer, regrower) | {"as_one": as_one, "scores": differing(apart)}


@scenario
def ranked_by_activations() -> dict[str, Any]:
    """No loss."""
    return _ranked("activations")


@scenario
def ranked_by_slopes() -> dict[str, Any]:
    """A backward pass of each rank's own, beside those that DistributedDataParallel averages."""
    return _ranked("taylor")


@scenario
def ranked_by_the_oracle() -> dict[str, Any]:
    """Accuracy and loss."""
    return _ranked("oracle")


@scenario
def calibration_data_on_one_rank() -> dict[str, Any]:
    """Refused on all ranks, before one of them waits for the others."""
    model, optimizer, _ = build(attach=False)
    images, labels = batch(99, rank=dist.get_rank())
    found = {}
    for missing in ("calibration_inputs", "calibration_targets"):
        told = {"calibration_inputs": images, "calibration_targets": labels}
        if dist.get_rank() == 1:
            del told[missing]
        with refusal() as said:
            recipe = regrow.RePr(unit="steps", rank_by="taylor")
            attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, **told)
        found[missing] = said
    return found


@scenario
def attached_before_it_is_wrapped() -> dict[str, Any]:
    """The network itself is attached: nothing is compared, and nothing needs to be."""
    torch.manual_seed(5)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    recipe = regrow.RandomOut(confirm="gradient", threshold=0.3, every_steps=2, active_fraction=1.0)
    regrower = attach_traced(recipe, net, optimizer, example_inputs=EXAMPLE)
    model = DistributedDataParallel(net)
    train(model, optimizer)
    return outcome(model, optimizer, regrower)


@scenario
def a_rank_that_strays() -> dict[str, Any]:
    """One weight of rank 1 is off by one bit: the comparison must find it."""
    model, optimizer, regrower = build()
    assert regrower is not None
    if dist.get_rank() == 1:
        with torch.no_grad():
            weight = model.module.second.weight
            weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))
    return outcome(model, optimizer, regrower)


@scenario
def bucket_views() -> dict[str, Any]:
    """Gradients that are views of the reducer's buckets."""
    return plain(gradient_as_bucket_view=True)


@scenario
def static_graph() -> dict[str, Any]:
    """A graph that the reducer records once."""
    return plain(static_graph=True)


@scenario
def compiled() -> dict[str, Any]:
    """torch.compile outside of the wrapper: it is found inside."""
    net, optimizer, regrower = build(attach=False)
    del regrower
    model = torch.compile(net, backend="eager")
    recipe = regrow.RandomOut(confirm="gradient", threshold=0.3, every_steps=2, active_fraction=1.0)
    with refusal() as told:
        seed = dist.get_rank()  # only ranks that know of each other can notice
        attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, seed=seed)  # type: ignore[arg-type]
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)  # type: ignore[arg-type]
    train(model, optimizer)  # type: ignore[arg-type]
    return outcome(net, optimizer, regrower) | {"refused": told}


@scenario
def unused_branch() -> dict[str, Any]:
    """Every rank leaves a branch out at every third step, rank 0 alone at some others."""
    model, optimizer, regrower = build(find_unused_parameters=True, recipe={"every_steps": 1})
    assert regrower is not None
    for step in range(STEPS):
        optimizer.zero_grad()
        model.module.use_side = step % 3 != 0 and (step % 2 == 0 or dist.get_rank() > 0)
        backward(model, *batch(step, rank=dist.get_rank()))
        optimizer.step()
    return outcome(model, optimizer, regrower)


@scenario
def accumulation() -> dict[str, Any]:
    """Three micro-batches a step, two of them without communication."""
    model, optimizer, regrower = build()
    assert regrower is not None
    for step in range(STEPS):
        optimizer.zero_grad()
        for part in range(3):
            with model.no_sync() if part < 2 else contextlib.nullcontext():
                backward(model, *batch(10 * step + part, rank=dist.get_rank()))
        optimizer.step()
    return outcome(model, optimizer, regrower)


@scenario
def clipping() -> dict[str, Any]:
    """The averaged gradient is clipped on each rank."""
    model, optimizer, regrower = build()
    assert regrower is not None
    for step in range(STEPS):
        optimizer.zero_grad()
        backward(model, *batch(step, rank=dist.get_rank()))
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
    return outcome(model, optimizer, regrower)


@scenario
def zero_gradients_on_one_rank() -> dict[str, Any]:
    """Rank 1's loss is multiplied by 0."""
    model, optimizer, regrower = build()
    assert regrower is not None
    for step in range(STEPS):
        optimizer.zero_grad()
        images, labels = batch(step, rank=dist.get_rank())
        loss = nn.functional.cross_entropy(model(images), labels)
        (loss * float(dist.get_rank() != 1)).backward()
        optimizer.step()
    return outcome(model, optimizer, regrower)


@scenario
def empty_batches_on_one_rank() -> dict[str, Any]:
    """Rank 1 has no images in some steps: a summed loss, as a mean over none would be NaN."""
    model, optimizer, regrower = build()
    assert regrower is not None
    model.module.norm.eval()  # a norm in training mode refuses an empty batch
    for step in range(STEPS):
        optimizer.zero_grad()
        size = 0 if dist.get_rank() == 1 and step % 2 else 6
        images, labels = batch(step, rank=dist.get_rank(), size=size)
        nn.functional.cross_entropy(model(images), labels, reduction="sum").div(6).backward()
        optimizer.step()
    return outcome(model, optimizer, regrower)


@scenario
def nan_on_one_rank() -> dict[str, Any]:
    """One filter's local gradient on rank 1 is NaN at step 3, before the averaging; training without that step."""
    model, optimizer, regrower = build(recipe={"every_steps": 1})
    assert regrower is not None
    spoil = [False]

    def hook(grad: torch.Tensor) -> torch.Tensor:
        if not spoil[0]:
            return grad
        grad = grad.clone()
        grad[2] = math.nan
        return grad

    model.module.second.weight.register_hook(hook)
    lr = optimizer.param_groups[0]["lr"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonFiniteWarning)
        for step in range(4):
            spoil[0] = dist.get_rank() == 1 and step == 3
            optimizer.zero_grad()
            backward(model, *batch(step, rank=dist.get_rank()))
            optimizer.param_groups[0]["lr"] = 0.0 if step == 3 else lr
            optimizer.step()
    return outcome(model, optimizer, regrower)


@scenario
def kept_alive() -> dict[str, Any]:
    """A faint layer, steps that are too long, an infinity on rank 1: gains by all images, a step that no rank makes."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6), nn.ReLU(), nn.Linear(6, 3)
    )
    with torch.no_grad():
        net[3].weight.mul_(1e-3)
    model = DistributedDataParallel(net)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.2)
    regrower = attach_traced(
        *(regrow.KeepAlive(), model, optimizer), example_inputs=EXAMPLE, total_steps=STEPS
    )
    spoil = [False]
    net[3].weight.register_hook(lambda grad: grad + math.inf if spoil[0] else grad)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuardWarning)
        for step in range(STEPS):
            spoil[0] = dist.get_rank() == 1 and step == 5
            optimizer.zero_grad()
            backward(model, *batch(step, rank=dist.get_rank()))
            optimizer.step()
    report = regrower.report
    done = {
        "gains": list(report.gains),
        "refused": report.refused,
        "guarded": sorted(report.guarded),
    }
    return outcome(model, optimizer, regrower) | done


@scenario
def scaler_with_an_infinity_on_one_rank() -> dict[str, Any]:
    """Rank 1's infinity reaches every rank in the average: all skip the step, none decides."""
    model, optimizer, regrower = build()
    assert regrower is not None
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=4)
    for step in range(STEPS):
        optimizer.zero_grad()
        images, labels = batch(step, rank=dist.get_rank())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        factor = math.inf if dist.get_rank() == 1 and step in {3, 7} else 1.0
        (scaler.scale(loss) * factor).backward()
        scaler.step(optimizer)
        scaler.update()
    return outcome(model, optimizer, regrower) | {"scale": differing({"s": scaler.get_scale()})}


@scenario
def uneven_inputs() -> dict[str, Any]:
    """`Join`: rank 1 runs out of data early; the other ranks go on alike, and the weights are made equal at the end."""
    model, optimizer, regrower = build()
    assert regrower is not None
    with Join([model]):
        for step in range(STEPS if dist.get_rank() != 1 else 5):
            optimizer.zero_grad()
            backward(model, *batch(step, rank=dist.get_rank()))
            optimizer.step()
    found = outcome(model, optimizer, regrower)
    longest = [None] * dist.get_world_size()
    dist.all_gather_object(longest, regrower.report.steps)
    return found | {"all_steps": longest}


@scenario
def min_loss_under_join() -> dict[str, Any]:
    """An average over ranks that are not there is refused, before any of them waits."""
    model, optimizer, regrower = build(recipe={"min_loss": 0.1, "every_steps": 1})
    assert regrower is not None
    with refusal() as told, Join([model]):
        images, labels = batch(0, rank=dist.get_rank())
        regrower.tell(loss=backward(model, images, labels))
        optimizer.step()
    return {"refused": told}


@scenario
def local_losses() -> dict[str, Any]:
    """Each rank tells its own loss, on both sides of the gate: the mean decides, on all ranks alike."""
    model, optimizer, regrower = build(recipe={"min_loss": 1.0, "every_steps": 1})
    assert regrower is not None
    for step in range(STEPS):
        optimizer.zero_grad()
        backward(model, *batch(step, rank=dist.get_rank()))
        # The mean over the ranks is 1.5 at even steps and 0.5 at odd ones.
        spread = 2.0 * (dist.get_rank() / (dist.get_world_size() - 1) - 0.5)
        regrower.tell(loss=(1.5 if step % 2 == 0 else 0.5) + spread)
        optimizer.step()
    steps = sorted({event.step for event in regrower.report.events})
    return outcome(model, optimizer, regrower) | {"when": steps}


@scenario
def a_loss_that_one_rank_does_not_tell() -> dict[str, Any]:
    """All ranks raise; none is left waiting."""
    model, optimizer, regrower = build(recipe={"min_loss": 1.0, "every_steps": 1})
    assert regrower is not None
    images, labels = batch(0, rank=dist.get_rank())
    loss = backward(model, images, labels)
    if dist.get_rank() != 1:
        regrower.tell(loss=loss)
    with refusal() as told:
        optimizer.step()
    return {"refused": told}


@scenario
def settings_that_differ() -> dict[str, Any]:
    """Another seed or threshold on one rank is refused on all."""
    found = {}
    for name in ("seed", "recipe"):
        model, optimizer, _ = build(attach=False)
        odd = dist.get_rank() == dist.get_world_size() - 1
        recipe = regrow.RandomOut(
            confirm="gradient",
            threshold=1e-7 if odd and name == "recipe" else 1e-8,
            active_fraction=1.0,
        )
        with refusal() as told:
            seed = int(odd and name == "seed")
            attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, seed=seed)
        found[name] = told
    return found


@scenario
def resumed() -> dict[str, Any]:
    """Saved in the middle and loaded on every rank; a rank with another state is refused on all."""
    model, optimizer, regrower = build(adam=True)
    assert regrower is not None
    train(model, optimizer, 5)
    early = regrower.state_dict()
    train(model, optimizer, 3)
    late = regrower.state_dict()
    with refusal() as told:
        regrower.load_state_dict(early if dist.get_rank() == 1 else late)
    regrower.load_state_dict(late)
    train(model, optimizer, 4)
    return outcome(model, optimizer, regrower) | {"refused": told}


@scenario
def resumed_with_counts() -> dict[str, Any]:
    """A criterion that keeps single numbers beside one entry a filter."""
    model, optimizer, regrower = build(counting=True)
    assert regrower is not None
    train(model, optimizer, 5)
    regrower.load_state_dict(regrower.state_dict())
    train(model, optimizer, 7)
    return outcome(model, optimizer, regrower) | {"counts": counts(regrower.state_dict())}


@scenario
def equal_data_on_all_ranks() -> dict[str, Any]:
    """All ranks see rank 0's images: the average is what one process alone has, and so are the decisions."""
    model, optimizer, regrower = build()
    assert regrower is not None
    start = [value.detach().clone() for value in model.parameters()]
    alone = Net()
    with torch.no_grad():
        for mine, value in zip(alone.parameters(), start, strict=True):
            mine.copy_(value)
    other = torch.optim.SGD(alone.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    recipe = regrow.RandomOut(confirm="gradient", threshold=0.3, every_steps=2, active_fraction=1.0)
    watcher = attach_traced(recipe, alone, other, example_inputs=EXAMPLE, seed=3)
    for net, its in ((model, optimizer), (alone, other)):
        for step in range(STEPS):
            its.zero_grad()
            backward(net, *batch(step, rank=0))
            its.step()
    equal = all(
        torch.equal(mine, value)
        for mine, value in zip(alone.parameters(), model.parameters(), strict=True)
    )
    same = watcher.report.events == regrower.report.events
    return outcome(model, optimizer, regrower) | {"as_alone": equal, "decided_as_alone": same}


@scenario
def dropping() -> dict[str, Any]:
    """Filters leave and come back: the same on all ranks, without gradient on any, in buckets or not."""
    model, optimizer, _ = build(attach=False, gradient_as_bucket_view=True)
    recipe = regrow.RePr(s1=3, s2=3, cycles=2, fraction=0.5, unit="steps")
    regrower = attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE)
    still, alike = True, True
    for step in range(STEPS):
        optimizer.zero_grad()
        backward(model, *batch(step, rank=dist.get_rank()))
        frozen = regrower.state_dict()["resting"]["frozen"]
        own = {name: mask for name, mask in frozen.items() if "running" not in name}
        for name, mask in own.items():
            parameter = model.module.get_parameter(name)
            grad = parameter.grad
            still &= not parameter[mask].any() and (grad is None or not grad[mask].any())
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        alike &= not differing(dict(model.module.named_parameters()))
        alike &= not differing({"out": [list(each) for each in regrower.report.resting.values()]})
    return outcome(model, optimizer, regrower) | {"still": still, "alike": alike}


def main() -> None:
    """Run all scenarios, or those that are named."""
    warnings.simplefilter("error", UserWarning)
    warnings.simplefilter("ignore", LargeRenewalWarning)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=datetime.timedelta(minutes=10))
    found: dict[str, Any] = {}
    for name in sys.argv[2:] or list(SCENARIOS):
        found[name] = SCENARIOS[name]()
        if dist.get_rank() == 0:
            Path(sys.argv[1]).write_text(json.dumps(found, indent=1))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    as_program(main)
