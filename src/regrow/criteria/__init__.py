"""Criteria: one score a filter, higher = worth keeping."""

from typing import TYPE_CHECKING

from regrow._renamed import renamed_in
from regrow.criteria.base import (
    MEASURED,
    Ablation,
    ActivationStatistics,
    AveragingCriterion,
    CentringCriterion,
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
from regrow.criteria.firing_rate import FiringRate
from regrow.criteria.fisher_diagonal import FisherDiagonal
from regrow.criteria.gradient_size import GradientSize
from regrow.criteria.gradient_utility import GradientUtility
from regrow.criteria.liveness import Liveness
from regrow.criteria.mean_activation import MeanActivation
from regrow.criteria.momentary import Momentary
from regrow.criteria.oracle import Oracle
from regrow.criteria.output_gradient import OutputGradient
from regrow.criteria.own_silence import OwnSilence
from regrow.criteria.random_score import RandomScore
from regrow.criteria.relative_activity import RelativeActivity
from regrow.criteria.relative_gradient import RelativeGradient
from regrow.criteria.shuffled import Shuffled
from regrow.criteria.silence_limit import SilenceLimit
from regrow.criteria.since_firing import SinceFiring
from regrow.criteria.stagnation import Stagnation
from regrow.criteria.taylor import Taylor
from regrow.criteria.utility import Utility
from regrow.criteria.weight_norm import WeightNorm
from regrow.criteria.zero_share import ZeroShare

__all__ = [
    "MEASURED",
    "Ablation",
    "ActivationStatistics",
    "AveragingCriterion",
    "CentringCriterion",
    "Criterion",
    "CriterionState",
    "FilterOverlap",
    "FiringRate",
    "FisherDiagonal",
    "Gates",
    "GradientSize",
    "GradientUtility",
    "KeepReason",
    "LayerActivity",
    "Liveness",
    "MeanActivation",
    "Momentary",
    "Observation",
    "Oracle",
    "OutputGradient",
    "OwnSilence",
    "RandomScore",
    "RelativeActivity",
    "RelativeGradient",
    "RememberingCriterion",
    "Shuffled",
    "Signal",
    "SilenceLimit",
    "SinceFiring",
    "Stagnation",
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
