"""Networks that many tests train: each is traced once, and not for every training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

import regrow
from regrow.graph import Wiring, trace, unwrap
from regrow.renewal import Need

WIRED_AS_SHOWN = "wired_as_shown"
"""A class of which each network with the same text is wired alike says so by an attribute of this name."""

_KNOWN: dict[tuple[object, ...], Wiring] = {}


def traced(model: nn.Module, example_inputs: Any) -> Wiring:
    """As `regrow.trace`; of layers of torch's own in a row, which their text says whole, what was found before."""
    said = _said(model, example_inputs)
    if said is None:
        return trace(model, example_inputs)
    if said not in _KNOWN:
        _KNOWN[said] = trace(model, example_inputs)
    return _KNOWN[said]


def attach_traced(
    recipe: regrow.Recipe | regrow.Guard,
    model: nn.Module,
    optimizer: object,
    *,
    example_inputs: Any,
    **told: Any,
) -> regrow.Regrower:
    """As `regrow.attach`, with the wiring for the example, where the model need not be tried out on it."""
    tried = isinstance(recipe, regrow.Recipe) and Need.HOMOGENEOUS in recipe.renew.needs
    given = "example_inputs" if tried else "wiring"
    told[given] = example_inputs if tried else traced(model, example_inputs)
    return regrow.attach(recipe, model, optimizer, **told)


def attach_partners_traced(
    recipe: regrow.PartnerRecipe,
    models: Sequence[nn.Module],
    optimizers: Sequence[object],
    *,
    example_inputs: Any,
    **told: Any,
) -> regrow.Grafter:
    """As `regrow.attach_partners`; networks of one kind are given the wiring for the example."""
    if _said(models[0], example_inputs) is not None and len({repr(each) for each in models}) == 1:
        told["wiring"] = traced(models[0], example_inputs)
    else:
        told["example_inputs"] = example_inputs
    return regrow.attach_partners(recipe, models, optimizers, **told)


def _said(model: nn.Module, example_inputs: Any) -> tuple[object, ...] | None:
    """What tells networks apart that are wired otherwise; None: their text does not say it."""
    bare = unwrap(model)
    if not (isinstance(example_inputs, Tensor) and all(map(_is_stock, bare.modules()))):
        return None
    kinds = tuple(map(type, bare.modules()))
    return repr(bare), kinds, example_inputs.shape, example_inputs.dtype, _layout(bare)


def _is_stock(module: nn.Module) -> bool:
    """One of torch's own or of a class that says so, as it was made: without a hook."""
    return (
        (
            type(module).__module__.startswith("torch.nn.modules.")
            or WIRED_AS_SHOWN in vars(type(module))
        )
        and type(module) not in {nn.ModuleList, nn.ModuleDict, nn.MultiheadAttention}
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and "forward" not in vars(module)
    )


def _layout(model: nn.Module) -> tuple[object, ...]:
    """Sizes, types, devices and who is whose twin."""
    numbers: dict[int, int] = {}
    return tuple(
        (name, each.shape, each.dtype, each.device, numbers.setdefault(id(each), len(numbers)))
        for named in (model.named_parameters, model.named_buffers)
        for name, each in named(remove_duplicate=False)
    )
