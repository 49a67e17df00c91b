"""Running statistics that a norm averages with one count for all of its channels, `momentum=None` in torch's.

The count is the neighbours': a renewed channel would be averaged with fresh values that weigh as much as all batches
before its birth. So the norm counts as it always does, and for channels younger than it the average is made right
after each step. Its batches' sum follows from the average before and behind it, however many there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import (
    _BatchNorm,  # pyright: ignore[reportPrivateUsage]  # the base of all batch norms
)

from regrow.errors import StateError
from regrow.renewal import Edit

_KEPT = ("born", "seen", "value")


class CountedNorms:
    """Gives young channels the average over their own batches.

    Kept by buffer: ``born``, the count at which each channel was renewed, -1 where it is as old as the norm; ``seen``,
    the count when it was last looked at; ``value``, the buffer then.
    """

    def __init__(self, model: nn.Module, *, leads: bool = True) -> None:
        self._modules = {
            f"{path}.{name}" if path else name: (module, name)
            for path, module in model.named_modules()
            if isinstance(module, _BatchNorm) and module.num_batches_tracked is not None
            for name in ("running_mean", "running_var")
            # Of a process that does not lead, another's are written over: but those that all of them have together.
            if leads or isinstance(module, nn.SyncBatchNorm)
        }
        # Those that may come to count, by torch's ``momentum=None``.
        self.norms = list(dict.fromkeys([module for module, _ in self._modules.values()]))
        # The young channels, by buffer. While there are none, nothing need be done after a step.
        self.young: dict[str, dict[str, Tensor]] = {}

    def enter(self, edits: Iterable[Edit]) -> None:
        """Note who has been renewed; `after_step` was called before anything was written."""
        for edit, module, buffer in self._edited(edits):
            kept = self.young.get(edit.name)
            if module.momentum is not None or not (edit.fresh or kept):
                continue
            count = _count(module, buffer)
            born = (
                torch.full_like(buffer, -1.0, dtype=torch.float64)
                if kept is None
                else kept["born"].to(buffer.device)
            )
            if edit.fresh:
                born = torch.where(edit.mask.to(buffer.device), count, born)
            self._keep(edit.name, buffer, born=born, seen=count.clone())

    def leave(self, edits: Iterable[Edit]) -> None:
        """Note who is out of the network, as `enter`: what is averaged there does not matter."""
        for edit, _, buffer in self._edited(edits):
            kept = self.young.get(edit.name)
            if kept is not None:
                born = kept["born"].masked_fill(edit.mask.to(kept["born"].device), -1.0)
                self._keep(edit.name, buffer, born=born, seen=kept["seen"])

    def after_step(self) -> None:
        """Make the averages of young channels right."""
        for name in list(self.young):
            module, buffer = self._of(name)
            if module.momentum is not None or buffer is None:
                # It averages with a momentum now; one that counts from 0 again is seen to in `_settle`.
                del self.young[name]
                continue
            with torch.no_grad():
                self._settle(name, module, buffer)

    def _settle(self, name: str, module: Any, buffer: Tensor) -> None:
        kept = {key: value.to(buffer.device) for key, value in self.young[name].items()}
        count = _count(module, buffer)
        born, seen, value = kept["born"], kept["seen"], kept["value"].to(torch.float64)
        more = count - seen
        if count.device.type == "cpu" and float(more) == 0:
            return
        summed = count * buffer.to(torch.float64) - seen * value
        age = count - born
        right = ((seen - born) * value + summed) / age.clamp(min=1.0)
        young = (born >= 0) & (more > 0)
        buffer.copy_(torch.where(young, right.to(buffer.dtype), buffer))
        self._keep(name, buffer, born=torch.where(more < 0, -1.0, born), seen=count.clone())

    def _keep(self, name: str, buffer: Tensor, *, born: Tensor, seen: Tensor) -> None:
        self.young[name] = {"born": born, "seen": seen, "value": buffer.detach().clone()}

    def _of(self, name: str) -> tuple[Any, Tensor | None]:
        """The norm that has a buffer, and the buffer as it is now; None where there is none of that name."""
        module, attribute = self._modules.get(name, (None, ""))
        return module, getattr(module, attribute, None)

    def _edited(self, edits: Iterable[Edit]) -> Iterable[tuple[Edit, Any, Tensor]]:
        for edit in edits:
            module, buffer = self._of(edit.name)
            if not edit.is_parameter and buffer is not None:
                yield edit, module, buffer

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """What is needed to resume: tensors by buffer name."""
        return {name: dict(kept) for name, kept in self.young.items()}

    def check_state(self, state: object) -> None:
        """Raise what `load_state_dict` would raise, and change nothing."""
        for name, kept in cast("Mapping[str, Any]", state).items():
            size = getattr(self._of(name)[1], "shape", None)
            shapes = {key: getattr(kept.get(key), "shape", None) for key in _KEPT}
            if size is None or shapes != {"born": size, "seen": torch.Size([]), "value": size}:
                raise StateError(
                    f"the saved state has young channels of '{name}', which is not in this model, or of another shape"
                )

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Resume from a saved state; the model's own is loaded before."""
        self.check_state(state)
        self.young = {
            name: {key: kept[key].clone() for key in _KEPT} for name, kept in state.items()
        }


def _count(module: Any, buffer: Tensor) -> Tensor:
    return module.num_batches_tracked.to(buffer.device, torch.float64)


def counted_by_others(model: nn.Module, norms: Iterable[str]) -> list[str]:
    """Modules with entries a channel that also count something for all channels, in a way that nobody knows."""
    found: list[str] = []
    for path in dict.fromkeys(norms):
        module = model.get_submodule(path)
        counts = [
            name
            for name, buffer in module.named_buffers(recurse=False)
            if buffer.numel() == 1 and not buffer.is_floating_point() and buffer.dtype != torch.bool
        ]
        if counts and not isinstance(module, nn.modules.batchnorm._NormBase):  # pyright: ignore[reportPrivateUsage]
            found.append(
                f"{path}: {', '.join(counts)} counts for all channels together, and goes on for renewed ones"
            )
    return found
