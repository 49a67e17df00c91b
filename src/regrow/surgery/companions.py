"""Averaged copies of a model (EMA, SWA, a teacher) are renewed with it: else they average two unrelated filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from regrow.errors import ConfigError
from regrow.graph import Filters, unwrap
from regrow.renewal import Edit


def companion_tensors(
    companion: nn.Module, tensors: Mapping[str, Tensor], watched: Sequence[Filters]
) -> dict[str, Tensor]:
    """The parameters and buffers of a copy, by the names that they have in the model.

    Args:
        companion: The copy; also inside wrappers that hold it as ``.module`` (`AveragedModel`, timm's `ModelEmaV3`).
        tensors: The model's own.
        watched: The layers that may be renewed.

    Returns:
        The copy's tensors that the model has too.

    Raises:
        ConfigError: It holds none of the watched weights, or one with another shape.
    """
    inner = unwrap(companion)
    wanted = {layer.weight for layer in watched}
    while True:
        own: dict[str, Tensor] = {
            **dict(inner.named_parameters(remove_duplicate=False)),
            **dict(inner.named_buffers(remove_duplicate=False)),
        }
        if wanted & set(own):
            break
        within = getattr(inner, "module", None)
        if not isinstance(within, nn.Module):
            raise ConfigError(
                f"a companion must hold the model's weights under their names, and {type(companion).__name__} has none "
                f"of {', '.join(sorted(wanted))} (attach: companions)"
            )
        inner = unwrap(within)
    for name in wanted & set(own):
        if own[name].shape != tensors[name].shape:
            raise ConfigError(
                f"a companion must be a copy of the model, and in {type(companion).__name__} {name} has shape "
                f"{tuple(own[name].shape)}, the model's {tuple(tensors[name].shape)} (attach: companions)"
            )
    return {name: tensor for name, tensor in own.items() if name in tensors}


def copy_over_(
    companion: Mapping[str, Tensor], model: Mapping[str, Tensor], edits: Iterable[Edit]
) -> None:
    """Write what was renewed in the model into a copy of it; living entries of the copy stay its own.

    Args:
        companion: The copy's tensors. Written where an edit renewed the model.
        model: The model's tensors, after the edits.
        edits: What was renewed; shifts of living entries are skipped.

    Edge cases:
        What the copy does not hold (an average of parameters has no running statistics, say) is skipped.
    """
    with torch.no_grad():
        for edit in edits:
            copy = companion.get(edit.name)
            if copy is None or not edit.fresh:
                continue
            mask = edit.mask.to(copy.device)
            copy.copy_(torch.where(mask, model[edit.name].to(copy.device, copy.dtype), copy))
