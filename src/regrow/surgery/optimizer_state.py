"""The optimizer's memory of a renewed unit: what a fresh unit would have, without a trace in its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from regrow.errors import OptimizerError, StateError
from regrow.functional.moments import adam_update
from regrow.renewal import Edit

_SUPPORTED: tuple[type[Optimizer], ...] = (SGD, Adam, AdamW)
_FORGOTTEN = 1e-9
"""A bias correction closer to 1 than this is below float32's rounding."""


def unwrap_optimizer(optimizer: object) -> Optimizer:
    """The torch optimizer inside wrappers that hold it as ``.optimizer`` (Accelerate, Lightning, among others).

    Such wrappers are often subclasses of Optimizer themselves, without hooks and state of their own.

    Args:
        optimizer: An optimizer or a wrapper.

    Returns:
        The innermost optimizer, the one whose step hooks fire.

    Raises:
        OptimizerError: There is none inside.
    """
    inner: object = optimizer
    while (within := getattr(inner, "optimizer", None)) is not None:
        if isinstance(inner, Optimizer) and not isinstance(within, Optimizer):
            break
        inner = within
    if not isinstance(inner, Optimizer):
        raise OptimizerError(
            f"a torch.optim.Optimizer is needed, got {type(optimizer).__name__} (attach)"
        )
    return inner


