"""Layer normalisation over features, batch-last: `torch.nn.LayerNorm`'s arithmetic with its gradients by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regrow.engine.layers.base import Layer, Portions, Setting, features_of
from regrow.engine.places import At
from regrow.engine.steps import LayerNormStep


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """One portion of networks: the views that it needs, made once; a view takes as long as the sum of a layer."""

    given: Tensor  # x, (..., F, B)
    out: Tensor  # y
    normal: Tensor  # n
    scale: Tensor  # r, (..., 1, B)
    gain: Tensor | None  # g, (..., F, 1); None where there is none
    shift: Tensor | None  # b, likewise
    eps: float

    def run(self) -> None:
        """Fill n, r and y."""
        torch.sub(self.given, _mean(self.given, out=self.scale), out=self.normal)
        torch.mul(self.normal, self.normal, out=self.out)
        _mean(self.out, out=self.scale).add_(self.eps).rsqrt_()
        self.normal.mul_(self.scale)
        # A product that is broadcast and an addition: `addcmul` with a column takes as long as three of them.
        if self.gain is None:
            self.out.copy_(self.normal)
        else:
            torch.mul(self.normal, self.gain, out=self.out)
        if self.shift is not None:
            self.out.add_(self.shift)


@dataclass(frozen=True, kw_only=True)
class _BackPiece:
    """The way back of a portion."""

    ahead: _Piece  # its way there
    grad: Tensor  # of y, which becomes that of n, and is nobody's after that
    to: Tensor | None  # gradient of x; None where nobody asks for it
    gain: Tensor | None  # gradient of g, (..., F, 1); None where there is none
    shift: Tensor | None  # that of b, likewise
    spare: Tensor  # memory to work in, (..., F, B)
    mean: Tensor  # the same, (..., 1, B)

    def run(self) -> None:
        """Fill the gradients."""
        grad, normal, spare = self.grad, self.ahead.normal, self.spare
        if self.shift is not None:
            torch.sum(grad, -1, keepdim=True, out=self.shift)
        if self.gain is not None:
            torch.sum(torch.mul(grad, normal, out=spare), -1, keepdim=True, out=self.gain)
        if self.to is None:
            return
        if self.ahead.gain is not None:
            grad.mul_(self.ahead.gain)
        along = _mean(torch.mul(grad, normal, out=spare), out=self.mean)
        torch.mul(normal, along, out=spare)
        grad.sub_(_mean(grad, out=self.mean)).sub_(spare)
        torch.mul(grad, self.ahead.scale, out=self.to)


class LayerNorm(Portions):
    """y = g n + b with n = (x - m) r, sample by sample; m the mean of x over its F features, r = 1 / sqrt(var + eps).

    With d the gradient of y and e = g d, and the means over the features:

        dL/dg = sum over samples of d n     dL/db = sum of d     dL/dx = r (e - mean of e - n * mean of e n)
    """

    def __init__(self, step: LayerNormStep, source: Layer, setting: Setting) -> None:
        super().__init__()
        shape = features_of(source, features=step.features, path=step.path)
        places = setting.places
        # Not in place: recipes look at what comes in after the backward pass.
        self.out = places.zeros(*shape)
        self.grad = places.zeros(*shape) if setting.learns else None
        normal = places.zeros(*shape)
        scale, mean = (places.zeros(shape[0], 1, shape[2]) for _ in range(2))
        gain, shift = _learnt(step, setting.value)
        # Network by network on the CPU: a sum may go another way where there are more numbers.
        pieces = [
            _Piece(
                given=source.out[at],
                out=self.out[at],
                normal=normal[at],
                scale=scale[at],
                gain=_at(gain, at),
                shift=_at(shift, at),
                eps=step.eps,
            )
            for at in places.each
        ]
        self._forward = [piece.run for piece in pieces]
        if self.grad is None:
            return
        gain, shift = _learnt(step, setting.gradient)
        spare = places.zeros(*shape)
        for piece, at in zip(pieces, places.each, strict=True):
            back = _BackPiece(
                ahead=piece,
                grad=self.grad[at],
                to=_at(source.grad, at),
                gain=_at(gain, at),
                shift=_at(shift, at),
                spare=spare[at],
                mean=mean[at],
            )
            self._backward.append(back.run)


def _learnt(
    step: LayerNormStep, of: Callable[[str, str], Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias of all networks, or their gradients, (N, F, 1); None where there are none."""
    weight, bias = (
        of(step.path, name)[..., None] if name in step.learnt else None
        for name in ("weight", "bias")
    )
    return weight, bias


def _at(values: Tensor | None, at: At) -> Tensor | None:
    return None if values is None else values[at]


def _mean(values: Tensor, *, out: Tensor) -> Tensor:
    """Over the features: a sum and a division, which take half as long as torch's mean along this axis."""
    return torch.sum(values, -2, keepdim=True, out=out).div_(values.shape[-2])
