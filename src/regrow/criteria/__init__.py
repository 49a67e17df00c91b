"""Criteria: one score a filter, higher = worth keeping."""

from regrow.criteria.base import (
    MEASURED,
    Criterion,
    CriterionState,
    Gates,
    Heard,
    Kept,
    LayerActivity,
    Observation,
    Signal,
    Silenced,
    Watching,
)
from regrow.criteria.filter_overlap import FilterOverlap
from regrow.criteria.fisher_diagonal import FisherDiagonal
from regrow.criteria.gradient_size import GradientSize
from regrow.criteria.liveness import Liveness
from regrow.criteria.mean_activation import MeanActivation
from regrow.criteria.momentary import Momentary
from regrow.criteria.oracle import Oracle
from regrow.criteria.random_score import RandomScore
from regrow.criteria.taylor import Taylor
from regrow.criteria.weight_norm import WeightNorm
from regrow.criteria.zero_share import ZeroShare

__all__ = [
    "MEASURED",
    "Criterion",
    "CriterionState",
    "FilterOverlap",
    "FisherDiagonal",
    "Gates",
    "GradientSize",
    "Heard",
    "Kept",
    "LayerActivity",
    "Liveness",
    "MeanActivation",
    "Momentary",
    "Observation",
    "Oracle",
    "RandomScore",
    "Signal",
    "Silenced",
    "Taylor",
    "Watching",
    "WeightNorm",
    "ZeroShare",
]
