"""Criteria: one score a filter, higher = worth keeping."""

from regrow.criteria.base import (
    MEASURED,
    Averaging,
    Criterion,
    CriterionState,
    Gates,
    Heard,
    Kept,
    LayerActivity,
    Observation,
    Remembering,
    Signal,
    Silenced,
    Watching,
)
from regrow.criteria.filter_overlap import FilterOverlap
from regrow.criteria.fisher_diagonal import FisherDiagonal
from regrow.criteria.gradient_size import GradientSize
from regrow.criteria.gradient_utility import GradientUtility
from regrow.criteria.liveness import Liveness
from regrow.criteria.mean_activation import MeanActivation
from regrow.criteria.momentary import Momentary
from regrow.criteria.oracle import Oracle
from regrow.criteria.random_score import RandomScore
from regrow.criteria.relative_activity import RelativeActivity
from regrow.criteria.relative_gradient import RelativeGradient
from regrow.criteria.shuffled import Shuffled
from regrow.criteria.taylor import Taylor
from regrow.criteria.utility import Utility
from regrow.criteria.weight_norm import WeightNorm
from regrow.criteria.zero_share import ZeroShare

__all__ = [
    "MEASURED",
    "Averaging",
    "Criterion",
    "CriterionState",
    "FilterOverlap",
    "FisherDiagonal",
    "Gates",
    "GradientSize",
    "GradientUtility",
    "Heard",
    "Kept",
    "LayerActivity",
    "Liveness",
    "MeanActivation",
    "Momentary",
    "Observation",
    "Oracle",
    "RandomScore",
    "RelativeActivity",
    "RelativeGradient",
    "Remembering",
    "Shuffled",
    "Signal",
    "Silenced",
    "Taylor",
    "Utility",
    "Watching",
    "WeightNorm",
    "ZeroShare",
]
