"""The work of a convolution on one portion of networks and samples: the views that it needs, made once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regrow.engine.places import multiply_


@dataclass(frozen=True, kw_only=True)
class ForwardPiece:
    """Unfold and multiply."""

    given: Tensor  # the input
    inside: Tensor | None  # where it goes in the input with a border; None where there is no border
    windows: Tensor  # the input with its border, as U is filled from it
    unfolded: Tensor  # U, (..., C, KW, H, W_out, b)
    # Weights (..., O, F) and rows of U (..., F, P) of each row of the kernel.
    products: tuple[tuple[Tensor, Tensor], ...]
    out: Tensor  # (..., O, P)

    def run(self) -> None:
        """Fill U and the output."""
        if self.inside is not None:
            self.inside.copy_(self.given)
        self.unfolded.copy_(self.windows)
        beta = 0.0
        for weight, rows in self.products:
            multiply_(self.out, weight, rows, beta=beta)
            beta = 1.0


@dataclass(frozen=True, kw_only=True)
class WeightPiece:
    """Gradients of the weights, from U as the forward pass has left it."""

    grad: Tensor  # of the output, (..., O, P)
    # Gradients of the weights (..., O, F) and turned rows of U (..., P, F).
    products: tuple[tuple[Tensor, Tensor], ...]
    # Gradient of the bias, (..., O); None where there is none, or the products have it.
    shift: Tensor | None = None
    # 0 for the first tile of a network, which writes over the gradients of the step before; 1 for the others.
    beta: float

    def run(self) -> None:
        """Add this tile's share."""
        for grad, rows in self.products:
            multiply_(grad, self.grad, rows, beta=self.beta)
        if self.shift is not None and self.beta:
            self.shift.add_(self.grad.sum(-1))
        elif self.shift is not None:
            torch.sum(self.grad, -1, out=self.shift)


@dataclass(frozen=True, kw_only=True)
class InputPiece:
    """Gradient of the input: that of U by the turned weights, folded."""

    grad: Tensor  # of the output, (..., O, P)
    # Parts of U's gradient (..., F, P) and turned weights (..., F, O).
    products: tuple[tuple[Tensor, Tensor], ...]
    below: Tensor  # where the first product does not reach
    # U's gradient at each of the kernel's columns, and where it goes.
    taps: tuple[tuple[Tensor, Tensor], ...]
    right: Tensor  # what the first of them does not reach
    # Of the gradient with its border, what is the input's; None where there is no border.
    inside: Tensor | None
    out: Tensor  # gradient of the input

    def run(self) -> None:
        """Multiply and fold."""
        beta = 0.0
        for part, weight in self.products:
            multiply_(part, weight, self.grad, beta=beta)
            # The first product writes the upper rows. Below them U's own numbers are still there, and the others add to
            # them.
            if not beta:
                self.below.zero_()
            beta = 1.0
        (part, place), *others = self.taps
        place.copy_(part)
        # The first column covers W_out of the input's columns. What is right of it holds earlier numbers still.
        self.right.zero_()
        for part, place in others:
            place.add_(part)
        if self.inside is not None:
            self.out.copy_(self.inside)
