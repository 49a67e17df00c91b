"""Filters that are out of the network: what they were, and that nothing moves them meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from regrow.compose import Decision
from regrow.renewal import Edit


class Resting:
    """What is kept of dropped filters until they come back.

    Attributes:
        masks: By layer, (O,), True = out of the network. Empty while the network is whole.
        scores: By layer, the scores for which they were dropped.
        since: The optimizer step after which they were dropped.
    """

    def __init__(self) -> None:
        self.masks: dict[str, Tensor] = {}
        self.scores: dict[str, Tensor] = {}
        self.since = -1
        self._frozen: dict[str, Tensor] = {}  # masks by parameter name
        self._saved: dict[str, Tensor] = {}  # what the masked entries were

    def __bool__(self) -> bool:
        """Whether any filter is out."""
        return bool(self.masks)

    @property
    def filters(self) -> dict[str, tuple[int, ...]]:
        """The filters that are out, by layer."""
        return {layer: tuple(mask.nonzero()[:, 0].tolist()) for layer, mask in self.masks.items()}

    def begin(self, decision: Decision, *, step: int) -> None:
        """Note who is going to be dropped.

        Args:
            decision: Masks and scores.
            step: The optimizer step.
        """
        self.masks = {layer: mask.cpu() for layer, mask in decision.masks.items()}
        self.scores = {layer: decision.scores[layer].cpu() for layer in decision.masks}
        self.since = step

    def keep(self, edits: Iterable[Edit], tensors: Mapping[str, Tensor]) -> None:
        """Remember what is about to be set to zero.

        Args:
            edits: The zeros.
            tensors: Parameters by name, still with their values.
        """
        for edit in edits:
            tensor = tensors[edit.name].detach()
            mask = edit.mask.to(tensor.device).expand(tensor.shape)
            if edit.name in self._frozen:
                # An entry may be set to zero twice (a filter's own weight that reads a dropped one).
                new = mask & ~self._frozen[edit.name]
                self._saved[edit.name] = torch.where(new, tensor, self._saved[edit.name])
                self._frozen[edit.name] = mask | self._frozen[edit.name]
            else:
                self._saved[edit.name] = torch.where(mask, tensor, 0.0)
                self._frozen[edit.name] = mask.clone()

    def freeze(self, tensors: Mapping[str, Tensor]) -> None:
        """Take away the gradient of what is out: with it zero, and value and memory zero, no optimizer moves it.

        Args:
            tensors: Parameters by name.
        """
        with torch.no_grad():
            for name, mask in self._frozen.items():
                grad = tensors[name].grad
                if grad is not None:
                    grad.masked_fill_(mask, 0.0)

    def restored(self) -> list[Edit]:
        """Everything as it was before the drop."""
        return [
            Edit(name=name, mask=mask, value=self._saved[name])
            for name, mask in self._frozen.items()
        ]

    def end(self) -> None:
        """The network is whole again."""
        self.masks, self.scores, self._frozen, self._saved = {}, {}, {}, {}
        self.since = -1

    def state_dict(self) -> dict[str, Any]:
        """Tensors by name, and the step."""
        return {
            "masks": dict(self.masks),
            "scores": dict(self.scores),
            "frozen": dict(self._frozen),
            "saved": dict(self._saved),
            "since": self.since,
        }

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` gave.
            tensors: Parameters by name: where the saved ones go.
        """
        self.masks = {layer: mask.to("cpu") for layer, mask in state["masks"].items()}
        self.scores = {layer: scores.to("cpu") for layer, scores in state["scores"].items()}
        self.since = int(state["since"])
        self._frozen, self._saved = (
            {name: value.to(tensors[name].device) for name, value in state[part].items()}
            for part in ("frozen", "saved")
        )
