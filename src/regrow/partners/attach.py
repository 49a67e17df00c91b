"""attach_partners: one line for networks that are trained side by side.

A user calls it once. It makes a `Network` of each model, with a `Plan`, and gives them to a `Grafter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from regrow.compose import Recipe
from regrow.errors import ConfigError
from regrow.graph import Wiring, trace, unwrap
from regrow.loop.optimizers import OptimizerWatch
from regrow.loop.start.sharding import refuse_sharded_model, refuse_sharded_optimizer
from regrow.partners.exchange import RingExchange
from regrow.partners.grafter import Grafter
from regrow.partners.network import Network
from regrow.partners.parcels import Form
from regrow.partners.plan import Plan, blendable, plan_by_order, plan_by_wiring
from regrow.partnership import PartnerRecipe
from regrow.schedule import Clock
from regrow.surgery import unwrap_optimizer


def attach_partners(
    recipe: PartnerRecipe,
    models: nn.Module | Sequence[nn.Module],
    optimizers: object,
    *,
    example_inputs: Any = None,
    wiring: Wiring | None = None,
    total_steps: int | None = None,
    steps_per_epoch: int | None = None,
    group: dist.ProcessGroup | None = None,
    timeout_s: float | None = None,
    hooks: bool = True,
) -> Grafter:
    """Let networks lend each other weights while they train; the training loops stay as they are.

    Give a list of models, all trained in this process, or the one model that this rank of torch.distributed trains.
    Both ways are the same bits. The networks meet in the last optimizer step of an epoch, when the last of them has
    made it: train every network to the end of an epoch before any of them begins the next (in a process), or give
    every rank as many batches (on ranks). Let the networks differ: by their initial weights, data orders, rates.

    Args:
        recipe: What to do, such as `regrow.FilterGrafting`.
        models: The networks in the order of the ring, or this rank's network. Inside torch.compile too. Architectures
            may differ: layers that match by name and shape are grafted, the others are listed.
        optimizers: One for each network, in the same order: an optimizer, a wrapper with such an ``.optimizer``, or a
            list of those where a network has several (the last one's step ends its step).
        example_inputs: A small batch, as the models are called with it; each model is run once to find out which norm
            entries belong to which layer. Not needed with `wiring`, nor for ``mode="reference"`` by layers.
        wiring: What `regrow.trace` gave, for models of one architecture.
        total_steps: Optimizer steps of each network's whole training.
        steps_per_epoch: Optimizer steps of an epoch.
        group: The ranks whose networks are partners; None: all. Only for a single model.
        timeout_s: How long to wait for another rank at a graft; None: the timeout of the group. The slowest
            partner's epoch must fit.
        hooks: False: nothing is hooked, and you call ``grafter.graft()`` at the end of an epoch yourself; best with a
            GradScaler, which leaves out steps.

    Returns:
        The `Grafter`: report, saved state, detach.

    Raises:
        ConfigError: A setting that contradicts the models, the optimizers or the recipe; no layer matches; on ranks,
            settings that differ.

    Edge cases:
        An optimizer that keeps a part of itself on each rank is an OptimizerError. Averages of a model (EMA) are not
        grafted with it. Integer buffers are copied from the partner. Tensors that are tied are blended once.
        What is not trained when networks meet keeps its bits; with a layer's weight all that belongs to its filters.

    Examples:
        >>> import torch, regrow
        >>> nets = [nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)) for _ in range(2)]
        >>> optimizers = [torch.optim.SGD(net.parameters(), lr=lr) for net, lr in zip(nets, (0.05, 0.1))]
        >>> grafter = attach_partners(
        ...     regrow.FilterGrafting(partners=2), nets, optimizers, example_inputs=torch.zeros(2, 1, 8, 8),
        ...     steps_per_epoch=10,
        ... )
        >>> grafter.report.grafts
        0
        >>> grafter.detach()
    """
    _refuse_recipe(recipe)
    alone = isinstance(models, nn.Module)
    given: list[object] = [models] if alone else list(cast("Sequence[object]", models))
    per_network = _optimizers([optimizers] if alone else optimizers, networks=len(given))
    exchange = None
    if alone:
        exchange = RingExchange(group, timeout_s=timeout_s)
    elif group is not None or timeout_s is not None:
        raise ConfigError(
            "group and timeout_s are for one model a rank, and several models came (attach_partners)"
        )
    count = len(given) if exchange is None else exchange.size
    if count != recipe.partners:
        raise ConfigError(
            f"partners={recipe.partners} needs as many {'models' if exchange is None else 'ranks'}, got {count} "
            f"(recipe '{recipe.info.name}')"
        )
    bare = [_bare(each, ranks=exchange is not None) for each in given]
    if len({id(each) for each in bare}) < len(bare):
        raise ConfigError(
            "partners must be models of their own, and one is there twice (attach_partners)"
        )
    for each in (one for several in per_network for one in several):
        refuse_sharded_optimizer(each)
    plans = [_plan(recipe, each, example_inputs, wiring) for each in bare]
    networks = [
        Network(recipe, model, several, plan)
        for model, several, plan in zip(bare, per_network, plans, strict=True)
    ]
    clock = Clock(total_steps=total_steps, steps_per_epoch=steps_per_epoch)
    if exchange is not None:
        where = "attach_partners"
        exchange.compare(_settings(recipe, clock=clock, hooks=hooks), where=where)
        there = exchange.agree(networks[0].lend(), networks[0].weights, where=where)
        pairs: list[_Pair] = [(exchange.rank, networks[0], there)]
    else:
        pairs = [(k, network, networks[k - 1].tensors) for k, network in enumerate(networks)]
    problem = next(filter(None, (_stranger(*pair) for pair in pairs)), "")
    if exchange is not None:
        exchange.refuse_together(problem, where="attach_partners")
    elif problem:
        raise ConfigError(problem)
    return Grafter(
        recipe,
        networks=networks,
        watches=[[OptimizerWatch(each, None) for each in several] for several in per_network],
        clock=clock,
        exchange=exchange,
        hooks=hooks,
        notes=[note for pair in pairs for note in _notes(*pair)],
    )


_Pair = tuple[int, Network, Mapping[str, Form | Tensor]]
"""A network with its place in the ring, and what the one before it has."""


def _refuse_recipe(recipe: object) -> None:
    if isinstance(recipe, Recipe):
        raise ConfigError(
            f"'{recipe.info.name}' acts inside one network: use regrow.attach; attach_partners is for recipes such as "
            f"regrow.FilterGrafting"
        )
    if not isinstance(recipe, PartnerRecipe):
        came = f"the class {recipe.__name__}" if isinstance(recipe, type) else type(recipe).__name__
        raise ConfigError(
            f"recipe must be a PartnerRecipe, as regrow.FilterGrafting() makes it, got {came} (attach_partners)"
        )


def _settings(recipe: PartnerRecipe, *, clock: Clock, hooks: bool) -> dict[str, object]:
    """What must be the same on all ranks, in parts that a message can show."""
    return {
        "recipe": recipe.info.name,
        "weigh": recipe.weigh,
        "when": recipe.when,
        "mode": recipe.mode,
        "memory": recipe.memory,
        "clock": clock,
        "hooks": hooks,
    }


def _optimizers(given: object, *, networks: int) -> list[list[Optimizer]]:
    """The bare optimizers of each network."""
    if not isinstance(given, (list, tuple)) or len(cast("Sequence[object]", given)) != networks:
        came = len(cast("Sequence[object]", given)) if isinstance(given, (list, tuple)) else "one"
        raise ConfigError(
            f"optimizers must be a list with an entry for each of {networks} models, got {came} (attach_partners)"
        )
    found: list[list[Optimizer]] = []
    for entry in cast("Sequence[object]", given):
        several = cast("Sequence[object]", entry if isinstance(entry, (list, tuple)) else [entry])
        found.append([unwrap_optimizer(each) for each in several])
        if not found[-1]:
            raise ConfigError(
                "every partner needs an optimizer, got an empty list (attach_partners)"
            )
    flat = [id(each) for several in found for each in several]
    if len(set(flat)) < len(flat):
        raise ConfigError("every optimizer must be listed once (attach_partners)")
    return found


def _bare(model: object, *, ranks: bool) -> nn.Module:
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise ConfigError(
            f"models must be nn.Modules whose forward is Python, got {type(model).__name__} (attach_partners)"
        )
    inner: object = model
    while isinstance(inner, nn.Module):
        if ranks and isinstance(inner, DistributedDataParallel):
            raise ConfigError(
                "each rank must train a network of its own, and this one is inside DistributedDataParallel, which "
                "gives all ranks the same gradients (attach_partners)"
            )
        inner = inner._modules.get("_orig_mod")  # pyright: ignore[reportPrivateUsage]
    bare = unwrap(model)
    refuse_sharded_model(model, dict(bare.named_parameters(remove_duplicate=False)))
    return bare


def _plan(
    recipe: PartnerRecipe, model: nn.Module, example_inputs: Any, wiring: Wiring | None
) -> Plan:
    """Whose share each tensor of a model takes."""
    tensors = blendable(model)
    if recipe.mode == "reference" and not recipe.weigh.by_filter:
        return plan_by_order(tensors)
    if wiring is None and example_inputs is None:
        raise ConfigError(
            "attach_partners needs example_inputs or wiring, to find out which norm entries belong to which layer "
            "(mode='reference' by layers needs neither)"
        )
    return plan_by_wiring(
        tensors,
        trace(model, example_inputs) if wiring is None else wiring,
        by_filter=recipe.weigh.by_filter,
    )


def _apart(network: Network, there: Mapping[str, Form | Tensor]) -> list[str]:
    """The layers that the network before has not."""
    return [
        unit.name
        for unit in network.plan.units
        if (other := there.get(unit.weight)) is None
        or other.shape != network.tensors[unit.weight].shape
    ]


def _stranger(place: int, network: Network, there: Mapping[str, Form | Tensor]) -> str:
    """What is wrong where no layer matches; "" where one does."""
    apart = _apart(network, there)
    if len(apart) < len(network.plan.units):
        return ""
    return (
        f"at least one layer of network {place} must have the name and shape of one in the network before it, and "
        f"none of {', '.join(apart) or 'its layers'} has (attach_partners)"
    )


def _notes(place: int, network: Network, there: Mapping[str, Form | Tensor]) -> list[str]:
    """What is not grafted as a user might expect."""
    notes = list(network.plan.notes)
    if network.frozen:
        notes.append(f"not trained now, and left alone until they are: {', '.join(network.frozen)}")
    if apart := _apart(network, there):
        notes.append(f"not in the network before it, left alone: {', '.join(apart)}")
    return [f"network {place}: {note}" for note in notes]
