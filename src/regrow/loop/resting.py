"""Filters that are out of the network: what they were, and that nothing moves them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from regrow.compose import Decision
from regrow.errors import StateError
from regrow.loop.parts import Part, parts_of
from regrow.renewal import Edit

_RESTING: WeakKeyDictionary[nn.Module, WeakSet[Resting]] = WeakKeyDictionary()
"""Of all recipes that are at work on a model."""


class Resting:
    """What is kept of dropped filters until they come back.

    Attributes:
        masks: By layer, (O,), True = out of the network. Empty while the network is whole.
        scores: By layer, the scores for which they were dropped.
        since: The optimizer step after which they were dropped.

    Args:
        model: Whose filters they are. Several recipes on one model know of each other's.
    """

    def __init__(self, model: nn.Module) -> None:
        self._beside = _RESTING.setdefault(model, WeakSet())
        self._beside.add(self)
        self.masks: dict[str, Tensor] = {}
        self.scores: dict[str, Tensor] = {}
        self.since = -1
        self._parts: dict[str, list[tuple[Part, Tensor]]] = {}  # with what they were, by name
        self._buffers: set[str] = set()
        self._cleared: dict[
            str, tuple[Tensor, int]
        ] = {}  # gradients of this step, and their versions
        self._hooks: list[RemovableHandle] = []

    def __bool__(self) -> bool:
        """Whether any filter is out."""
        return bool(self.masks)

    @property
    def filters(self) -> dict[str, tuple[int, ...]]:
        """The filters that are out, by layer."""
        return {layer: tuple(mask.nonzero()[:, 0].tolist()) for layer, mask in self.masks.items()}

    def out_elsewhere(self, layer: str) -> Tensor | None:
        """The filters that another recipe has taken out: they are none of this one's business.

        Args:
            layer: Module path.

        Returns:
            (O,), or None.
        """
        masks = [
            each.masks[layer] for each in self._beside if each is not self and layer in each.masks
        ]
        return torch.stack(masks).any(0) if masks else None

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
                    now = torch.where(written, part.read(tensor.detach()), values)
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
        for (
            edit,
            part,
        ) in silenced:  # all before the first is written: an entry may be silenced twice
            values = part.read(tensors[edit.name].detach())
            self._parts.setdefault(edit.name, []).append((part, values))
            if not edit.is_parameter:
                self._buffers.add(edit.name)
        with torch.no_grad():
            for edit, part in silenced:
                part.fill_(tensors[edit.name], float(edit.value))
        self._hold(tensors)

    def put_back_(self, tensors: Mapping[str, Tensor]) -> None:
        """Write everything that was silenced as it was.

        Args:
            tensors: Parameters and buffers by name.
        """
        with torch.no_grad():
            for name, parts in self._parts.items():
                for part, values in parts:
                    part.write_(tensors[name], values.to(tensors[name].device))

    def freeze(self, tensors: Mapping[str, Tensor]) -> None:
        """Take away the gradient of what is out: with it zero, and value and memory zero, no optimizer moves it.

        The gradients' hooks do it as soon as a gradient is there, so that nobody counts it who looks at gradients
        before the step (clipping by norm, say). This is for gradients that came another way.

        Args:
            tensors: Parameters by name.
        """
        for name in self._parts.keys() - self._buffers:
            gradient, version = self._cleared.get(name, (None, -1))
            tensor = tensors[name]
            if gradient is None or gradient is not tensor.grad or version != gradient._version:
                self._clear(name, tensor)
        self._cleared.clear()

    def _clear(self, name: str, tensor: Tensor) -> None:
        gradient = tensor.grad
        if gradient is not None:
            with torch.no_grad():
                for part, _ in self._parts.get(name, ()):
                    part.clear_(gradient)
            self._cleared[name] = gradient, gradient._version

    def _hold(self, tensors: Mapping[str, Tensor]) -> None:
        for name in self._parts.keys() - self._buffers:
            if tensors[name].requires_grad:
                clear: Callable[[Tensor], None] = partial(self._clear, name)
                self._hooks.append(tensors[name].register_post_accumulate_grad_hook(clear))

    def release(self) -> None:
        """Let gradients through from here on."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._cleared = {}

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
        self.release()
        self.masks, self.scores, self._parts = {}, {}, {}
        self._buffers = set()
        self.since = -1

    def state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Tensors by name, and the step.

        Args:
            tensors: Parameters and buffers by name.

        Returns:
            ``frozen``: masks of the tensors' shapes; ``saved``: what the masked entries were.
        """
        saved: dict[str, Tensor] = {}
        for name, parts in self._parts.items():
            saved[name] = torch.zeros_like(tensors[name].detach())
            for part, values in parts:
                part.write_(saved[name], values)
        return {
            "masks": dict(self.masks),
            "scores": dict(self.scores),
            "frozen": {name: self._mask(name, tensors[name]) for name in self._parts},
            "saved": saved,
            "since": self.since,
        }

    @staticmethod
    def check_state(
        state: object, tensors: Mapping[str, Tensor], *, counts: Mapping[str, int]
    ) -> None:
        """Raise what `load_state_dict` cannot work with, and change nothing.

        Args:
            state: What is to be loaded.
            tensors: Parameters and buffers by name.
            counts: Number of filters by layer.

        Raises:
            StateError: It is not whole, or of another network.
        """
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
        if (
            whole["frozen"].keys() != whole["saved"].keys()
            or whole["masks"].keys() != whole["scores"].keys()
        ):
            raise StateError("the saved state of dropped filters is not whole")

    def load_state_dict(
        self, state: Mapping[str, Any], tensors: Mapping[str, Tensor], *, parameters: Iterable[str]
    ) -> None:
        """Go on from a saved state.

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
            saved = state["saved"][name].to(tensor.device)
            self._parts[name] = [
                (part, part.read(saved)) for part in parts_of(mask.to(tensor.device))
            ]
        self._buffers = set(self._parts) - set(parameters)
        self._hold(tensors)
