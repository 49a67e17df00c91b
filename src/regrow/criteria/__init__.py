"""Criteria: one score a filter, higher = worth keeping."""

from regrow.criteria.base import Criterion, CriterionState, Observation, Signal
from regrow.criteria.filter_overlap import FilterOverlap
from regrow.criteria.gradient_size import GradientSize
from regrow.criteria.random_score import RandomScore
from regrow.criteria.weight_norm import WeightNorm

__all__ = [
    "Criterion",
    "CriterionState",
    "FilterOverlap",
    "GradientSize",
    "Observation",
    "RandomScore",
    "Signal",
    "WeightNorm",
]
