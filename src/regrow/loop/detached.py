"""Detached: what a copy or a pickle of something that holds a Regrower or a Grafter has in its place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final, Self

from regrow.errors import ConfigError
from regrow.history import PartnerReport, Renewed, Report


class Detached:
    """A Regrower or Grafter that acts on nothing: its report, and its state at the moment of the copy.

    `copy.deepcopy` and pickle take a LightningModule or a scikit-learn estimator along with all that it holds, but not
    the hooks of the optimizer. To resume with the copy, attach anew and load its state:

        regrower = regrow.attach(recipe, copied.model, optimizer, ...)
        regrower.load_state_dict(copied.regrower.state_dict())

    Attributes:
        report: What had happened until then.

    Args:
        kind: Class of the original.
        report: Its report.
        state: What its `state_dict` gave.

    Edge cases:
        The training loop's calls (``tell``, ``about_to_pass``, ``boundary``, ``before_step``, ``after_step``, ``step``,
        ``bring_back``, ``detach``) do nothing, as after `Regrower.detach`. It can be copied and pickled again.

    Examples:
        >>> import copy, torch, regrow
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> recipe = regrow.RandomOut(active_fraction=1.0)
        >>> regrower = regrow.attach(recipe, model, optimizer, example_inputs=torch.zeros(2, 1, 8, 8))
        >>> copy.deepcopy(regrower)
        Detached('Regrower', recipe='randomout', steps=0)
    """

    watched: Final[frozenset[str]] = frozenset()
    awaits_pass: Final = False

    def __init__(self, kind: str, report: Report | PartnerReport, state: Mapping[str, Any]) -> None:
        self.report = report
        self._kind = kind
        self._state = dict(state)

    def state_dict(self) -> dict[str, Any]:
        """The original's at the moment of the copy."""
        return copy.deepcopy(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Refuse: it acts on no model."""
        raise ConfigError(
            f"this is the copy of a {self._kind} and acts on no model: attach to the copied model and optimizer, and "
            f"load the state there (load_state_dict)"
        )

    def _nothing(self, *args: Any, **named: Any) -> None:
        """Nothing, as after `Regrower.detach`."""

    about_to_pass = boundary = tell = before_step = after_step = step = detach = _nothing

    def bring_back(self) -> tuple[Renewed, ...]:
        """Nothing: filters that are out of the copied network are renewed by a Regrower that was given the state."""
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing."""

    def __repr__(self) -> str:
        return f"Detached({self._kind!r}, recipe={self.report.recipe!r}, steps={self.report.steps})"
