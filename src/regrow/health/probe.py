"""The fresh-probe gap: how well a copy of the network learns something new, beside one with fresh weights.

Called by `health/inspecting.py` where steps are asked for. Both are copies, and what they learn is thrown away.
"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from regrow.errors import ConfigError, RegrowError
from regrow.graph.undisturbed import undisturbed
from regrow.health.data import Batch
from regrow.health.gradients import Loss, loss_of
from regrow.health.optimizer_twin import optimizer_twin

_SEED: Final = 0
"""Of the labels and the fresh weights: two looks at one network must agree."""

_RATE: Final = 1e-3

_RESETS: Final = ("reset_parameters", "_reset_parameters")


def probe_gap(
    model: nn.Module,
    batch: Batch,
    *,
    loss: Loss | None,
    optimizer: Optimizer | None,
    steps: int,
) -> tuple[float, tuple[str, ...]]:
    """Loss after some steps on shuffled targets from these weights, minus the same from fresh ones.

    The copies are trained as `optimizer` trains, from a fresh state; None: Adam with a rate of 1e-3. The gap is above 0
    where the network learns worse than a fresh one; with it come the names of parameters that both have alike.
    """
    if not isinstance(batch.targets, Tensor) or not batch.targets.ndim:
        raise ConfigError(
            "steps need targets that are a tensor with an entry an example: what is learnt is the same examples with "
            "shuffled targets (inspect)"
        )
    with undisturbed(model):
        _seed()
        order = torch.randperm(len(batch.targets), device="cpu").to(batch.targets.device)
        shuffled = Batch(inputs=batch.inputs, targets=batch.targets[order])
        here, fresh = _copied(model), _copied(model)
        kept = _draw_anew(fresh)
        if sum(each.numel() for each in kept.values()) > 0.5 * sum(
            each.numel() for each in fresh.parameters()
        ):
            raise ConfigError(
                f"steps need modules that draw their own weights (reset_parameters), and most weights have none, such "
                f"as {next(iter(kept))}: leave steps out (inspect)"
            )
        ends = [
            _learnt(each, _like(optimizer, model, each), shuffled, loss=loss, steps=steps)
            for each in (here, fresh)
        ]
    return ends[0] - ends[1], tuple(kept)


def _seed() -> None:
    """Not torch.manual_seed, which reaches generators that nobody puts back, and those of GPUs not yet in use."""
    torch.default_generator.manual_seed(_SEED)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(_SEED)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ConfigError(
            f"steps need a model that copy.deepcopy takes, which raised {type(error).__name__}: {error}: leave steps "
            "out (inspect)"
        ) from error


def _draw_anew(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every module that can draws its own; the parameters of all others."""
    kept: dict[str, nn.Parameter] = {}
    for path, module in model.named_modules():
        reset = next((getattr(module, name) for name in _RESETS if hasattr(module, name)), None)
        if callable(reset):
            reset()
            continue
        kept.update(module.named_parameters(prefix=path, recurse=False))
    return kept


def _learnt(
    net: nn.Module, trains: Optimizer, batch: Batch, *, loss: Loss | None, steps: int
) -> float:
    """The loss of one copy behind its last step."""
    # Flags are those of evaluation where this is called: the copies are trained.
    for module in net.modules():
        module.training = True
    _seed()  # dropout draws the same in both

    def told() -> Tensor:
        args, named = batch.arguments()
        value = loss_of(net(*args, **named), batch, loss)
        assert value is not None  # noqa: S101 # there are targets
        return value

    try:
        with torch.enable_grad():
            for _ in range(steps):
                trains.zero_grad()
                told().backward()
                trains.step()
            return float(told().detach())
    except RegrowError:
        raise
    except Exception as error:
        raise ConfigError(
            f"steps need a model that trains on the first batch, and a copy raised {type(error).__name__}: {error}: "
            "leave steps out (inspect)"
        ) from error


def _like(optimizer: Optimizer | None, model: nn.Module, net: nn.Module) -> Optimizer:
    """An optimizer of a model's copy, with the settings of the model's own and nothing that it remembers."""
    if optimizer is None:
        return Adam([each for each in net.parameters() if each.requires_grad], lr=_RATE)
    own = dict(zip(model.parameters(), net.parameters(), strict=True))
    return optimizer_twin(
        optimizer,
        [
            (group, [own[each] for each in group["params"] if each in own])
            for group in optimizer.param_groups
        ],
    )
