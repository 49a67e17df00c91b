"""The user's word that zero is right: for optimizers whose memory is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from regrow.errors import OptimizerError
from regrow.surgery.optimizers.base import Family, Options


@final
class Zeroed(Family):
    """Every state tensor of the parameter's shape is zeroed at the renewed entries; scalars are left.

    Not exact: the optimizer goes on counting the tensor's updates, so that a bias correction is that of
    an old unit (Adam: first steps up to five times too long), and a memory that does not begin at zero (step
    sizes, slow copies of the weights) is wrong at the renewed entries.
    """

    def forget_(
        self,
        parameter: nn.Parameter,
        state: Mapping[str, Any],
        mask: Tensor,
        *,
        group: Options,
        defaults: Options,
    ) -> None:
        """Zero what has the parameter's shape.

        Args:
            parameter: The parameter.
            state: The optimizer's state of it. Written at the mask.
            mask: True where a unit begins anew.
            group: The options.
            defaults: The options that the optimizer was made with.

        Raises:
            OptimizerError: A memory is not one number an entry, or not a floating point number: zeroing it
                would do nothing, or something else.
        """
        del group, defaults
        memories = {
            key: value
            for key, value in state.items()
            if isinstance(value, Tensor) and key != "step" and value.dim() > 0
            if value.numel() > 1 or value.shape == parameter.shape
        }
        for key, memory in memories.items():
            odd = memory.shape != parameter.shape
            if odd or not (memory.is_floating_point() or memory.is_complex()):
                raise OptimizerError(
                    f"reset_state='zero' needs one floating point number an entry; the optimizer's '{key}' is "
                    f"{memory.dtype} of shape {tuple(memory.shape)} for a parameter of shape "
                    f"{tuple(parameter.shape)}. reset_optimizer=False leaves the optimizer's state of renewed "
                    f"filters as it is"
                )
        for memory in memories.values():
            memory.masked_fill_(mask, 0.0)
