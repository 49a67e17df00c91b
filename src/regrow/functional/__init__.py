"""Every formula of regrow by its name: pure functions of tensors, without state or randomness, for any leading axes.

A formula stands in the file of the part that applies it. Here it is found without knowing which that is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers read; tests/test_api_surface.py holds it to be _HOMES
    from regrow.functional.activity import relative_activity as relative_activity
    from regrow.functional.clipping import adaptive_scale as adaptive_scale
    from regrow.functional.clipping import norm_scale as norm_scale
    from regrow.functional.firing import silence_limit as silence_limit
    from regrow.functional.firing import silence_share as silence_share
    from regrow.functional.gradient import gradient_norm as gradient_norm
    from regrow.functional.gradient import relative_gradient as relative_gradient
    from regrow.functional.importance import accuracy_drop as accuracy_drop
    from regrow.functional.importance import fisher_diagonal as fisher_diagonal
    from regrow.functional.importance import layer_scaled as layer_scaled
    from regrow.functional.importance import mean_activation as mean_activation
    from regrow.functional.importance import taylor as taylor
    from regrow.functional.importance import zero_share as zero_share
    from regrow.functional.masks import below as below
    from regrow.functional.masks import lowest as lowest
    from regrow.functional.masks import lowest_of_all as lowest_of_all
    from regrow.functional.masks import spare_best as spare_best
    from regrow.functional.overlap import expected_overlap as expected_overlap
    from regrow.functional.overlap import filter_overlap as filter_overlap
    from regrow.functional.silence import silent as silent
    from regrow.functional.stagnation import relative_step as relative_step
    from regrow.functional.step_limit import limited as limited
    from regrow.functional.step_limit import step_scale as step_scale
    from regrow.functional.strength import renewal_strength as renewal_strength
    from regrow.functional.utility import debiased as debiased
    from regrow.functional.utility import input_sizes as input_sizes
    from regrow.functional.utility import unit_utility as unit_utility
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
    "accuracy_drop": "functional.importance",
    "adagrad_rate": "surgery.optimizers.adagrad",
    "adam_update": "surgery.optimizers.adam",
    "adamax_update": "surgery.optimizers.adam",
    "adaptive_scale": "functional.clipping",
    "asgd_rate": "surgery.optimizers.asgd",
    "asgd_share": "surgery.optimizers.asgd",
    "avoiding_directions": "renewal.orthogonal",
    "below": "functional.masks",
    "blend": "partners.mixing",
    "constant_response": "renewal.preserve",
    "debiased": "functional.utility",
    "effective_rank": "health.spectrum",
    "expected_overlap": "functional.overlap",
    "filter_entropies": "weighing.information",
    "filter_overlap": "functional.overlap",
    "fisher_diagonal": "functional.importance",
    "gain_control": "nn.formula",
    "gradient_norm": "functional.gradient",
    "input_sizes": "functional.utility",
    "invalid_shares": "weighing.information",
    "isometric": "renewal.network.isometry",
    "isometry_deviation": "health.isometry",
    "largest_cosine": "health.duplicates",
    "layer_scaled": "functional.importance",
    "limited": "functional.step_limit",
    "lowest": "functional.masks",
    "lowest_of_all": "functional.masks",
    "mean_activation": "functional.importance",
    "nadam_momentum": "surgery.optimizers.nadam",
    "nadam_update": "surgery.optimizers.nadam",
    "norm_scale": "functional.clipping",
    "own_share": "weighing.by_information",
    "polar_factor": "renewal.network.isometry",
    "pulled": "renewal.network.pull",
    "radam_update": "surgery.optimizers.rectified",
    "rank_correlation": "lab.agreement",
    "relative_activity": "functional.activity",
    "relative_gradient": "functional.gradient",
    "relative_step": "functional.stagnation",
    "renewal_strength": "functional.strength",
    "scale_share": "weighing.by_information",
    "share_rank": "health.spectrum",
    "shrink_and_add": "renewal.network.shrink_and_add",
    "silence_limit": "functional.firing",
    "silence_share": "functional.firing",
    "silent": "functional.silence",
    "singular_values": "health.spectrum",
    "spare_best": "functional.masks",
    "step_scale": "functional.step_limit",
    "taylor": "functional.importance",
    "unit_utility": "functional.utility",
    "value_correlation": "lab.agreement",
    "weight_entropy": "weighing.information",
    "weight_l1": "weighing.information",
    "zero_share": "functional.importance",
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
