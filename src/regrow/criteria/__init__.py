"""Criteria: one score a filter, higher = worth keeping."""

from regrow.criteria.base import Criterion, CriterionState, Observation, Signal
from regrow.criteria.gradient_size import GradientSize
from regrow.criteria.random_score import RandomScore

__all__ = ["Criterion", "CriterionState", "GradientSize", "Observation", "RandomScore", "Signal"]
