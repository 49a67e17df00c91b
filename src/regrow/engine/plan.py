"""A program with memory for one size of batch: images in, logits out, gradients back."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from regrow.engine.layers import Images, Layer, Linear, Setting, layer_of
from regrow.engine.loss import LOSSES, NO_PART, Loss, LossName
from regrow.engine.program import Program
from regrow.errors import ShapeError


class Plan:
    """The layers of a stack for batches of one size."""

    def __init__(
        self,
        program: Program,  # what is computed
        setting: Setting,  # where
        *,
        shape: tuple[int, ...],  # of one image
        shared: bool,  # all networks see the same images
        loss: LossName,  # of what
    ) -> None:
        if len(shape) not in (1, 3):
            raise ShapeError(f"an image must have axes (C, H, W) or (F,), got {shape} (Stack)")
        self._given = Images(setting.places, shape, shared=shared)
        layers: list[Layer] = []
        last: Layer = self._given
        self._heard: dict[str, Layer] = {}
        self._dense: dict[str, Linear] = {}
        for step in program.steps:
            # What a layer hears is what the one before gives, in that one's own memory: nothing is kept for it.
            self._heard[step.path] = last
            last = layer_of(step, last, setting)
            layers.append(last)
            if isinstance(last, Linear):
                self._dense[step.path] = last
        if last.out.ndim != 3:
            raise ShapeError("the last layer must give (B, K) logits: flatten the maps (Stack)")
        self._layers, self._backwards, self._out = layers, layers[::-1], last.out
        grad = torch.empty_like(last.out) if last.grad is None else last.grad
        self.loss: Loss = LOSSES[loss](last.out, grad)

    @property
    def columns(self) -> Tensor | None:
        """Where the images go, (N, pixels, B); None where they do not lie so."""
        return self._given.columns

    def forward(self, images: Tensor | None, *, outputs: Tensor | None = None) -> Tensor:
        """From images, or what lies in `columns`, to logits, (N, K, B), this plan's memory; `outputs` as in `Stack`."""
        if images is not None:
            self._given.take(images)
        for layer in self._layers:
            layer.forward()
        logits = self._out
        if outputs is not None:
            places = torch.arange(logits.shape[1], device=logits.device)[:, None]
            logits.masked_fill_(places >= outputs[:, None, None], NO_PART)
        return logits

    def backward(
        self, *, rates: tuple[float, ...] | Tensor | None = None, folded: Collection[str] = ()
    ) -> None:
        """From the gradient that the loss has left to those of the parameters; `folded` layers take their step."""
        for path, layer in self._dense.items():
            layer.rates = rates if path in folded else None
        for layer in self._backwards:
            layer.backward()

    def heard(self, path: str, network: int) -> Tensor:
        """What a layer was called with in the last pass, with the axes that torch's layer has."""
        found = self._heard[path].out[network]
        return found.t() if found.ndim == 2 else found.permute(0, 4, 1, 2, 3).flatten(0, 1)
