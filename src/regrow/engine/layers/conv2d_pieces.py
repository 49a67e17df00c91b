"""The work of a convolution on one portion of networks and samples: the views that it needs, made once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from regrow.engine.places import multiply_


@dataclass(frozen=True, kw_only=True)
class ForwardPiece:
    """Unfold and multiply."""

    given: Tensor  # the input
    inside: Tensor | None  # where it goes in the input with a border; None where there is no border
    windows: Tensor  # the input with its border, as U is filled from it
    unfolded: Tensor  # u, (..., C, KW, H, W_out, b)
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
    beta: float  # 0 for the first tile of a network

    def run(self) -> None:
        """Add this tile's share."""
        for grad, rows in self.products:
            multiply_(grad, self.grad, rows, beta=self.beta)


@dataclass(frozen=True, kw_only=True)
class InputPiece:
    """Gradient of the input: that of U by the turned weights, folded."""

    grad: Tensor  # of the output, (..., O, P)
    # Parts of U's gradient (..., F, P) and turned weights (..., F, O).
    products: tuple[tuple[Tensor, Tensor], ...]
    below: Tensor  # where the first product does not reach
    first: tuple[Tensor, Tensor]  # u's gradient at the kernel's first column, and where it goes
    right: Tensor  # what it does not reach
    others: tuple[tuple[Tensor, Tensor], ...]  # the same of the other columns
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
        part, place = self.first
        place.copy_(part)
        # The first column covers W_out of the input's columns. What is right of it holds earlier numbers still.
        self.right.zero_()
        for part, place in self.others:
            place.add_(part)
        if self.inside is not None:
            self.out.copy_(self.inside)
