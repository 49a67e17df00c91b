"""Filters that are out of the network: who they are, what they were, and that nothing moves them meanwhile.

Held by `loop/drop/phase`, which says when; `loop/drop/zeros` keeps the entries at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from regrow.decision import Decision
from regrow.errors import StateError
from regrow.loop.drop.slices import Part, parts_of
from regrow.loop.drop.zeros import HeldZeros
from regrow.renewal import Absence, Edit

_ABSENT: WeakKeyDictionary[nn.Module, WeakSet[AbsentFilters]] = WeakKeyDictionary()
"""Of all recipes that are at work on a model."""


def absent_from(model: nn.Module) -> WeakSet[AbsentFilters]:
    """Who has filters out of a model at the moment, of all recipes on it: it grows and shrinks as they come and go."""
    return _ABSENT.setdefault(model, WeakSet())


class AbsentFilters:
    """What is kept of dropped filters until they come back; recipes on one model know of each other's filters."""

    def __init__(self, model: nn.Module, absence: Absence | None) -> None:
        self._everybody = absent_from(model)  # whose filters are out, for as long as they are
        # What is silent with filters that are out; None where nothing is dropped.
        self._absence = absence
        self._parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        # By layer, (O,), True = out of the network. Empty while the network is whole.
        self.masks: dict[str, Tensor] = {}
        self.scores: dict[str, Tensor] = {}  # by layer, the scores for which they were dropped
        self.since = -1  # the optimizer step after which they were dropped
        # By layer, the filters that are out with them because they read nothing else.
        self.bound: dict[str, tuple[int, ...]] = {}
        self.zeros = HeldZeros()  # keeps what is out at 0 while it is out
        self._parts: dict[str, list[tuple[Part, Tensor]]] = {}  # with what they were, by name
        # The optimizer's state of each part, by name and key.
        self._state: dict[str, dict[str, list[Tensor]]] = {}

    def __bool__(self) -> bool:
        return bool(self.masks)

    @property
    def filters(self) -> dict[str, tuple[int, ...]]:
        """The filters that are out, by layer."""
        return {layer: tuple(mask.nonzero()[:, 0].tolist()) for layer, mask in self.masks.items()}

    def _others(self) -> list[AbsentFilters]:
        return [each for each in self._everybody if each is not self]

    def adopt_(self, edits: Sequence[Edit], tensors: Mapping[str, Tensor]) -> None:
        """Another renewal has written into what is out: it is heard when that comes back, and silenced until then."""
        with torch.no_grad():
            for edit in edits:
                tensor = tensors[edit.name]
                for number, (part, values) in enumerate(self._parts.get(edit.name, ())):
                    written = part.read(edit.mask.to(tensor.device).expand(tensor.shape))
                    now = torch.where(written, part.read(tensor.detach()), values.to(tensor))
                    self._parts[edit.name][number] = part, now
                for part, _ in self._parts.get(edit.name, ()) if edit.is_parameter else ():
                    part.fill_(tensor, 0.0)

    def adopted_by_others_(self, edits: Sequence[Edit], tensors: Mapping[str, Tensor]) -> None:
        """What comes back here may be silent still for another recipe."""
        for each in self._others():
            each.adopt_(edits, tensors)

    def begin(self, decision: Decision, *, step: int) -> None:
        """Note who is going to be dropped."""
        self.masks = {layer: mask.cpu() for layer, mask in decision.masks.items()}
        self.scores = {layer: decision.scores[layer].cpu() for layer in decision.masks}
        self.since = step
        self._bind()
        self._everybody.add(self)

    def _bind(self) -> None:
        self.bound = {} if self._absence is None else self._absence.bound(self.masks)

    def take_out_(self, edits: Iterable[Edit], tensors: Mapping[str, Tensor]) -> None:
        """Remember what is there, and silence it."""
        silenced = [(edit, Part.of(edit.mask.to(tensors[edit.name].device))) for edit in edits]
        # All before the first is written: an entry may be silenced twice.
        whole = {edit.name: self._whole(edit.name, tensors[edit.name]) for edit, _ in silenced}
        for edit, part in silenced:
            values = part.read(whole[edit.name])
            self._parts.setdefault(edit.name, []).append((part, values))
        with torch.no_grad():
            for edit, part in silenced:
                part.fill_(tensors[edit.name], float(edit.value))
        self._hold(tensors)

    def _whole(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor with what other recipes have silenced in it: whoever comes back last must know what was there."""
        held = [part for each in self._others() for part in each._parts.get(name, ())]
        whole = tensor.detach().clone() if held else tensor.detach()
        for part, values in held:
            part.write_(whole, values.to(whole))
        return whole

    def keep_state(self, name: str, own: Mapping[str, Tensor]) -> None:
        """Keep the optimizer's state of what is out, before it is cleared."""
        if name in self._parts and own:
            self._state[name] = {
                key: [part.read(value) for part, _ in self._parts[name]]
                for key, value in own.items()
            }

    def put_state_back_(self, name: str, own: Mapping[str, Tensor]) -> None:
        """Write what `keep_state` kept."""
        for key, kept in self._state.get(name, {}).items():
            if key in own:
                for (part, _), values in zip(self._parts[name], kept, strict=True):
                    part.write_(own[key], values.to(own[key]))

    def put_back_(self, tensors: Mapping[str, Tensor]) -> None:
        """Write everything that was silenced as it was."""
        with torch.no_grad():
            for name, parts in self._parts.items():
                for part, values in parts:
                    part.write_(tensors[name], values.to(tensors[name]))

    def _hold(self, tensors: Mapping[str, Tensor]) -> None:
        held = self._parts.keys() & self._parameters
        self.zeros.begin({name: [part for part, _ in self._parts[name]] for name in held}, tensors)

    def leave(self) -> None:
        """Other recipes need not know of these filters any more."""
        self._everybody.discard(self)

    def edits(self, tensors: Mapping[str, Tensor]) -> list[Edit]:
        """What is out, as edits that write what the tensors hold now."""
        return [
            Edit(
                name=name,
                mask=self._mask(name, tensors[name]),
                value=tensors[name].detach(),
                is_parameter=name in self._parameters,
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
        self.zeros.end()
        self.masks, self.scores, self._parts, self._state = {}, {}, {}, {}
        self.bound = {}
        self.since = -1
        self._everybody.discard(self)

    def state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Tensors by name, and the step."""
        saved: dict[str, Tensor] = {}
        of_optimizer: dict[str, dict[str, Tensor]] = {}
        for name, parts in self._parts.items():
            nothing, slices = torch.zeros_like(tensors[name].detach()), [part for part, _ in parts]
            saved[name] = _filled(nothing, parts)
            of_optimizer[name] = {
                key: _filled(nothing, zip(slices, kept, strict=True))
                for key, kept in self._state.get(name, {}).items()
            }
        return {
            "masks": dict(self.masks),
            "scores": dict(self.scores),
            "frozen": {name: self._mask(name, tensors[name]) for name in self._parts},
            "saved": saved,
            "memory": {name: kept for name, kept in of_optimizer.items() if kept},
            "since": self.since,
        }

    def check_state(
        self, state: object, tensors: Mapping[str, Tensor], counts: Mapping[str, int]
    ) -> None:
        """Refuse what `load_state_dict` cannot work with; `counts`: number of filters by layer."""
        needed = {"masks", "scores", "frozen", "saved", "since"}
        if not isinstance(state, Mapping) or needed - set(cast("Mapping[str, Any]", state)):
            raise StateError(
                f"the saved state of dropped filters must have {', '.join(sorted(needed))}"
            )
        whole = cast("Mapping[str, Any]", state)
        for layer, mask in (*whole["masks"].items(), *whole["scores"].items()):
            if layer not in counts or tuple(mask.shape) != (counts[layer],):
                raise StateError(
                    f"the saved state has dropped filters of '{layer}', which is not so here"
                )
        for name, tensor in (*whole["frozen"].items(), *whole["saved"].items()):
            if name not in tensors or tensor.shape != tensors[name].shape:
                raise StateError(
                    f"the saved state silences {name}, which is not in this model, or of another shape"
                )
        for one, other in (("frozen", "saved"), ("masks", "scores")):
            if whole[one].keys() != whole[other].keys():
                raise StateError("the saved state of dropped filters is not whole")
        for name, mask in whole["frozen"].items():
            tensor = tensors[name].detach()
            if name in self._parameters and bool(tensor[mask.to(tensor.device)].any()):
                raise StateError(
                    f"the saved state has filters out of the network, and in {name} they are not 0: load the model's "
                    f"state first, of the same time"
                )

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Resume from a saved state, which `check_state` has let pass."""
        self.end()
        self.masks = {layer: mask.to("cpu") for layer, mask in state["masks"].items()}
        self.scores = {layer: scores.to("cpu") for layer, scores in state["scores"].items()}
        self.since = int(state["since"])
        for name, mask in state["frozen"].items():
            tensor = tensors[name]
            saved = state["saved"][name].to(tensor)
            parts = parts_of(mask.to(tensor.device))
            self._parts[name] = [(part, part.read(saved)) for part in parts]
            own = state.get("memory", {}).get(name, {})
            self.keep_state(name, {key: value.to(tensor.device) for key, value in own.items()})
        self._hold(tensors)
        self._bind()
        if self.masks:
            self._everybody.add(self)


def _filled(whole: Tensor, parts: Iterable[tuple[Part, Tensor]]) -> Tensor:
    """Zeros of a tensor's shape, but for some parts."""
    full = whole.clone()
    for part, values in parts:
        full = full.to(torch.promote_types(full.dtype, values.dtype))
        part.write_(full, values.to(full))
    return full
