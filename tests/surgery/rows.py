"""One row an optimizer and a set of options: how it is made, and how its options change while it trains."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim import Optimizer


@dataclass(frozen=True)
class Row:
    kind: Callable[..., Optimizer]
    options: dict[str, Any]
    varied: dict[str, Callable[[int], Any]] = field(default_factory=dict)
    """Options that depend on the step, as a scheduler would set them between two steps."""
    tight: float = 1e-13
    """Of float64, relative to the largest entry."""
    loose: float = 1e-5
    """Of float32. torch's own distance to its float64 is 5e-6 where weight decay is decoupled, 1e-6 elsewhere."""
    slow: bool = False
    name: str = ""
    """Of a class of another package: where it is."""

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    def marks(self) -> list[pytest.MarkDecorator]:
        found = [pytest.mark.slow] if self.slow else []
        if self.package and importlib.util.find_spec(self.package) is None:
            found.append(pytest.mark.skip(reason=f"{self.package} is not installed"))
        return found

    def make(self, parameters: list[nn.Parameter]) -> Optimizer:
        options = dict(self.options)
        if isinstance(options.get("lr"), torch.Tensor):
            options["lr"] = options["lr"].clone()
        return self.kind(parameters, **options)

    def vary(self, optimizer: Optimizer, step: int) -> None:
        for group in optimizer.param_groups:
            for key, at in self.varied.items():
                if isinstance(group[key], torch.Tensor):
                    group[key].fill_(at(step))
                else:
                    group[key] = at(step)


def _falling(lr: float) -> dict[str, Callable[[int], Any]]:
    return {"lr": lambda step: lr * (0.3 + 0.7 * 0.98**step)}


_BETAS = (0.8, 0.97)
_TENSOR = torch.tensor(0.01, dtype=torch.float64)