class OptimizerSurgeon:
    """Keeps the state of renewed entries as if they were alone in their optimizer.

    SGD: the momentum of the renewed entries is zero; with dampening their first step is undamped, as
    a fresh parameter's is. Adam, AdamW (also amsgrad): the moments are zero, and since the optimizer
    has one step count for a whole tensor, an age is kept for every renewed entry and each step of
    the young ones is corrected, right after the optimizer has made it, to the bias correction of
    their own age.

    Args:
        optimizer: The optimizer. Its state is edited; its options are never touched.
        parameters: The parameters that may be edited, by name.

    Raises:
        OptimizerError: The optimizer's state is not known here; ``reset_optimizer=False`` in the recipe leaves it
            as it is.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: Mapping[str, nn.Parameter],
        *,
        reset_state: str = "exact",
    ) -> None:
        if type(optimizer) not in _SUPPORTED:
            known = ", ".join(kind.__name__ for kind in _SUPPORTED)
            raise OptimizerError(
                f"the state of {type(optimizer).__name__} cannot be edited for one filter; known: {known}. "
                f"reset_optimizer=False leaves the optimizer's state of renewed filters as it is (attach)"
            )
        self._optimizer = optimizer
        self._parameters = dict(parameters)
        self._ages: dict[
            str, Tensor
        ] = {}  # updates since renewal; 0 = never renewed or long forgotten
        self._newborn: dict[
            str, Tensor
        ] = {}  # masks of entries that have not been updated since their renewal
        self._counts: dict[
            str, float
        ] = {}  # Adam's step count of each tensor with young entries, when last seen
        self._undamping: list[str] = []  # newborn tensors in the step that is being made
        self._undamped = any(group.get("dampening", 0.0) != 0.0 for group in optimizer.param_groups)

    @property
    def needs_pre_step(self) -> bool:
        """Whether `before_step` must run before each optimizer step (SGD with dampening)."""
        return self._undamped

    def has_same_parameters(self, other: OptimizerSurgeon) -> bool:
        """Whether another surgeon works on the same optimizer and the same parameters under the same names."""
        mine, others = (
            {name: id(parameter) for name, parameter in surgeon._parameters.items()}
            for surgeon in (self, other)
        )
        return self._optimizer is other._optimizer and mine == others

    def reset(self, edits: Iterable[Edit]) -> None:
        """Forget what the optimizer remembers of the edited entries.

        Args:
            edits: What was renewed; buffers, and living entries that are only shifted, are skipped.
        """
        with torch.no_grad():
            for edit in edits:
                parameter = self._parameters.get(edit.name)
                if not edit.is_parameter or not edit.fresh or parameter is None:
                    continue
                mask = edit.mask.to(parameter.device)
                state = self._optimizer.state.get(parameter, {})
                for key in ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
                    memory = state.get(key)
                    if isinstance(memory, Tensor):
                        memory.masked_fill_(mask, 0.0)
                self._remember(edit.name, mask)

    def _remember(self, name: str, mask: Tensor) -> None:
        if type(self._optimizer) is SGD and not self._undamped:
            return  # zero momentum is all that a fresh entry has
        newborn = self._newborn.get(name)
        self._newborn[name] = mask if newborn is None else newborn | mask
        if type(self._optimizer) is SGD:
            return
        ages = self._ages.get(name, torch.zeros((), dtype=torch.int32, device=mask.device))
        # Masks of one tensor may run along different axes (its own filters, its readers' slices):
        # the ages take the smallest shape that holds both.
        self._ages[name] = torch.where(mask, torch.zeros_like(ages), ages)
        self._counts[name] = self._count(name)

    def _count(self, name: str) -> float:
        step = self._optimizer.state.get(self._parameters[name], {}).get("step", 0.0)
        return float(step)

    def _group(self, parameter: nn.Parameter) -> dict[str, Any]:
        for group in self._optimizer.param_groups:
            if any(held is parameter for held in group["params"]):
                return group
        raise OptimizerError("a renewed parameter has left the optimizer")

    def before_step(self) -> None:
        """With dampening: let the first step of a renewed entry be the whole gradient, as a fresh parameter's is."""
        self._undamping = []
        if not self._undamped or not self._newborn:
            return
        self._undamping = [
            name for name in self._newborn if self._parameters[name].grad is not None
        ]
        # A fused optimizer under a gradient scaler unscales its gradients itself, later than this.
        scale = getattr(self._optimizer, "grad_scale", None)
        with torch.no_grad():
            for name, mask in self._newborn.items():
                parameter = self._parameters[name]
                buffer = self._optimizer.state.get(parameter, {}).get("momentum_buffer")
                group = self._group(parameter)
                if (
                    buffer is None
                    or parameter.grad is None
                    or not group["dampening"]
                    or not group["momentum"]
                ):
                    continue
                grad = parameter.grad if scale is None else parameter.grad / scale
                grad = -grad if group["maximize"] else grad
                grad = grad + group["weight_decay"] * parameter
                # momentum * buffer + (1 - dampening) * grad = grad
                first = grad * (group["dampening"] / group["momentum"])
                buffer.copy_(torch.where(mask, first, buffer))

    def after_step(self) -> None:
        """Correct the step that the optimizer has just made for entries younger than their tensor.

        Edge cases:
            Called again after the same step (by a second recipe on this optimizer): nothing is left to do.
        """
        if type(self._optimizer) is SGD:
            for name in self._undamping:
                self._newborn.pop(name, None)
            self._undamping = []
            return
        with torch.no_grad():
            for name in list(self._ages):
                self._correct_adam(name)

    def _correct_adam(self, name: str) -> None:
        count = self._count(name)
        if count == self._counts[name]:
            return  # the optimizer skipped this tensor: no gradient, or a non-finite one under a scaler
        self._counts[name] = count
        parameter = self._parameters[name]
        state, group = self._optimizer.state[parameter], self._group(parameter)
        ages = self._ages[name]
        newborn = self._newborn.pop(name, None)
        young = ages > 0 if newborn is None else (ages > 0) | newborn
        ages = torch.where(young, ages + 1, ages)
        beta1, beta2 = (float(beta) for beta in group["betas"])
        second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]

        def update(age: Tensor) -> Tensor:
            return adam_update(
                state["exp_avg"],
                second,
                age=age,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                eps=group["eps"],
            )

        made = update(torch.tensor(count, device=parameter.device))
        due = update(ages.clamp(min=1))
        parameter.copy_(torch.where(young, parameter + (made - due), parameter))
        largest = max(beta1, beta2)
        grown = largest ** ages.to(torch.float64) < _FORGOTTEN
        ages = torch.where(grown, torch.zeros_like(ages), ages)
        if bool((ages > 0).any()):
            self._ages[name] = ages
        else:
            del self._ages[name], self._counts[name]

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """What is needed to go on: tensors by parameter name."""
        counts = {name: torch.tensor(count) for name, count in self._counts.items()}
        return {"ages": dict(self._ages), "newborn": dict(self._newborn), "counts": counts}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` gave.

        Raises:
            StateError: The state names a parameter that is not edited here.
        """
        for part in ("ages", "newborn", "counts"):
            unknown = sorted(set(state[part]) - set(self._parameters))
            if unknown:
                raise StateError(
                    f"the saved state has parameters that are not watched here: {', '.join(unknown)}"
                )

        def here(part: str) -> dict[str, Tensor]:
            return {
                name: value.to(self._parameters[name].device) for name, value in state[part].items()
            }

        self._ages, self._newborn = here("ages"), here("newborn")
        self._counts = {name: float(count) for name, count in state["counts"].items()}
