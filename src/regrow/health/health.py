"""Health: what `regrow.inspect` found, as numbers, symptoms and advice; for people on one screen, for machines as JSON.

Holds no tensor, so that it can be stored, and a page be made of it later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from regrow.errors import ConfigError, UnknownNameError
from regrow.health.advice import Advice, advice_for
from regrow.health.comparison import Comparison, compared
from regrow.health.layer_health import LayerHealth, plain
from regrow.health.measures import OF_UNITS
from regrow.health.screen import screen
from regrow.health.symptoms import Symptom, symptoms_of
from regrow.health.thresholds import Thresholds

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was measured of a network, what of it is worth a look, and what has helped others.

    `print` it: one screen. A symptom is no verdict: networks with dead or dormant units often train well.

    Attributes:
        layers: In the order of the forward pass.
        examples: How many were looked at.
        evidence: From what: ``weights only``, ``one forward``, ``one backward``, ``k steps``.
        input_shift: |mean| / |spread| over the channels of floating-point inputs; None without such.
        loss: The mean loss; None where there was none.
        probe_gap: The fresh-probe gap; None where no steps were made.
        thresholds: From which number on something is named.
        notes: What could not be measured, and why.
        pictures: The first layer's filters where they are images: filters, channels, rows, numbers.
    """

    layers: tuple[LayerHealth, ...]
    examples: int
    evidence: tuple[str, ...]
    input_shift: float | None = None
    loss: float | None = None
    probe_gap: float | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    notes: tuple[str, ...] = ()
    pictures: tuple[tuple[tuple[tuple[float, ...], ...], ...], ...] = ()

    def __getitem__(self, path: str) -> LayerHealth:
        """The layer at a module path.

        Args:
            path: Such as ``layer1.0.conv1``.

        Returns:
            What was measured of it.

        Raises:
            UnknownNameError: No layer has this path.
        """
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise UnknownNameError("layer", path, (layer.path for layer in self.layers))

    @cached_property
    def symptoms(self) -> tuple[Symptom, ...]:
        """What is worth a look."""
        shift, gap = self.input_shift, self.probe_gap
        return tuple(symptoms_of(self.layers, self.thresholds, input_shift=shift, probe_gap=gap))

    @cached_property
    def advice(self) -> tuple[Advice, ...]:
        """What has helped networks with these symptoms, as far as it was measured."""
        return advice_for(self.symptoms, self.layers)

    def share(self, measure: str) -> float | None:
        """The share of all units that a measure names, each unit counted once; None where no layer was asked.

        Args:
            measure: A measure of units, such as ``dead``.

        Returns:
            Within [0, 1], over the layers in which it was taken.

        Raises:
            UnknownNameError: No measure of units is called so.
        """
        if measure not in OF_UNITS:
            raise UnknownNameError("measure of units", measure, OF_UNITS)
        asked = [layer for layer in self.layers if measure in layer.units]
        units = sum(layer.count for layer in asked)
        return sum(len(layer.units[measure]) for layer in asked) / units if units else None

    def compare(self, before: Health) -> Comparison:
        """What has changed since.

        Args:
            before: An earlier look at the same network.

        Returns:
            Shares then and now, and which dead units are still dead. `print` it.

        Edge cases:
            Other layers than those of this network are a ConfigError.
        """
        return compared(self.layers, before.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` takes them."""
        return {
            "health_version": _VERSION,
            "examples": self.examples,
            "evidence": list(self.evidence),
            "input_shift": plain(self.input_shift),
            "loss": plain(self.loss),
            "probe_gap": plain(self.probe_gap),
            "thresholds": vars(self.thresholds).copy(),
            "notes": list(self.notes),
            "shares": {key: self.share(key) for key in OF_UNITS},
            "symptoms": [each.to_dict() for each in self.symptoms],
            "advice": [{**vars(each), "measures": list(each.measures)} for each in self.advice],
            "layers": [each.to_dict() for each in self.layers],
            "pictures": self.pictures,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Health:
        """What `to_dict` gave, also out of a JSON file.

        Args:
            document: The same; symptoms and advice are worked out anew.

        Returns:
            An equal report.

        Raises:
            ConfigError: It is none, or of another version.
        """
        try:
            version = document.get("health_version")
            if version != _VERSION:
                raise ConfigError(
                    f"health_version must be {_VERSION}, got {version!r}: make the document again (Health.from_dict)"
                )
            numbers = (document["input_shift"], document["loss"], document["probe_gap"])
            shift, loss, gap = (None if each is None else float(each) for each in numbers)
            return cls(
                layers=tuple(LayerHealth.from_dict(each) for each in document["layers"]),
                examples=document["examples"],
                evidence=tuple(document["evidence"]),
                input_shift=shift,
                loss=loss,
                probe_gap=gap,
                thresholds=Thresholds(**document["thresholds"]),
                notes=tuple(document["notes"]),
                pictures=tuples(document["pictures"]),
            )
        except ConfigError:  # says already what is wrong
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"a health document must be what to_dict() gave: {type(error).__name__}: {error} (Health.from_dict)"
            ) from error

    def __str__(self) -> str:
        """One screen."""
        return screen(self)


def tuples(value: Any) -> Any:
    """Lists, and lists in them, as tuples."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(tuples, cast("Sequence[object]", value)))
    return value
