"""What every rank runs: networks that graft over a process group, and the same ring in one process beside it.

    PYTHONPATH=tests torchrun --standalone --nproc-per-node 2 tests/ranks/train_partners.py OUT.json

Rank 0 writes what differs. Nothing is asserted here: the test that starts this reads the file.
"""

from __future__ import annotations

import copy
import datetime
import io
import json
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import regrow
from partners.nets import EPOCH, EXAMPLE, Depthwise, Plain, Residual, random, step_of
from ranks.harness import refusal
from ranks.started import as_program

STEPS = 2 * EPOCH + 1
SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {}


def scenario(run: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Add a scenario under its own name."""
    SCENARIOS[run.__name__] = run
    return run


class Wider(Plain):
    """Another head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 5)


def build(place: int, *, odd: type[nn.Module] | None = None, layout: Any = None) -> nn.Module:
    """The network of one place in the ring: weights of its own."""
    cls = Residual if odd is None else (odd if place % 2 else Plain)
    model = random(cls, place, dtype=torch.float32)
    return model if layout is None else model.to(memory_format=layout)  # type: ignore[call-overload]


def optimizer_of(model: nn.Module, place: int, *, adam: bool = False) -> torch.optim.Optimizer:
    """Rates of its own."""
    if adam:
        return torch.optim.Adam(model.parameters(), lr=0.01 * (1 + place), amsgrad=True)
    return torch.optim.SGD(model.parameters(), lr=0.02 * (1 + place), momentum=0.9)


