"""Criteria: one score a filter, higher = worth keeping."""

from typing import TYPE_CHECKING

from regrow._renamed import renamed_in
from regrow.criteria.base import (
    MEASURED,
    Ablation,
    ActivationStatistics,
    AveragingCriterion,
    Criterion,
    CriterionState,
    Gates,
    KeepReason,
    LayerActivity,
    Observation,
    RememberingCriterion,
    Signal,
    WatchingCriterion,
)
from regrow.criteria.filter_overlap import FilterOverlap
from regrow.criteria.fisher_diagonal import FisherDiagonal
from regrow.criteria.gradient_size import GradientSize
from regrow.criteria.liveness import Liveness
from regrow.criteria.mean_activation import MeanActivation
from regrow.criteria.momentary import Momentary
from regrow.criteria.oracle import Oracle
from regrow.criteria.random_score import RandomScore
from regrow.criteria.relative_activity import RelativeActivity
from regrow.criteria.relative_gradient import RelativeGradient
from regrow.criteria.taylor import Taylor
from regrow.criteria.utility import Utility
from regrow.criteria.weight_norm import WeightNorm
from regrow.criteria.zero_share import ZeroShare

__all__ = [
    "MEASURED",
    "Ablation",
    "ActivationStatistics",
    "AveragingCriterion",
    "Criterion",
    "CriterionState",
    "FilterOverlap",
    "FisherDiagonal",
    "Gates",
    "GradientSize",
    "KeepReason",
    "LayerActivity",
    "Liveness",
    "MeanActivation",
    "Momentary",
    "Observation",
    "Oracle",
    "RandomScore",
    "RelativeActivity",
    "RelativeGradient",
    "RememberingCriterion",
    "Signal",
    "Taylor",
    "Utility",
    "WatchingCriterion",
    "WeightNorm",
    "ZeroShare",
]

if not TYPE_CHECKING:  # to type checkers a module with a `__getattr__` has every name
    __getattr__ = renamed_in(
        __name__,
        {
            "Averaging": "AveragingCriterion",
            "Heard": "ActivationStatistics",
            "Kept": "KeepReason",
            "Remembering": "RememberingCriterion",
            "Silenced": "Ablation",
            "Watching": "WatchingCriterion",
        },
    )
