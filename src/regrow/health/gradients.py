"""The gradient of the mean loss over all batches, and what the optimizer would make of it: nothing is stepped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import ConfigError
from regrow.health.data import Batch
from regrow.health.optimizer_twin import optimizer_twin

Loss = Callable[[Any, Any], Tensor]
"""What the model gives, and targets, to the mean loss of the batch."""


def loss_of(given: Any, batch: Batch, loss: Loss | None) -> Tensor | None:
    """The mean loss of one batch; None where nothing is known to compare its output with.

    Without a loss of the user's it is what the model itself calls ``loss``, as transformers do where labels are among
    the arguments, or the cross entropy with the batch's targets.
    """
    if loss is not None:
        value = cast("object", loss(given, batch.targets))
    elif batch.targets is None:
        value = given.get("loss") if isinstance(given, Mapping) else getattr(given, "loss", None)
        if not isinstance(value, Tensor):
            return None
    elif isinstance(given, Tensor):
        try:
            value = cast("object", nn.functional.cross_entropy(given, batch.targets))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ConfigError(
                f"loss must be given: cross entropy, which is taken without one, does not take the model's output of "
                f"shape {tuple(given.shape)} with these targets: {error} (inspect)"
            ) from error
    else:
        raise ConfigError(
            f"loss must be given where the model's output is a {type(given).__name__}: a function of the output and "
            "the targets (inspect)"
        )
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(
            "loss must give one number that depends on the trained parameters, the mean over the batch, got "
            f"{came} (inspect)"
        )
    return value.reshape(())


class MeanGradient:
    """Summed over batches by their examples; what the parameters hold in ``.grad`` stays."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._trained = {
            name: each for name, each in parameters.items() if each.requires_grad and each.is_leaf
        }
        self._sums: dict[str, Tensor] = {}
        self._examples = 0
        self._loss = 0.0

    def add(self, loss: Tensor, examples: int) -> None:
        """One batch's mean loss."""
        grads = torch.autograd.grad(loss, list(self._trained.values()), allow_unused=True)
        found = cast("Sequence[Tensor | None]", grads)  # what the loss does not depend on has none
        for name, grad in zip(self._trained, found, strict=True):
            if grad is None:
                continue
            share = grad.to_dense() if grad.is_sparse else grad
            share = share.to(torch.promote_types(share.dtype, torch.float32)) * examples
            self._sums[name] = self._sums[name] + share if name in self._sums else share
        self._examples += examples
        self._loss += float(loss.detach()) * examples

    @property
    def possible(self) -> bool:
        """Whether any parameter is trained."""
        return bool(self._trained)

    @property
    def loss(self) -> float | None:
        """The mean loss."""
        return self._loss / self._examples if self._examples else None

    def mean(self) -> dict[str, Tensor]:
        """By name, of the parameters that the loss depends on."""
        return {name: each / self._examples for name, each in self._sums.items()}


def check_optimizer(optimizer: object, parameters: Mapping[str, Tensor]) -> Optimizer:
    """Refuse what is no optimizer, or holds none of the parameters."""
    inner = optimizer
    while not isinstance(inner, Optimizer) and hasattr(inner, "optimizer"):
        inner = cast("Any", inner).optimizer
    if not isinstance(inner, Optimizer):
        raise ConfigError(
            f"optimizer must be a torch optimizer, or hold one as its .optimizer, got {type(optimizer).__name__} "
            "(inspect)"
        )
    own = {id(each) for each in parameters.values()}
    if not any(id(each) in own for group in inner.param_groups for each in group["params"]):
        raise ConfigError("optimizer must hold parameters of the model, and holds none (inspect)")
    return inner


def next_steps(
    optimizer: Optimizer, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """How far the next step would move each tensor, and how long it is: made on copies, one tensor at a time."""
    names = {id(each): name for name, each in parameters.items()}
    found: dict[str, tuple[float, float]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names.get(id(parameter))
            if name is None or name not in gradients:
                continue
            moved = _stepped(optimizer, group, parameter, gradients[name])
            before = parameter.detach().float()
            way = float(torch.linalg.vector_norm(moved.float() - before))
            found[name] = way, float(torch.linalg.vector_norm(before))
    return found


def _stepped(
    optimizer: Optimizer, group: dict[str, Any], parameter: Tensor, gradient: Tensor
) -> Tensor:
    """A copy of one tensor after a step of a copy of its optimizer, with a copy of its state."""
    own = nn.Parameter(parameter.detach().clone())
    own.grad = gradient.to(own.dtype)
    state = copy.deepcopy(dict(optimizer.state.get(parameter, {})))
    twin = optimizer_twin(optimizer, [(group, [own])], {own: state} if state else None)
    try:
        with torch.enable_grad():
            twin.step()
    except Exception as error:
        raise ConfigError(
            f"{type(optimizer).__name__} must be able to step one tensor at a time, and raised "
            f"{type(error).__name__}: {error}: leave optimizer out (inspect)"
        ) from error
    return own.detach()