def states(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """All that a graft may change."""
    return [
        {name: value.detach().clone() for name, value in model.state_dict().items()},
        copy.deepcopy(optimizer.state_dict()["state"]),
    ]


def flat(thing: Any, path: str = "") -> dict[str, torch.Tensor]:
    """Every tensor inside, by its path."""
    if isinstance(thing, torch.Tensor):
        return {path: thing}
    inner = thing.items() if isinstance(thing, dict) else enumerate(thing)
    found: dict[str, torch.Tensor] = {}
    if isinstance(thing, dict | list):
        for key, value in inner:
            found |= flat(value, f"{path}/{key}")
    return found


def unlike(mine: Any, other: Any) -> list[str]:
    """Paths of tensors that have not the same bits."""
    first, second = flat(mine), flat(other)
    names = first.keys() | second.keys()
    return sorted(
        name
        for name in names
        if name not in first or name not in second or _bits(first[name]) != _bits(second[name])
    )


def _bits(tensor: torch.Tensor) -> bytes:
    """NaN is NaN, and -0 is not 0."""
    return tensor.detach().contiguous().numpy().tobytes()


def compared(
    place: int,
    size: int,
    *,
    group: dist.ProcessGroup | None = None,
    steps: int = STEPS,
    adam: bool = False,
    spoil: int | None = None,
    hooks: bool = True,
    network: dict[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train on ranks and in one process, and compare bit by bit.

    Args:
        place: Of this rank in its ring.
        size: Of the ring.
        group: The ranks of the ring.
        steps: Of each network.
        adam: Instead of SGD.
        spoil: The place whose first convolution becomes NaN before the training.
        hooks: As `attach_partners` takes it.
        network: How `build` makes the networks.
        settings: Of the recipe.
    """

    def made(k: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = build(k, **(network or {}))
        if spoil == k:
            with torch.no_grad():
                model.get_parameter("conv1.weight").fill_(math.nan)
        return model, optimizer_of(model, k, adam=adam)

    def trained(
        places: list[int], models: list[nn.Module], optimizers: list[Any], grafter: regrow.Grafter
    ) -> None:
        for step in range(steps):
            for k, model, optimizer in zip(places, models, optimizers, strict=True):
                step_of(model, optimizer, step, network=k)
            if not hooks and (step + 1) % EPOCH == 0:
                grafter.graft()

    recipe = regrow.FilterGrafting(partners=size, **settings)
    given: dict[str, Any] = {
        "example_inputs": EXAMPLE,
        "steps_per_epoch": EPOCH if hooks else None,
        "hooks": hooks,
    }
    model, optimizer = made(place)
    grafter = regrow.attach_partners(recipe, model, optimizer, group=group, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", regrow_warning())
        trained([place], [model], [optimizer], grafter)
        pairs = [made(k) for k in range(size)]
        models, optimizers = ([pair[i] for pair in pairs] for i in range(2))
        ring = regrow.attach_partners(recipe, models, optimizers, **given)
        trained(list(range(size)), models, optimizers, ring)
    expected = [astuple(event) for event in ring.report.events if event.partner == place]
    found = [astuple(event) for event in grafter.report.events]
    mine = {
        "unlike": unlike(states(model, optimizer), states(models[place], optimizers[place])),
        "events": str(found) == str(expected),
        "count": len(found),
        "grafts": grafter.report.grafts,
        "notes": list(grafter.report.notes),
        "finite": all(bool(value.isfinite().all()) for value in model.parameters()),
    }
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    return {"ranks": everyone}


def regrow_warning() -> type[Warning]:
    """What a network of NaN is told with."""
    from regrow.errors import NonFiniteWarning

    return NonFiniteWarning


def here(**given: Any) -> dict[str, Any]:
    """All ranks in one ring."""
    return compared(dist.get_rank(), dist.get_world_size(), **given)


@scenario
def keep() -> dict[str, Any]:
    """The defaults: different weights, rates and images on all ranks."""
    return here()


@scenario
def memory_graft() -> dict[str, Any]:
    """Moments are sent and blended."""
    return here(memory="graft", adam=True)


@scenario
def memory_reset() -> dict[str, Any]:
    """Moments begin anew."""
    return here(memory="reset")


@scenario
def reference() -> dict[str, Any]:
    """The carried share."""
    return here(mode="reference", drop_maximum=True, decimals=2, memory="graft")


@scenario
def by_filter() -> dict[str, Any]:
    """Shares of filters."""
    return here(unit="filter")


@scenario
def l1_and_rare() -> dict[str, Any]:
    """Another measure, and a graft every second epoch."""
    return here(criterion="l1", sharpness=0.1, every_epochs=2)


@scenario
def channels_last() -> dict[str, Any]:
    """Another layout in memory: what is sent is in logical order."""
    return here(network={"layout": torch.channels_last})


@scenario
def architectures() -> dict[str, Any]:
    """Every second rank has another head."""
    return here(network={"odd": Wider})


@scenario
def nan_on_one_rank() -> dict[str, Any]:
    """A network that has diverged does not spoil the others."""
    return here(spoil=1, network={"odd": Plain})


@scenario
def without_hooks() -> dict[str, Any]:
    """The loop calls graft()."""
    return here(hooks=False)


@scenario
def rings_of_two() -> dict[str, Any]:
    """Ranks 0 and 1 are partners, and ranks 2 and 3."""
    size = dist.get_world_size()
    groups = [dist.new_group([first, first + 1]) for first in range(0, size, 2)]
    rank = dist.get_rank()
    found = compared(rank % 2, 2, group=groups[rank // 2], memory="graft")
    with refusal() as told:
        other = groups[(rank // 2 + 1) % len(groups)] if len(groups) > 1 else None
        if other is not None:
            model = build(0)
            regrow.attach_partners(
                regrow.FilterGrafting(),
                *(model, optimizer_of(model, 0)),
                example_inputs=EXAMPLE,
                steps_per_epoch=EPOCH,
                group=other,
            )
    return found | {"refused": told}


def refused(**change: Any) -> list[str]:
    """The messages of all ranks."""
    model = change.pop("model", None) or build(dist.get_rank())
    given: dict[str, Any] = {"example_inputs": EXAMPLE, "steps_per_epoch": EPOCH, **change}
    recipe = given.pop("recipe", regrow.FilterGrafting(partners=dist.get_world_size()))
    with refusal() as told:
        regrow.attach_partners(recipe, model, optimizer_of(model, 0), **given)
    return told


@scenario
def mistakes() -> dict[str, Any]:
    """Each is an error on every rank, before training."""
    rank, size = dist.get_rank(), dist.get_world_size()
    last = rank == size - 1
    return {
        "recipe": refused(
            recipe=regrow.FilterGrafting(partners=size, amplitude=0.2 if last else 0.4)
        ),
        "clock": refused(steps_per_epoch=EPOCH + last),
        "hooks": refused(hooks=not last),
        "size": refused(recipe=regrow.FilterGrafting(partners=size + 1)),
        "stranger": refused(model=nn.Sequential(nn.Conv2d(1, 1, 1)) if last else None),
        "wrapped": refused(model=DistributedDataParallel(build(0))),
        "timeout": refused(timeout_s=0),
    }


@scenario
def resumed() -> dict[str, Any]:
    """Saved in the middle of an epoch and loaded on every rank; a rank with another state is refused on all."""
    rank, size = dist.get_rank(), dist.get_world_size()

    def attached() -> tuple[Any, Any, regrow.Grafter]:
        model = build(rank)
        optimizer = optimizer_of(model, rank)
        recipe = regrow.FilterGrafting(partners=size, memory="graft")
        grafter = regrow.attach_partners(
            recipe, model, optimizer, example_inputs=EXAMPLE, steps_per_epoch=EPOCH
        )
        return model, optimizer, grafter

    def train(parts: Any, first: int, after: int) -> None:
        for step in range(first, after):
            step_of(parts[0], parts[1], step, network=rank)

    whole = attached()
    train(whole, 0, 3 * EPOCH)
    first = attached()
    train(first, 0, 3)
    early = first[2].state_dict()
    train(first, 3, EPOCH + 2)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = attached()
    saved = torch.load(file, weights_only=True)
    with refusal() as told:
        second[2].load_state_dict(early if rank == 1 else saved[2])
    for part, state in zip(second, saved, strict=True):
        part.load_state_dict(state)
    train(second, EPOCH + 2, 3 * EPOCH)
    mine = {
        "unlike": unlike(states(*whole[:2]), states(*second[:2])),
        "events": whole[2].report.events == second[2].report.events,
        "grafts": second[2].report.grafts,
    }
    everyone: list[Any] = [None] * size
    dist.all_gather_object(everyone, mine)
    return {"ranks": everyone, "refused": told}


@scenario
def depthwise() -> dict[str, Any]:
    """Another network."""
    return here(network={"odd": Depthwise}) if dist.get_world_size() == 4 else here()


def main() -> None:
    """Run all scenarios, or those that are named."""
    warnings.simplefilter("error", UserWarning)
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
