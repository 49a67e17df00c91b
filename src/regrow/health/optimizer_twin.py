"""An optimizer like another one, on other tensors, without its hooks and what a scheduler has put around its step."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def optimizer_twin(
    optimizer: Optimizer,
    groups: Iterable[tuple[Mapping[str, Any], list[Tensor]]],
    states: Mapping[Tensor, dict[str, Any]] | None = None,
) -> Optimizer:
    """Made as unpickling makes one: with these groups, each with the tensors in the place of its own, and states."""
    twin = type(optimizer).__new__(type(optimizer))
    kept = {
        key: value
        for key, value in optimizer.__dict__.items()
        if not key.startswith("_") and key not in {"state", "param_groups", "step"}
    }
    own = [
        {
            **{key: copy.deepcopy(value) for key, value in group.items() if key != "params"},
            "params": tensors,
        }
        for group, tensors in groups
    ]
    remembered: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict, states or {})
    twin.__setstate__({**kept, "state": remembered, "param_groups": own})
    return twin
