"""Calibration data: what the user's model is run on, whoever measures something on it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from regrow.errors import ConfigError, TraceError
from regrow.graph.calling import call_arguments
from regrow.graph.undisturbed import undisturbed
from regrow.health.forward import first_device


class CalibrationData:
    """Inputs and targets, as they are now: each as it is given, or by a function that gives the newest."""

    def __init__(self, model: nn.Module, inputs: Any, *, targets: Any = None) -> None:
        self._model = model  # the bare model
        self._given = inputs, targets
        self._asked: int | None = None
        self.device = first_device(model)
        self.batch = 0  # how often new ones have come
        self._now: tuple[Any, Any] | None = None

    @classmethod
    def of(cls, model: nn.Module, inputs: Any, *, targets: Any = None) -> CalibrationData:
        """The data themselves, where `inputs` are some already."""
        return inputs if isinstance(inputs, cls) else cls(model, inputs, targets=targets)

    @property
    def inputs(self) -> Any:
        """What the model is called with."""
        return self._current()[0]

    @property
    def targets(self) -> Any:
        """What its output is compared with, or None."""
        return self._current()[1]

    def ask(self, step: int) -> None:
        """A decision of this step needs data: the newest, if a function gives them and was not called for it before."""
        if step != self._asked and any(map(callable, self._given)):
            self._asked, self._now = step, None
            self.batch += 1

    def _current(self) -> tuple[Any, Any]:
        """A function is called when somebody looks at what it gives: not for a recipe that needs no data."""
        if self._now is None:
            inputs, targets = [each() if callable(each) else each for each in self._given]
            self._now = inputs, targets
        return self._now

    @contextmanager
    def undisturbed(self) -> Generator[None]:
        """The model in evaluation mode, and everything back afterwards."""
        # Autocast around the optimizer's step keeps copies of weights from before it, and rounds backward passes too.
        with undisturbed(self._model), torch.autocast(self.device.type, enabled=False):
            yield

    def run(self, inputs: Any) -> Any:
        """What the model gives for some of the inputs."""
        try:
            args, kwargs = call_arguments(inputs)
            return self._model(*args, **kwargs)
        except ConfigError:
            raise
        except TraceError as error:
            raise ConfigError(f"calibration_inputs: {error} (attach)") from error
        except Exception as error:
            raise ConfigError(
                f"the model must run on calibration_inputs, and raised {type(error).__name__}: {error} (attach)"
            ) from error
