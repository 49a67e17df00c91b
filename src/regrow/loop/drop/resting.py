"""Filters that are out of the network: who they are, what they were, and that nothing moves them meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from regrow.decision import Decision
from regrow.loop.drop.silence import Silence
from regrow.loop.drop.slices import Part, parts_of
from regrow.renewal import Edit

_RESTING: WeakKeyDictionary[nn.Module, WeakSet[Resting]] = WeakKeyDictionary()
"""Of all recipes that are at work on a model."""


class Resting:
    """What is kept of dropped filters until they come back.

    Attributes:
        masks: By layer, (O,), True = out of the network. Empty while the network is whole.
        scores: By layer, the scores for which they were dropped.
        since: The optimizer step after which they were dropped.
        bound: By layer, the filters that are out with them because they hear nobody else.
        silence: Keeps what is out at 0 while it is out.

    Args:
        model: Whose filters they are. Several recipes on one model know of each other's.
    """

    def __init__(self, model: nn.Module) -> None:
        self._beside = _RESTING.setdefault(model, WeakSet())
        self._beside.add(self)
        self.masks: dict[str, Tensor] = {}
        self.scores: dict[str, Tensor] = {}
        self.since = -1
        self.bound: dict[str, tuple[int, ...]] = {}
        self.silence = Silence()
        self._parts: dict[str, list[tuple[Part, Tensor]]] = {}  # with what they were, by name
        # What the optimizer remembered of each part, by name and key.
        self._memory: dict[str, dict[str, list[Tensor]]] = {}
        self._buffers: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any filter is out."""
        return bool(self.masks)

    @property
    def filters(self) -> dict[str, tuple[int, ...]]:
        """The filters that are out, by layer."""
        return {layer: tuple(mask.nonzero()[:, 0].tolist()) for layer, mask in self.masks.items()}

    def out_elsewhere(self, counts: Mapping[str, int]) -> dict[str, Tensor]:
        """The filters that other recipes have out: they are none of this one's business.

        Args:
            counts: Number of filters by layer.

        Returns:
            (O,) by layer, of layers where there are any.
        """
        found: dict[str, Tensor] = {}
        for each in self._beside:
            for layer, gone in () if each is self else (*each.filters.items(), *each.bound.items()):
                if layer in counts:
                    mask = found.setdefault(
                        layer, torch.zeros(counts[layer], dtype=torch.bool, device="cpu")
                    )
                    mask[list(gone)] = True
        return found

    def silence_again_(self, edits: Sequence[Edit], tensors: Mapping[str, Tensor]) -> None:
        """Another renewal has written into what other recipes keep silent: it is heard when that comes back.

        Args:
            edits: What was written.
            tensors: Parameters and buffers by name.
        """
        for each in self._beside:
            if each is not self:
                each._adopt(edits, tensors)

    def _adopt(self, edits: Sequence[Edit], tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for edit in edits:
                tensor = tensors[edit.name]
                for number, (part, values) in enumerate(self._parts.get(edit.name, ())):
                    written = part.read(edit.mask.to(tensor.device).expand(tensor.shape))
                    now = torch.where(written, part.read(tensor.detach()), values.to(tensor))
                    self._parts[edit.name][number] = part, now
                for part, _ in self._parts.get(edit.name, ()) if edit.is_parameter else ():
                    part.fill_(tensor, 0.0)

    def begin(self, decision: Decision, *, step: int) -> None:
        """Note who is going to be dropped.

        Args:
            decision: Masks and scores.
            step: The optimizer step.
        """
        self.masks = {layer: mask.cpu() for layer, mask in decision.masks.items()}
        self.scores = {layer: decision.scores[layer].cpu() for layer in decision.masks}
        self.since = step

    def take_out_(self, edits: Iterable[Edit], tensors: Mapping[str, Tensor]) -> None:
        """Remember what is there, and silence it.

        Args:
            edits: Numbers to be written; the zeros among them stay zero from here on.
            tensors: Parameters and buffers by name.
        """
        silenced = [(edit, Part.of(edit.mask.to(tensors[edit.name].device))) for edit in edits]
        # All before the first is written: an entry may be silenced twice.
        whole = {edit.name: self._whole(edit.name, tensors[edit.name]) for edit, _ in silenced}
        for edit, part in silenced:
            values = part.read(whole[edit.name])
            self._parts.setdefault(edit.name, []).append((part, values))
            if not edit.is_parameter:
                self._buffers.add(edit.name)
        with torch.no_grad():
            for edit, part in silenced:
                part.fill_(tensors[edit.name], float(edit.value))
        self._hold(tensors)

    def _whole(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor with what other recipes have silenced in it: whoever comes back last must know what was there."""
        held = [
            part for each in self._beside if each is not self for part in each._parts.get(name, ())
        ]
        whole = tensor.detach().clone() if held else tensor.detach()
        for part, values in held:
            part.write_(whole, values.to(whole))
        return whole

    def keep_memory(self, name: str, remembered: Mapping[str, Tensor]) -> None:
        """Remember what the optimizer remembers of what is out, before it is cleared.

        Args:
            name: Of a parameter.
            remembered: By key, a tensor of the parameter's shape.
        """
        if name in self._parts and remembered:
            self._memory[name] = {
                key: [part.read(value) for part, _ in self._parts[name]]
                for key, value in remembered.items()
            }

    def put_memory_back_(self, name: str, remembered: Mapping[str, Tensor]) -> None:
        """Write what `keep_memory` kept.

        Args:
            name: Of a parameter.
            remembered: As there. Written.
        """
        for key, kept in self._memory.get(name, {}).items():
            if key in remembered:
                for (part, _), values in zip(self._parts[name], kept, strict=True):
                    part.write_(remembered[key], values.to(remembered[key]))

    def put_back_(self, tensors: Mapping[str, Tensor]) -> None:
        """Write everything that was silenced as it was.

        Args:
            tensors: Parameters and buffers by name.
        """
        with torch.no_grad():
            for name, parts in self._parts.items():
                for part, values in parts:
                    part.write_(tensors[name], values.to(tensors[name]))

    def _hold(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = self._parts.keys() - self._buffers
        self.silence.begin(
            {name: [part for part, _ in self._parts[name]] for name in parameters}, tensors
        )

    def leave(self) -> None:
        """Other recipes need not know of these filters any more."""
        self._beside.discard(self)

    def edits(self, tensors: Mapping[str, Tensor]) -> list[Edit]:
        """What is out, as edits that write what the tensors hold now.

        Args:
            tensors: Parameters and buffers by name.

        Returns:
            One edit a tensor, with a mask of its shape.
        """
        return [
            Edit(
                name=name,
                mask=self._mask(name, tensors[name]),
                value=tensors[name].detach(),
                is_parameter=name not in self._buffers,
            )
            for name in self._parts
        ]

    def _mask(self, name: str, tensor: Tensor) -> Tensor:
        mask = torch.zeros(tensor.shape, dtype=torch.bool, device=tensor.device)
        for part, _ in self._parts[name]:
            part.fill_(mask, True)
        return mask

    def end(self) -> None:
        """The network is whole again."""
        self.silence.end()
        self.masks, self.scores, self._parts, self._memory = {}, {}, {}, {}
        self.bound = {}
        self._buffers = set()
        self.since = -1

    def state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Tensors by name, and the step.

        Args:
            tensors: Parameters and buffers by name.

        Returns:
            ``frozen``: masks of the tensors' shapes; ``saved``: what the masked entries were; ``memory``: what the
            optimizer remembered of them, by key, where that is kept.
        """
        saved: dict[str, Tensor] = {}
        memory: dict[str, dict[str, Tensor]] = {}
        for name, parts in self._parts.items():
            whole = torch.zeros_like(tensors[name].detach())
            saved[name] = _filled(whole, parts)
            memory[name] = {
                key: _filled(
                    whole, [(part, one) for (part, _), one in zip(parts, kept, strict=True)]
                )
                for key, kept in self._memory.get(name, {}).items()
            }
        return {
            "masks": dict(self.masks),
            "scores": dict(self.scores),
            "frozen": {name: self._mask(name, tensors[name]) for name in self._parts},
            "saved": saved,
            "memory": {name: kept for name, kept in memory.items() if kept},
            "since": self.since,
        }

    def load_state_dict(
        self,
        state: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        *,
        parameters: Collection[str],
    ) -> None:
        """Go on from a saved state, which `regrow.loop.saving.check_resting` has let pass.

        Args:
            state: What `state_dict` gave.
            tensors: Parameters and buffers by name: where the saved ones go.
            parameters: The names of those that are parameters.
        """
        self.end()
        self.masks = {layer: mask.to("cpu") for layer, mask in state["masks"].items()}
        self.scores = {layer: scores.to("cpu") for layer, scores in state["scores"].items()}
        self.since = int(state["since"])
        for name, mask in state["frozen"].items():
            tensor = tensors[name]
            saved = state["saved"][name].to(tensor)
            parts = parts_of(mask.to(tensor.device))
            self._parts[name] = [(part, part.read(saved)) for part in parts]
            remembered = state.get("memory", {}).get(name, {})
            self.keep_memory(
                name, {key: value.to(tensor.device) for key, value in remembered.items()}
            )
        self._buffers = set(self._parts) - set(parameters)
        self._hold(tensors)


def _filled(whole: Tensor, parts: Iterable[tuple[Part, Tensor]]) -> Tensor:
    """Zeros of a tensor's shape, but for some parts."""
    full = whole.clone()
    for part, values in parts:
        full = full.to(torch.promote_types(full.dtype, values.dtype))
        part.write_(full, values.to(full))
    return full
