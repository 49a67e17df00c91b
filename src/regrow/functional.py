"""Every formula of regrow by its name: pure functions of tensors, without state or randomness, for any leading axes.

A formula stands in the file of the part that applies it. Here it is found without knowing which that is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers read; tests/test_api_surface.py holds it to be _HOMES
    from regrow.activity.silence import silent as silent
    from regrow.criteria._life_average import debiased as debiased
    from regrow.criteria.filter_overlap import expected_overlap as expected_overlap
    from regrow.criteria.filter_overlap import filter_overlap as filter_overlap
    from regrow.criteria.fisher_diagonal import fisher_diagonal as fisher_diagonal
    from regrow.criteria.gradient_size import gradient_norm as gradient_norm
    from regrow.criteria.layer_scaled import layer_scaled as layer_scaled
    from regrow.criteria.mean_activation import mean_activation as mean_activation
    from regrow.criteria.oracle import accuracy_drop as accuracy_drop
    from regrow.criteria.own_silence import silence_share as silence_share
    from regrow.criteria.relative_activity import relative_activity as relative_activity
    from regrow.criteria.relative_gradient import relative_gradient as relative_gradient
    from regrow.criteria.silence_limit import silence_limit as silence_limit
    from regrow.criteria.stagnation import relative_step as relative_step
    from regrow.criteria.taylor import taylor as taylor
    from regrow.criteria.utility import input_sizes as input_sizes
    from regrow.criteria.utility import unit_utility as unit_utility
    from regrow.criteria.zero_share import zero_share as zero_share
    from regrow.guard.adaptive_clip import adaptive_scale as adaptive_scale
    from regrow.guard.norm_clip import norm_scale as norm_scale
    from regrow.guard.step_limit import limited as limited
    from regrow.guard.step_limit import step_scale as step_scale
    from regrow.health.duplicates import largest_cosine as largest_cosine
    from regrow.health.isometry import isometry_deviation as isometry_deviation
    from regrow.health.spectrum import effective_rank as effective_rank
    from regrow.health.spectrum import share_rank as share_rank
    from regrow.health.spectrum import singular_values as singular_values
    from regrow.lab.agreement import rank_correlation as rank_correlation
    from regrow.lab.agreement import value_correlation as value_correlation
    from regrow.nn.formula import gain_control as gain_control
    from regrow.partners.mixing import blend as blend
    from regrow.renewal.network.isometry import isometric as isometric
    from regrow.renewal.network.isometry import polar_factor as polar_factor
    from regrow.renewal.network.pull import pulled as pulled
    from regrow.renewal.network.shrink_and_add import shrink_and_add as shrink_and_add
    from regrow.renewal.orthogonal import avoiding_directions as avoiding_directions
    from regrow.renewal.preserve import constant_response as constant_response
    from regrow.selection.below import below as below
    from regrow.selection.graded import renewal_strength as renewal_strength
    from regrow.selection.masks import lowest as lowest
    from regrow.selection.masks import lowest_of_all as lowest_of_all
    from regrow.selection.masks import spare_best as spare_best
    from regrow.surgery.optimizers.adagrad import adagrad_rate as adagrad_rate
    from regrow.surgery.optimizers.adam import adam_update as adam_update
    from regrow.surgery.optimizers.adam import adamax_update as adamax_update
    from regrow.surgery.optimizers.asgd import asgd_rate as asgd_rate
    from regrow.surgery.optimizers.asgd import asgd_share as asgd_share
    from regrow.surgery.optimizers.nadam import nadam_momentum as nadam_momentum
    from regrow.surgery.optimizers.nadam import nadam_update as nadam_update
    from regrow.surgery.optimizers.rectified import radam_update as radam_update
    from regrow.weighing.by_information import own_share as own_share
    from regrow.weighing.by_information import scale_share as scale_share
    from regrow.weighing.information import filter_entropies as filter_entropies
    from regrow.weighing.information import invalid_shares as invalid_shares
    from regrow.weighing.information import weight_entropy as weight_entropy
    from regrow.weighing.information import weight_l1 as weight_l1

_HOMES = {
    "accuracy_drop": "criteria.oracle",
    "adagrad_rate": "surgery.optimizers.adagrad",
    "adam_update": "surgery.optimizers.adam",
    "adamax_update": "surgery.optimizers.adam",
    "adaptive_scale": "guard.adaptive_clip",
    "asgd_rate": "surgery.optimizers.asgd",
    "asgd_share": "surgery.optimizers.asgd",
    "avoiding_directions": "renewal.orthogonal",
    "below": "selection.below",
    "blend": "partners.mixing",
    "constant_response": "renewal.preserve",
    "debiased": "criteria._life_average",
    "effective_rank": "health.spectrum",
    "expected_overlap": "criteria.filter_overlap",
    "filter_entropies": "weighing.information",
    "filter_overlap": "criteria.filter_overlap",
    "fisher_diagonal": "criteria.fisher_diagonal",
    "gain_control": "nn.formula",
    "gradient_norm": "criteria.gradient_size",
    "input_sizes": "criteria.utility",
    "invalid_shares": "weighing.information",
    "isometric": "renewal.network.isometry",
    "isometry_deviation": "health.isometry",
    "largest_cosine": "health.duplicates",
    "layer_scaled": "criteria.layer_scaled",
    "limited": "guard.step_limit",
    "lowest": "selection.masks",
    "lowest_of_all": "selection.masks",
    "mean_activation": "criteria.mean_activation",
    "nadam_momentum": "surgery.optimizers.nadam",
    "nadam_update": "surgery.optimizers.nadam",
    "norm_scale": "guard.norm_clip",
    "own_share": "weighing.by_information",
    "polar_factor": "renewal.network.isometry",
    "pulled": "renewal.network.pull",
    "radam_update": "surgery.optimizers.rectified",
    "rank_correlation": "lab.agreement",
    "relative_activity": "criteria.relative_activity",
    "relative_gradient": "criteria.relative_gradient",
    "relative_step": "criteria.stagnation",
    "renewal_strength": "selection.graded",
    "scale_share": "weighing.by_information",
    "share_rank": "health.spectrum",
    "shrink_and_add": "renewal.network.shrink_and_add",
    "silence_limit": "criteria.silence_limit",
    "silence_share": "criteria.own_silence",
    "silent": "activity.silence",
    "singular_values": "health.spectrum",
    "spare_best": "selection.masks",
    "step_scale": "guard.step_limit",
    "taylor": "criteria.taylor",
    "unit_utility": "criteria.utility",
    "value_correlation": "lab.agreement",
    "weight_entropy": "weighing.information",
    "weight_l1": "weighing.information",
    "zero_share": "criteria.zero_share",
}
"""Where each formula is, below `regrow`."""

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] # the block above says it to type checkers


def __getattr__(name: str) -> object:
    """Import a formula when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regrow.functional' has no attribute '{name}'")
    return getattr(importlib.import_module(f"regrow.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The formulas."""
    return sorted({*__all__, *globals()})
