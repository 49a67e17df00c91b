"""The user's word that zero is right: for optimizers whose state is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.optimizers.base import LEAVE, Family, state_of_entries, tensors_held_by
from regrow.surgery.optimizers.slow import SLOW
from regrow.surgery.optimizers.step import Options

_ITS_OWN: Final = frozenset({"state", "param_groups", "defaults"})


@final
class Zeroed(Family):
    """Every state tensor of the parameter's shape is zeroed at the renewed entries; scalars are left.

    Not exact: the optimizer goes on counting the tensor's updates, so that a bias correction is that of
    an old unit (Adam: first steps up to five times too long), and a state that does not begin at zero (step
    sizes, slow copies of the weights) is wrong at the renewed entries.
    """

    def check(
        self, name: str, parameter: nn.Parameter, optimizer: Optimizer, *, group: Options
    ) -> None:
        """Refuse what zeroing would not reach.

        Edge cases:
            What is kept is not one floating point number an entry, or is not in the optimizer's state of this
            parameter: an OptimizerError, for zeroing would do nothing, or something else.
        """
        kind, state = type(optimizer).__name__, optimizer.state.get(parameter, {})
        for key, kept in _own(state, parameter).items():
            if type(kept) not in {Tensor, nn.Parameter}:
                found = f"a {type(kept).__name__} that holds tensors"
            elif kept.shape == parameter.shape and (kept.is_floating_point() or kept.is_complex()):
                continue
            else:
                found = f"{kept.dtype} of shape {tuple(kept.shape)}"
            raise OptimizerError(
                f"reset_state='zero' needs one floating point number an entry, and what {kind} keeps of '{name}' under "
                f"'{key}' is {found} for a parameter of shape {tuple(parameter.shape)}: {LEAVE}"
            )
        attribute = _attribute_with_tensors(optimizer)
        if attribute is not None:
            raise OptimizerError(
                f"reset_state='zero' needs all that is kept in the optimizer's state, and {kind} keeps tensors "
                f"in its attribute '{attribute}': {LEAVE}"
            )
        if not state and parameter.grad is not None and any(optimizer.state.values()):
            raise OptimizerError(
                f"reset_state='zero' needs all that is kept in the optimizer's state, and {kind} has a state of "
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
        """Zero what has the parameter's shape, and has passed `check`."""
        for kept in _own(state, parameter).values():
            kept.masked_fill_(mask, 0.0)


def _own(state: Mapping[str, Any], parameter: nn.Parameter) -> dict[str, Any]:
    """What the optimizer itself keeps: slow weights of Lookahead begin at the new value, not at 0."""
    return {key: value for key, value in state_of_entries(state, parameter).items() if key != SLOW}


def _attribute_with_tensors(optimizer: Optimizer) -> str | None:
    """The name of an attribute in which an optimizer keeps tensors outside of its state."""
    own = {id(each) for group in optimizer.param_groups for each in group["params"]}
    for key, value in vars(optimizer).items():
        if key not in _ITS_OWN and not key.startswith("_optimizer_"):
            found = (each for each in tensors_held_by(value) if id(each) not in own)
            if any(each.numel() > 1 for each in found):
                return key
    return None
