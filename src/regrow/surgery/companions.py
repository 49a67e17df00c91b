"""Averaged copies of a model (EMA, SWA, a teacher) are renewed with it: else they average two unrelated filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from regrow.errors import ConfigError
from regrow.graph import Filters, unwrap
from regrow.renewal import Edit


class Companion:
    """A copy of the model, and where its tensors are.

    Attributes:
        note: What becomes of renewed entries in an average that gives each step a weight by its count of steps: the
            count belongs to all entries, and who was renewed is as old as the others to it. "" elsewhere.

    Args:
        companion: The copy; also inside wrappers that hold it as ``.module`` (`AveragedModel`, timm's `ModelEmaV3`).
        tensors: The model's parameters and buffers by name.
        watched: The layers that may be renewed.

    Raises:
        ConfigError: It holds none of the watched weights, one with another shape, or tensors that cannot be written.
    """

    def __init__(
        self, companion: nn.Module, tensors: Mapping[str, Tensor], watched: Sequence[Filters]
    ) -> None:
        self._known = frozenset(tensors)
        wanted = {layer.weight for layer in watched}
        inner = unwrap(companion)
        self.note = _counted(inner)
        while not wanted & set(dict(inner.named_parameters(remove_duplicate=False))):
            within = getattr(inner, "module", None)
            if not isinstance(within, nn.Module):
                raise ConfigError(
                    f"a companion must hold the model's weights under their names, and {type(companion).__name__} has "
                    f"none of {', '.join(sorted(wanted)[:6])} (attach: companions)"
                )
            inner = unwrap(within)
            self.note = self.note or _counted(inner)
        self._module = inner
        for name, tensor in self.tensors().items():
            if tensor.shape != tensors[name].shape:
                raise ConfigError(
                    f"a companion must be a copy of the model, and in {type(companion).__name__} {name} has shape "
                    f"{tuple(tensor.shape)}, the model's {tuple(tensors[name].shape)} (attach: companions)"
                )
            if tensor.is_inference():
                raise ConfigError(
                    f"a companion must be writable, and in {type(companion).__name__} {name} was made in inference "
                    f"mode: make the copy outside of it (attach: companions)"
                )

    def tensors(self) -> dict[str, Tensor]:
        """Its parameters and buffers by the model's names, as they are now: moving a module replaces buffers."""
        own: dict[str, Tensor] = {
            **dict(self._module.named_parameters(remove_duplicate=False)),
            **dict(self._module.named_buffers(remove_duplicate=False)),
        }
        return {name: tensor for name, tensor in own.items() if name in self._known}


def _counted(wrapper: nn.Module) -> str:
    """What is to be said of an average by a count of its own; "" where there is none, as in a moving average."""
    kind = type(wrapper).__name__
    if getattr(wrapper, "use_warmup", False):
        return (
            f"{kind} (companions) averages by a count of all its updates: what is renewed late forgets its first "
            f"values as slowly as all others, and not as at its beginning; without use_warmup there is no such count"
        )
    if not isinstance(wrapper, AveragedModel) or _is_moving(wrapper):
        return ""
    return (
        f"{kind} (companions) averages by a count of all its updates: what is renewed keeps its first values there, "
        f"with the weight of all updates before; take a moving average (avg_fn=get_ema_avg_fn(), or "
        f"multi_avg_fn=get_ema_multi_avg_fn()), or begin to average when the recipe has ended"
    )


def _is_moving(average: AveragedModel) -> bool:
    """Whether an update has the same weight early and late."""
    weights: list[float] = []
    for count in (1, 99):
        mean, new = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        try:
            with torch.no_grad():
                if average.multi_avg_fn is not None:
                    average.multi_avg_fn((mean,), (new,), torch.tensor(count))
                elif average.avg_fn is not None:
                    mean = torch.as_tensor(average.avg_fn(mean, new, torch.tensor(count)))
                else:
                    return False
        except Exception:  # a function of the user's, of which nothing is known then
            return False
        weights.append(float(mean))
    return weights[0] == weights[1]


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
