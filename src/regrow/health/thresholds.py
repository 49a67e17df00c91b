"""Thresholds: from which number on a unit, or a layer, is named."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

from regrow._checks import check_positive


@final
@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From which number on something is named; the defaults are those of the papers that measure so.

    Args:
        rare: A unit that gives something on fewer examples than this share is rare-firing.
        dormant: ReDo's tau: a unit is dormant up to this share of its layer's mean size.
        saturated: A unit with more than this share of its values where its activation is flat is saturated.
        flat: An activation is flat where its slope is at most this share of its steepest (GELU, SiLU, ELU and their
            like; those between two bounds within 1 % of a bound).
        duplicate: A cosine, or correlation, above this makes two units duplicates.
        invalid: A filter whose weights' sizes sum up to less is invalid.
        gradient: GraMa's tau: a share of the layer's mean gradient.
        share: Dormant units, those of low gradient, and those whose activations repeat are a symptom from this share of
            a layer on: a few are in every network.
        gain_low: A gain below this is a symptom, where no norm, sum or product follows.
        gain_high: And one above this.
        weight_low: Where one follows, it is a symptom if the weight, too, is shorter than this share of a fresh one.
        weight_high: And a gain above `gain_high` if the weight is more than so many times as long as a fresh one.
        weight_none: A weight that is shorter still, in front of a sum or a product, begins near 0 by wish: no symptom.
        step: A step longer than this share of the weight is a symptom.
        shift: Inputs whose mean is larger than so many spreads are.
        probe: A fresh-probe gap above this loss is a symptom.
        least_numbers: Filters of fewer numbers are not compared: in few dimensions everything is alike.
        most_units: Weights of layers with more units are not compared with each other, nor is their isometry measured.

    Raises:
        ConfigError: One that is not above 0.
    """

    rare: float = 0.01
    dormant: float = 0.025
    saturated: float = 0.99
    flat: float = 0.01
    duplicate: float = 0.95
    invalid: float = 0.01
    gradient: float = 0.01
    share: float = 0.1
    gain_low: float = 0.1
    gain_high: float = 10.0
    weight_low: float = 0.03
    weight_high: float = 100.0
    weight_none: float = 0.001
    step: float = 0.1
    shift: float = 1.0
    probe: float = 0.1
    least_numbers: int = 8
    most_units: int = 8192

    def __post_init__(self) -> None:
        """Check the settings."""
        for each in fields(self):
            check_positive(getattr(self, each.name), name=each.name, where="Thresholds")
