"""Batch normalisation with torch's own kernel: a network at a time, its maps as rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regrow.engine.layers.base import Layer, Setting, maps_of
from regrow.engine.places import At
from regrow.engine.steps import BatchNorm2dStep
from regrow.errors import ShapeError

_norm = torch.ops.aten.native_batch_norm.out
_norm_backward = torch.ops.aten.native_batch_norm_backward.default


class BatchNorm2d(Layer):
    """What `torch.nn.BatchNorm2d` does, in training or evaluation as each network's module is set.

    In batch-last memory a channel's numbers lie in one row a tile: for the kernel, the tiles are the samples, and all
    positions of all samples of a tile are positions. The kernel sees the channels of one network only, on the CPU;
    elsewhere the N * C channels of all, and all must be in the same mode then.
    """

    def __init__(self, step: BatchNorm2dStep, source: Layer, setting: Setting) -> None:
        height, width = maps_of(source, channels=step.channels, path=step.path)
        self._numbers = height * width * setting.places.samples
        self._step, self._source, self._setting = step, source, setting
        self.out = setting.places.maps(step.channels, height, width)
        self.grad = setting.places.zeros(*self.out.shape) if setting.learns else None
        modules = [model.get_submodule(step.path) for model in setting.models]
        self._modules = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        # The mean over all batches has a share that depends on their number, which is on the device: not read there.
        self._averages = setting.places.batched and step.tracks and step.momentum is None
        self._saved: list[tuple[Tensor, Tensor, bool]] = []
        count = step.channels * (setting.places.networks if setting.places.batched else 1)
        self._moments = [
            (self.out.new_empty(count), self.out.new_empty(count)) for _ in setting.places.each
        ]

    def forward(self) -> None:
        """Normalise, and move the running statistics of networks in training."""
        self._saved = []
        for number, at in enumerate(self._setting.places.each):
            module = self._modules[number]
            batch = module.training or not self._step.tracks
            if batch and self._numbers == 1:
                raise ShapeError(
                    f"'{self._step.path}' must have more than one number a channel in training"
                )
            mean, var = self._values("running_mean", at), self._values("running_var", at)
            if batch and self._averages:
                mean, var = (torch.zeros_like(self._moments[0][0]) for _ in range(2))
            saved = self._moments[number]
            scale, shift = self._values("weight", at), self._values("bias", at)
            _norm(
                self._rows(self._source.out, at),
                scale,
                shift,
                mean,
                var,
                batch,
                self._share(number) if batch else 0.0,
                self._step.eps,
                out=self._rows(self.out, at),
                save_mean=saved[0],
                save_invstd=saved[1],
            )
            if batch and mean is not None and var is not None:
                self._bring("running_mean", at, mean)
                self._bring("running_var", at, var)
            self._saved.append((*saved, batch))

    def backward(self) -> None:
        """Torch's own, for each network."""
        if self.grad is None:
            return
        to = self._source.grad
        for at, (mean, scale, batch) in zip(self._setting.places.each, self._saved, strict=True):
            asked = [to is not None, self._step.affine, self._step.affine]
            maps, weights, biases = _norm_backward(
                self._rows(self.grad, at),
                self._rows(self._source.out, at),
                self._values("weight", at),
                self._values("running_mean", at),
                self._values("running_var", at),
                mean,
                scale,
                batch,
                self._step.eps,
                asked,
            )
            if to is not None:
                self._rows(to, at).copy_(maps)
            if self._step.affine:
                for name, value in (("weight", weights), ("bias", biases)):
                    place = self._setting.gradient(self._step.path, name)[at]
                    place.copy_(value.view(place.shape))

    def _share(self, number: int) -> float:
        """Of this batch in the running statistics; it is counted here, as torch does it before the kernel."""
        if not self._step.tracks:
            return 0.0
        portion = self._modules if self._setting.places.batched else [self._modules[number]]
        counts = [
            each.num_batches_tracked for each in portion if each.num_batches_tracked is not None
        ]
        torch._foreach_add_(counts, 1)  # pyright: ignore[reportPrivateUsage]
        if self._step.momentum is not None:
            return self._step.momentum
        return 1.0 if self._averages else 1.0 / float(counts[0])

    def _rows(self, maps: Tensor, at: At) -> Tensor:
        """(T, C, P) of a network, (1, N * C, P) of all; views."""
        part = maps[at]
        return part.flatten(0, 2)[None].flatten(2) if part.ndim == 6 else part.flatten(2)

    def _values(self, name: str, at: At) -> Tensor | None:
        """A view of one network's, or a copy of all (`_bring` brings statistics back); None where there are none."""
        there = self._step.tracks if name.startswith("running") else self._step.affine
        return self._setting.value(self._step.path, name)[at].flatten() if there else None

    def _bring(self, name: str, at: At, newest: Tensor) -> None:
        """Put statistics in their place; of a mean over all batches, move each network's by its newest."""
        place = self._setting.value(self._step.path, name)[at]
        if self._averages:  # on the device, without waiting for it
            counts = [each.num_batches_tracked for each in self._modules]
            share = torch.stack([each for each in counts if each is not None]).to(place.dtype)
            place.lerp_(newest.view(place.shape), share.reciprocal_()[:, None].expand(place.shape))
        elif place.data_ptr() != newest.data_ptr():
            place.copy_(newest.view(place.shape))