ROWS: dict[str, Row] = {
    "SGD": Row(optim.SGD, {"lr": 0.1}, slow=True),
    "SGD momentum": Row(optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "SGD nesterov": Row(optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}, slow=True),
    "SGD dampening": Row(
        optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}
    ),
    "SGD dampening 1": Row(optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 1.0}, slow=True),
    "SGD dampening maximize foreach": Row(
        optim.SGD,
        {"lr": 0.02, "momentum": 0.9, "dampening": 0.3, "maximize": True, "foreach": True},
        _falling(0.02),
        slow=True,
    ),
    "SGD dampening fused": Row(
        optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02, "fused": True},
    ),
    "SGD momentum at times": Row(
        optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
        {"momentum": lambda step: 0.0 if 35 <= step < 45 else 0.9},
    ),
    "SGD nesterov damped later": Row(
        optim.SGD,
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "foreach": True},
        {"dampening": lambda step: 0.4 if step > 3 else 0.0},
    ),
    "Adam": Row(optim.Adam, {"lr": 0.01}),
    "Adam decay": Row(optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "betas": _BETAS}, slow=True),
    "Adam decoupled": Row(
        optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}, slow=True
    ),
    "Adam amsgrad": Row(optim.Adam, {"lr": 0.01, "amsgrad": True, "betas": _BETAS}),
    "Adam maximize foreach": Row(
        optim.Adam, {"lr": 0.003, "maximize": True, "foreach": True}, _falling(0.003), slow=True
    ),
    "Adam fused amsgrad": Row(optim.Adam, {"lr": 0.01, "amsgrad": True, "fused": True}, slow=True),
    "Adam tensor lr": Row(optim.Adam, {"lr": _TENSOR}, _falling(0.01)),
    "Adam cycled": Row(
        optim.Adam,
        {"lr": 0.01},
        {**_falling(0.01), "betas": lambda step: (0.95 - 0.1 * (step % 50) / 50, 0.99)},
        slow=True,
    ),
    "Adam beta 0": Row(optim.Adam, {"lr": 0.01, "betas": (0.0, 0.9)}, slow=True),
    "AdamW": Row(optim.AdamW, {"lr": 0.01, "weight_decay": 0.2}, slow=True),
    "AdamW fused": Row(
        optim.AdamW, {"lr": 0.01, "weight_decay": 0.2, "fused": True}, _falling(0.01)
    ),
    "NAdam": Row(optim.NAdam, {"lr": 0.01}, slow=True),
    "NAdam decay": Row(
        optim.NAdam,
        {"lr": 0.01, "weight_decay": 0.1, "momentum_decay": 0.1, "maximize": True},
        _falling(0.01),
    ),
    "NAdam decoupled foreach": Row(
        optim.NAdam,
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "foreach": True},
    ),
    "RAdam": Row(optim.RAdam, {"lr": 0.01}, slow=True),
    "RAdam decay": Row(optim.RAdam, {"lr": 0.01, "weight_decay": 0.1, "betas": _BETAS}, slow=True),
    "RAdam decoupled foreach": Row(
        optim.RAdam,
        {
            "lr": 0.01,
            "weight_decay": 0.1,
            "decoupled_weight_decay": True,
            "foreach": True,
            "maximize": True,
        },
        _falling(0.01),
    ),
    "RAdam never rectified": Row(optim.RAdam, {"lr": 0.01, "betas": (0.9, 0.6)}, slow=True),
    "Adamax": Row(optim.Adamax, {"lr": 0.01}, slow=True),
    "Adamax decay": Row(
        optim.Adamax, {"lr": 0.01, "weight_decay": 0.1, "foreach": True}, _falling(0.01)
    ),
    "Adagrad": Row(optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.3}),
    "Adagrad lr_decay": Row(
        optim.Adagrad,
        {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.02, "initial_accumulator_value": 0.1},
        _falling(0.1),
    ),
    "Adagrad fused": Row(optim.Adagrad, {"lr": 0.1, "lr_decay": 0.05, "fused": True}),
    "Adagrad foreach maximize": Row(
        optim.Adagrad, {"lr": 0.1, "lr_decay": 0.05, "foreach": True, "maximize": True}, slow=True
    ),
    "Adadelta": Row(optim.Adadelta, {"lr": 1.0, "rho": 0.9, "weight_decay": 0.01}, slow=True),
    "Adadelta foreach": Row(optim.Adadelta, {"lr": 1.0, "foreach": True}, _falling(1.0)),
    "RMSprop": Row(optim.RMSprop, {"lr": 0.01, "weight_decay": 0.01}, slow=True),
    "RMSprop centered": Row(
        optim.RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.9, "alpha": 0.9}, _falling(0.01)
    ),
    "RMSprop foreach": Row(
        optim.RMSprop, {"lr": 0.01, "momentum": 0.5, "foreach": True}, slow=True
    ),
    "ASGD": Row(optim.ASGD, {"lr": 0.05, "lambd": 0.01, "t0": 20, "weight_decay": 0.01}, slow=True),
    "ASGD falling": Row(
        optim.ASGD, {"lr": 0.05, "lambd": 0.3, "alpha": 0.9, "t0": 5}, _falling(0.05)
    ),
    # Here torch computes the rate in float32, from a step count in float32: so near and no nearer.
    "ASGD foreach": Row(
        optim.ASGD,
        {"lr": 0.05, "lambd": 0.3, "t0": 5, "foreach": True, "maximize": True},
        tight=1e-6,
        slow=True,
    ),
    "Rprop": Row(optim.Rprop, {"lr": 0.01, "step_sizes": (1e-5, 0.3)}, slow=True),
    "Rprop falling foreach": Row(
        optim.Rprop, {"lr": 0.02, "foreach": True, "maximize": True}, _falling(0.02)
    ),
}


def kinds() -> Iterator[type[Optimizer]]:
    """Every optimizer of this torch."""
    for each in vars(optim).values():
        if isinstance(each, type) and issubclass(each, Optimizer) and each is not Optimizer:
            yield each
