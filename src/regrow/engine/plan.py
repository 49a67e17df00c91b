"""A program with memory for one size of batch: images in, logits out, gradients back."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from regrow.engine.answers import Answers
from regrow.engine.layers import Images, Layer, Linear, Setting, layer_of
from regrow.engine.loss import LOSSES, NO_PART, Loss, LossName, Reduction
from regrow.engine.memory import Memory
from regrow.engine.places import Places
from regrow.engine.program import Program
from regrow.errors import ShapeError


class Plan:
    """The layers of a stack for batches of one size.

    Raises:
        ShapeError: The images do not fit the first layer, or the last gives no logits.
    """

    def __init__(
        self,
        program: Program,  # what is computed
        models: Sequence[nn.Module],  # the networks
        memory: Memory,  # theirs
        *,
        places: Places,  # how activations lie
        shape: tuple[int, ...],  # of one image
        shared: bool,  # all networks see the same images
        learns: bool,  # with a backward pass
        loss: LossName = "cross-entropy",  # of what
    ) -> None:
        if len(shape) not in (1, 3):
            raise ShapeError(f"an image must have axes (C, H, W) or (F,), got {shape} (Stack)")
        setting = Setting(places=places, memory=memory, models=models, learns=learns)
        self._given = Images(places, shape, shared=shared)
        layers: list[Layer] = []
        last: Layer = self._given
        self._heard: dict[str, Layer] = {}
        for step in program.steps:
            # What a layer hears is what the one before gives, in that one's own memory: nothing is kept for it.
            self._heard[step.path] = last
            last = layer_of(step, last, setting)
            layers.append(last)
        if last.out.ndim != 3:
            raise ShapeError("the last layer must give (B, K) logits: flatten the maps (Stack)")
        self._layers, self._last = layers, last
        self._backwards = layers[::-1]
        grad = torch.empty_like(last.out) if last.grad is None else last.grad
        self._loss: Loss = LOSSES[loss](last.out, grad)
        self._dense = {
            step.path: layer
            for step, layer in zip(program.steps, layers, strict=True)
            if isinstance(layer, Linear)
        }

    def forward(self, images: Tensor) -> Tensor:
        """From images, (N, B, *shape) or shared (B, *shape), to logits, (N, K, B): this plan's memory."""
        self._given.take(images)
        self._run()
        return self._last.out

    def heard(self, path: str, network: int) -> Tensor:
        """What a layer was called with in the last pass, with the axes that torch's layer has.

        Returns:
            (B, C, H, W), or (B, F); this plan's memory, or a copy of it.
        """
        found = self._heard[path].out[network]
        return found.t() if found.ndim == 2 else found.permute(0, 4, 1, 2, 3).flatten(0, 1)

    def gradients(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        reduction: Reduction,
        rates: tuple[float, ...] | Tensor | None,
        folded: Collection[str],
    ) -> tuple[Tensor, Tensor]:
        """Both passes: loss and right answers of each network; dense layers in `folded` take their step at once."""
        self.forward(images)
        found = self._loss(labels, reduction=reduction)
        for path, layer in self._dense.items():
            layer.rates = rates if path in folded else None
        self._backward()
        return found

    def learn(
        self,
        images: Tensor | None,
        labels: Tensor,
        *,
        reduction: Reduction,
        answers: Answers,
        outputs: Tensor | None = None,
    ) -> None:
        """Both passes, and what was answered is kept.

        Args:
            images: As for `forward`; None: they lie in `columns` already.
            outputs: How many of each network's outputs take part, the first, (N,); None: all.
        """
        if images is None:
            self._run()
        else:
            self.forward(images)
        if outputs is not None:
            logits = self._last.out
            places = torch.arange(logits.shape[1], device=logits.device)[:, None]
            logits.masked_fill_(places >= outputs[:, None, None], NO_PART)
        self._loss.note(labels, reduction=reduction, answers=answers)
        for layer in self._dense.values():
            layer.rates = None
        self._backward()

    @property
    def columns(self) -> Tensor | None:
        """Where the images go, (N, pixels, B); None where they do not lie so."""
        return self._given.columns

    def _run(self) -> None:
        for layer in self._layers:
            layer.forward()

    def _backward(self) -> None:
        for layer in self._backwards:
            layer.backward()
