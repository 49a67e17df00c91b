"""The user's word that zero is right: for optimizers whose memory is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.optimizers.base import LEAVE, Family, Options
from regrow.surgery.optimizers.holding import elsewhere, memories
from regrow.surgery.optimizers.slow import SLOW


@final
class Zeroed(Family):
    """Every state tensor of the parameter's shape is zeroed at the renewed entries; scalars are left.

    Not exact: the optimizer goes on counting the tensor's updates, so that a bias correction is that of
    an old unit (Adam: first steps up to five times too long), and a memory that does not begin at zero (step
    sizes, slow copies of the weights) is wrong at the renewed entries.
    """

    def check(self, name: str, parameter: nn.Parameter, optimizer: Optimizer) -> None:
        """Refuse what zeroing would not reach.

        Args:
            name: The parameter's.
            parameter: The parameter.
            optimizer: The optimizer.

        Raises:
            OptimizerError: A memory is not one floating point number an entry, or is not in the optimizer's state of
                this parameter: zeroing would do nothing, or something else.
        """
        kind, state = type(optimizer).__name__, optimizer.state.get(parameter, {})
        for key, memory in _own(state, parameter).items():
            if type(memory) not in {Tensor, nn.Parameter}:
                found = f"a {type(memory).__name__} that holds tensors"
            elif memory.shape == parameter.shape and (
                memory.is_floating_point() or memory.is_complex()
            ):
                continue
            else:
                found = f"{memory.dtype} of shape {tuple(memory.shape)}"
            raise OptimizerError(
                f"reset_state='zero' needs one floating point number an entry, and what {kind} keeps of '{name}' under "
                f"'{key}' is {found} for a parameter of shape {tuple(parameter.shape)}: {LEAVE}"
            )
        attribute = elsewhere(optimizer)
        if attribute is not None:
            raise OptimizerError(
                f"reset_state='zero' needs all that is remembered in the optimizer's state, and {kind} keeps tensors "
                f"in its attribute '{attribute}': {LEAVE}"
            )
        if not state and parameter.grad is not None and any(optimizer.state.values()):
            raise OptimizerError(
                f"reset_state='zero' needs all that is remembered in the optimizer's state, and {kind} has a state of "
                f"other parameters, but none of '{name}', though that has a gradient: leave its layer out by "
                f"exclude=[...], or {LEAVE}"
            )

    def begin_(
        self,
        parameter: nn.Parameter,
        state: Mapping[str, Any],
        mask: Tensor,
        *,
        group: Options,
        defaults: Options,
    ) -> None:
        """Zero what has the parameter's shape, and has passed `check`.

        Args:
            parameter: The parameter.
            state: The optimizer's state of it. Written at the mask.
            mask: True where a unit begins anew.
            group: The options.
            defaults: The options that the optimizer was made with.
        """
        del group, defaults
        for memory in _own(state, parameter).values():
            memory.masked_fill_(mask, 0.0)


def _own(state: Mapping[str, Any], parameter: nn.Parameter) -> dict[str, Any]:
    """What the optimizer itself remembers: slow weights of Lookahead beside it begin at the new value, not at 0."""
    return {key: value for key, value in memories(state, parameter).items() if key != SLOW}
