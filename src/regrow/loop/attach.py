"""attach: one line in any training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from regrow.compose import Recipe
from regrow.draw import InitSpec
from regrow.errors import ConfigError
from regrow.graph import Filters, Wiring, trace, unwrap
from regrow.loop.initials import resolve_layers
from regrow.loop.regrower import Regrower
from regrow.schedule import Clock
from regrow.surgery import unwrap_optimizer


def attach(
    recipe: Recipe,
    model: nn.Module,
    optimizer: object,
    *,
    example_inputs: Any = None,
    wiring: Wiring | None = None,
    total_steps: int | None = None,
    steps_per_epoch: int | None = None,
    seed: int = 0,
    layers: Sequence[str] = ("conv",),
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    init: InitSpec | Mapping[str, InitSpec] | None = None,
    dry_run: bool = False,
    hooks: bool = True,
) -> Regrower:
    """Let a recipe act on a model while it trains; the training loop stays as it is.

    Gradients are read right before each ``optimizer.step()`` and filters are renewed right after it,
    by the optimizer's step hooks. Until the recipe first acts, training is bit for bit what it would
    be without regrow. Steps are counted from here on: attach before the first one.

    Args:
        recipe: What to do, such as `regrow.RandomOut`.
        model: The model, also inside DistributedDataParallel or torch.compile.
        optimizer: The optimizer that holds its parameters: SGD, Adam or AdamW, or a wrapper with
            such an ``.optimizer``.
        example_inputs: A small batch, as the model is called with it (a tensor, or a tuple or dict
            of arguments); the model is run once to find out who reads whom. Not needed with `wiring`.
        wiring: What `regrow.trace` gave, instead of `example_inputs`.
        total_steps: Optimizer steps of the whole training; recipes that act in a part of it need to know.
        steps_per_epoch: Optimizer steps of an epoch; recipes that check once per epoch need to know.
        seed: For all random numbers of the recipe, together with step, layer and filter.
        layers: Kinds of layers to act on: ``conv``, ``conv_transpose``, ``linear``. Layers that make
            the model's output are never touched.
        include: Patterns of module paths to act on.
        exclude: Patterns of module paths to leave alone.
        init: What fresh filters are drawn from: a name (``kaiming_normal``, ``uniform:0.01``,
            ``match``, ...), a function that fills a tensor, or a mapping from patterns of module
            paths to these. None: the layer class's own default.
        dry_run: Score, select and report, and change nothing.
        hooks: False: nothing is hooked, and you call ``regrower.step()`` after each
            ``optimizer.step()`` yourself.

    Returns:
        The `Regrower`: report, saved state, detach.

    Raises:
        ConfigError: A setting that contradicts the model, the optimizer or the recipe.

    Examples:
        >>> import torch, regrow
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> recipe = regrow.RandomOut(threshold=1e-8, active_fraction=0.6)
        >>> regrower = attach(recipe, model, optimizer, example_inputs=torch.zeros(2, 1, 8, 8), total_steps=100)
        >>> regrower.report.layers
        {'0': 4}
        >>> regrower.detach()
    """
    inner = unwrap_optimizer(optimizer)
    for argument, given in (("layers", layers), ("include", include), ("exclude", exclude)):
        if isinstance(given, str):
            raise ConfigError(
                f"{argument} must be a list or tuple of strings, got {given!r} (attach)"
            )
    if (wiring is None) == (example_inputs is None):
        raise ConfigError("attach needs example_inputs or wiring, one of the two")
    bare = unwrap(model)
    parameters = dict(bare.named_parameters(remove_duplicate=False))
    tensors = {**parameters, **dict(bare.named_buffers(remove_duplicate=False))}
    _refuse_sharded(parameters)
    if wiring is None:
        wiring = trace(bare, example_inputs)
    _refuse_foreign(wiring, tensors)
    chosen = wiring.renewable(layers=tuple(layers), include=tuple(include), exclude=tuple(exclude))
    held = {id(parameter) for group in inner.param_groups for parameter in group["params"]}
    watched = [filters for filters in chosen if id(parameters.get(filters.weight)) in held]
    watched, kept = _without_frozen_readers(
        watched, {name for name, p in parameters.items() if id(p) in held}
    )
    if not watched:
        raise ConfigError(
            f"there is no filter that the recipe may renew: the model's layers are "
            f"{', '.join(filters.path for filters in wiring.layers)}; by layers, include and exclude (and without the "
            f"output layer) remain {', '.join(filters.path for filters in chosen) or 'none'}; "
            f"and of these the optimizer holds none{''.join(f'; {remark}' for remark in wiring.remarks)} (attach)"
        )
    return Regrower(
        recipe,
        optimizer=inner,
        model=bare,
        layers=resolve_layers(
            bare,
            watched,
            tensors,
            init=init if recipe.init is None else recipe.init,
            with_readers=recipe.renew.draws_readers,
        ),
        clock=Clock(total_steps=total_steps, steps_per_epoch=steps_per_epoch),
        seed=seed,
        dry_run=dry_run,
        hooks=hooks,
        notes=(*(kept if recipe.renew.touches_readers else ()), *wiring.remarks),
    )


def _without_frozen_readers(
    watched: Sequence[Filters], held: Set[str]
) -> tuple[list[Filters], list[str]]:
    """A reader that this optimizer does not train could never learn back what is taken from it: it is left alone."""
    found: list[Filters] = []
    notes: list[str] = []
    for filters in watched:
        frozen = [reader.path for reader in filters.readers if reader.weight not in held]
        if frozen:
            notes.append(
                f"{filters.path}: kept in {', '.join(frozen)}, which the optimizer does not hold"
            )
        readers = tuple(reader for reader in filters.readers if reader.weight in held)
        found.append(replace(filters, readers=readers))
    return found, notes


def _refuse_sharded(parameters: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        if hasattr(parameter, "placements"):  # a DTensor; its class is slow to import
            raise ConfigError(
                f"every parameter must be whole on each rank, and {name} is a {type(parameter).__name__}: sharded "
                f"models (FSDP, tensor parallelism) cannot be renewed (attach)"
            )


def _refuse_foreign(wiring: Wiring, tensors: Mapping[str, Tensor]) -> None:
    """A wiring of another model would be found out by a wrong name or shape in the middle of the training."""
    for layer in wiring.layers:
        own = (layer.weight, layer.bias)
        norms = (
            (norm.weight, norm.bias, norm.running_mean, norm.running_var) for norm in layer.norms
        )
        for name in (*own, *(name for norm in norms for name in norm)):
            if name is not None and name not in tensors:
                raise ConfigError(
                    f"the wiring must be this model's, and its {name} is not in the model (attach)"
                )
        shape = tuple(tensors[layer.weight].shape)
        if shape != layer.weight_shape:
            raise ConfigError(
                f"the wiring must be this model's, and its {layer.weight} has shape {layer.weight_shape}, "
                f"the model's {shape} (attach)"
            )
