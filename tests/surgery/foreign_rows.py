"""One row a class of another package and a set of options; the package itself is imported when a row is made."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from surgery.rows import Row

_BETAS = (0.8, 0.97)
_CORRECTED = {"weight_decay": 0.2, "corrected_weight_decay": True}


def maker(name: str) -> Callable[..., Optimizer]:
    """What makes a class that is known by its full name."""
    module, _, kind = name.rpartition(".")

    def make(params: object, **options: Any) -> Optimizer:
        return getattr(import_module(module), kind)(params, **options)

    return make


def _falling(lr: float) -> dict[str, Callable[[int], Any]]:
    return {"lr": lambda step: lr * (0.3 + 0.7 * 0.98**step)}


def _row(name: str, options: dict[str, Any], *, falls: bool = False, **more: Any) -> Row:
    varied = {**(_falling(options["lr"]) if falls else {}), **more.pop("varied", {})}
    return Row(maker(name), options, varied, name=name, **more)


def _tensor_lr(row: Row) -> Row:
    lr = row.options["lr"]
    options = {**row.options, "lr": torch.tensor(lr, dtype=torch.float64)}
    return replace(row, options=options, varied={**row.varied, **_falling(lr)})


def _with_another(make: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    """With a parameter beside that has a gradient in every step: this one cannot do with none."""

    def both(params: list[nn.Parameter], **options: Any) -> Optimizer:
        other = nn.Parameter(torch.zeros(1))
        other.grad = torch.zeros(1)
        return make([*params, other], **options)

    return both


_LION = "timm.optim.lion.Lion"
_SGDW = "timm.optim.sgdw.SGDW"
_NADAMW = "timm.optim.nadamw.NAdamW"
_ADAMW = "timm.optim.adamw.AdamWLegacy"
_RMSPROP = "timm.optim.rmsprop_tf.RMSpropTF"
_ADAN = "timm.optim.adan.Adan"
_ADOPT = "timm.optim.adopt.Adopt"
_MADGRAD = "timm.optim.madgrad.MADGRAD"
_LAPROP = "timm.optim.laprop.LaProp"
_BELIEF = "timm.optim.adabelief.AdaBelief"
_RADAM = "timm.optim.radam.RAdamLegacy"
_NADAM = "timm.optim.nadam.NAdamLegacy"
_TRANSFORMERS = "transformers.optimization.AdamW"

FOREIGN_ROWS: dict[str, Row] = {
    "timm Lion": _row(_LION, {"lr": 0.01, "weight_decay": 0.1}, falls=True),
    "timm Lion corrected foreach": _row(
        _LION, {"lr": 0.01, "foreach": True, "maximize": True, **_CORRECTED}, falls=True, slow=True
    ),
    "timm SGDW": _row(_SGDW, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, slow=True),
    "timm SGDW dampening": _row(
        _SGDW, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, **_CORRECTED}, falls=True
    ),
    "timm SGDW nesterov damped later": _row(
        _SGDW,
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "foreach": True, "maximize": True},
        varied={"lr": lambda _: 0.005, "dampening": lambda step: 0.4 if step > 3 else 0.0},
        slow=True,
    ),
    "timm NAdamW": _row(_NADAMW, {"lr": 0.01, "weight_decay": 0.2}, falls=True),
    "timm NAdamW corrected foreach": _row(
        _NADAMW,
        {"lr": 0.003, "betas": _BETAS, "foreach": True, "maximize": True, **_CORRECTED},
        falls=True,
        slow=True,
    ),
    "timm NAdamW tensor lr": _tensor_lr(_row(_NADAMW, {"lr": 0.01, "eps": 1e-3}, slow=True)),
    "timm AdamWLegacy": _row(_ADAMW, {"lr": 0.01, "weight_decay": 0.2}, falls=True),
    "timm AdamWLegacy amsgrad corrected": _row(
        _ADAMW,
        {"lr": 0.01, "amsgrad": True, "betas": _BETAS, "foreach": True, **_CORRECTED},
        falls=True,
        slow=True,
    ),
    "timm RMSpropTF": _row(_RMSPROP, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01}),
    "timm RMSpropTF plain": _row(_RMSPROP, {"lr": 0.01}, falls=True, slow=True),
    "timm RMSpropTF centered": _row(
        _RMSPROP,
        {
            "lr": 0.01,
            "momentum": 0.9,
            "centered": True,
            "lr_in_momentum": False,
            "decoupled_decay": True,
            "foreach": True,
            "eps": 1e-3,
            **_CORRECTED,
        },
        falls=True,
        slow=True,
    ),
    "timm Adan": _row(_ADAN, {"lr": 0.01, "weight_decay": 0.1}, falls=True),
    "timm Adan no_prox foreach": _row(
        _ADAN,
        {
            "lr": 0.01,
            "weight_decay": 0.1,
            "no_prox": True,
            "betas": (0.9, 0.8, 0.95),
            "foreach": True,
        },
        slow=True,
    ),
    "timm Adopt": _row(_ADOPT, {"lr": 0.01, "weight_decay": 0.1}, falls=True),
    "timm Adopt decoupled foreach": _row(
        _ADOPT,
        {
            "lr": 0.01,
            "decoupled": True,
            "foreach": True,
            "maximize": True,
            "betas": _BETAS,
            **_CORRECTED,
        },
        varied={"lr": lambda step: 0.003 * 0.98**step},
        slow=True,
    ),
    "timm Adopt unclipped": _row(
        _ADOPT, {"lr": 0.01, "clip_exp": None, "betas": _BETAS, "eps": 1e-3}, slow=True
    ),
    "timm MADGRAD": _row(_MADGRAD, {"lr": 0.01, "weight_decay": 0.02}, falls=True),
    "timm MADGRAD decoupled": _row(
        _MADGRAD, {"lr": 0.01, "weight_decay": 0.1, "decoupled_decay": True}, slow=True
    ),
    "timm MADGRAD no momentum": _row(
        _MADGRAD, {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.0, "decoupled_decay": True}
    ),
    "timm LaProp": _row(_LAPROP, {"lr": 0.01, "weight_decay": 0.1}, falls=True),
    "timm LaProp corrected foreach": _row(
        _LAPROP, {"lr": 0.01, "betas": _BETAS, "foreach": True, **_CORRECTED}, falls=True, slow=True
    ),
    "timm LaProp tensor lr": _tensor_lr(_row(_LAPROP, {"lr": 0.01, "eps": 1e-6}, slow=True)),
    "timm AdaBelief": _row(_BELIEF, {"lr": 0.01, "weight_decay": 0.1}, falls=True),
    "timm AdaBelief amsgrad": _row(
        _BELIEF,
        {
            "lr": 0.01,
            "weight_decay": 0.1,
            "amsgrad": True,
            "rectify": False,
            "decoupled_decay": False,
            "foreach": True,
            "eps": 1e-8,
        },
        slow=True,
    ),
    "timm AdaBelief fixed": _row(
        _BELIEF,
        {
            "lr": 0.01,
            "weight_decay": 0.001,
            "fixed_decay": True,
            "degenerated_to_sgd": False,
            "betas": _BETAS,
            "foreach": True,
        },
        falls=True,
        slow=True,
    ),
    "timm AdaBelief plain": _row(
        _BELIEF, {"lr": 0.01, "rectify": False, "eps": 1e-8, "betas": _BETAS}, slow=True
    ),
    # It rounds to float32 in each step, whatever the parameter is.
    "timm RAdamLegacy": _row(
        _RADAM, {"lr": 0.01, "weight_decay": 0.1, "betas": _BETAS}, falls=True, tight=1e-5
    ),
    "timm RAdamLegacy never rectified": _row(
        _RADAM, {"lr": 0.01, "betas": (0.9, 0.6)}, tight=1e-5, slow=True
    ),
    "timm NAdamLegacy": _row(
        _NADAM, {"lr": 0.01, "weight_decay": 0.1, "schedule_decay": 0.1}, falls=True
    ),
    "lion-pytorch Lion": _row(
        "lion_pytorch.lion_pytorch.Lion",
        {"lr": 0.01, "weight_decay": 0.001, "decoupled_weight_decay": True},
        falls=True,
    ),
    "lion-pytorch foreach": replace(
        _row("lion_pytorch.foreach.Lion", {"lr": 0.01, "weight_decay": 0.1}, slow=True),
        kind=_with_another(maker("lion_pytorch.foreach.Lion")),
    ),
    "transformers AdamW": _row(
        _TRANSFORMERS,
        {"lr": 0.01, "weight_decay": 0.2, "eps": 1e-3, "no_deprecation_warning": True},
        falls=True,
    ),
    "transformers AdamW uncorrected": _row(
        _TRANSFORMERS,
        {"lr": 0.01, "weight_decay": 0.2, "correct_bias": False, "no_deprecation_warning": True},
        slow=True,
    ),
}
