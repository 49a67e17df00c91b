"""The gradient of the mean loss over all batches, and what the optimizer would make of it: nothing is stepped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import ConfigError, TraceError
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
        value = own_loss(given)
        if value is None:
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


def own_loss(given: Any) -> Tensor | None:
    """What a model that works out its loss itself says of it."""
    value = given.get("loss") if isinstance(given, Mapping) else getattr(given, "loss", None)
    return value if isinstance(value, Tensor) else None


class MeanGradient:
    """Summed over batches by their examples; what the parameters hold in ``.grad`` stays."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._trained = [each for each in parameters if each.requires_grad and each.is_leaf]
        self._sums: dict[Tensor, Tensor] = {}
        self._examples = 0
        self._loss = 0.0

    def add(self, loss: Tensor, examples: int) -> None:
        """One batch's mean loss."""
        try:
            grads = torch.autograd.grad(loss, self._trained, allow_unused=True)
        except Exception as error:
            raise TraceError(
                f"the model must run on every batch; its backward raised {type(error).__name__}: {error} (inspect)"
            ) from error
        for parameter, grad in zip(self._trained, grads, strict=True):
            if cast("Tensor | None", grad) is None:  # the loss does not depend on it
                continue
            share = grad.to_dense() if grad.is_sparse else grad
            share = share.to(torch.promote_types(share.dtype, torch.float32)) * examples
            before = self._sums.get(parameter)
            self._sums[parameter] = share if before is None else before + share
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

    def mean(self) -> dict[Tensor, Tensor]:
        """By parameter, of those that the loss depends on."""
        return {parameter: each / self._examples for parameter, each in self._sums.items()}


def check_optimizer(optimizer: object, parameters: Iterable[Tensor]) -> Optimizer:
    """Refuse what is no optimizer, steps another one, or holds none of the parameters."""
    inner = optimizer
    while (within := getattr(inner, "optimizer", None)) is not None:
        if isinstance(inner, Optimizer) and not isinstance(within, Optimizer):
            break
        # Wrappers may be optimizers themselves (Accelerate's): a copy of one would step the training's own.
        inner = within
    if not isinstance(inner, Optimizer):
        raise ConfigError(
            f"optimizer must be a torch optimizer, or hold one as its .optimizer, got {type(optimizer).__name__} "
            "(inspect)"
        )
    for name, each in vars(inner).items():
        if isinstance(each, Optimizer):
            raise ConfigError(
                f"optimizer must step by itself, and {type(inner).__name__} steps the one that it holds as {name}: "
                "give that one (inspect)"
            )
    own = set(parameters)
    if not any(each in own for group in inner.param_groups for each in group["params"]):
        raise ConfigError("optimizer must hold parameters of the model, and holds none (inspect)")
    return inner


def next_step(optimizer: Optimizer, parameter: Tensor, gradient: Tensor) -> float | None:
    """How far the next step would move a tensor, made on copies; None where the optimizer does not hold it."""
    holding = (
        group
        for group in optimizer.param_groups
        if any(each is parameter for each in group["params"])
    )
    if (group := next(holding, None)) is None:
        return None
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
    return float(torch.linalg.vector_norm(own.detach().float() - parameter.detach().float()))
