"""Pure tensor functions: no module, no state, no randomness, any leading axes."""

from regrow.functional.activity import relative_activity
from regrow.functional.clipping import adaptive_scale, norm_scale
from regrow.functional.constants import constant_response
from regrow.functional.duplicates import largest_cosine
from regrow.functional.firing import silence_limit, silence_share
from regrow.functional.gain_control import gain_control
from regrow.functional.gradient import gradient_norm, relative_gradient
from regrow.functional.grafting import blend, own_share, scale_share
from regrow.functional.importance import (
    accuracy_drop,
    fisher_diagonal,
    layer_scaled,
    mean_activation,
    taylor,
    zero_share,
)
from regrow.functional.information import (
    filter_entropies,
    invalid_shares,
    weight_entropy,
    weight_l1,
)
from regrow.functional.isometry import isometric, isometry_deviation, polar_factor
from regrow.functional.masks import below, lowest, lowest_of_all, spare_best
from regrow.functional.moments import adam_update, adamax_update
from regrow.functional.nesterov import nadam_momentum, nadam_update
from regrow.functional.orthogonal import avoiding_directions
from regrow.functional.overlap import expected_overlap, filter_overlap
from regrow.functional.ranking import rank_correlation, value_correlation
from regrow.functional.rates import adagrad_rate, asgd_rate, asgd_share
from regrow.functional.rectified import radam_update
from regrow.functional.shrinking import pulled, shrink_and_add
from regrow.functional.silence import silent
from regrow.functional.spectrum import effective_rank, share_rank, singular_values
from regrow.functional.stagnation import relative_step
from regrow.functional.step_limit import limited, step_scale
from regrow.functional.strength import renewal_strength
from regrow.functional.utility import debiased, input_sizes, unit_utility

__all__ = [
    "accuracy_drop",
    "adagrad_rate",
    "adam_update",
    "adamax_update",
    "adaptive_scale",
    "asgd_rate",
    "asgd_share",
    "avoiding_directions",
    "below",
    "blend",
    "constant_response",
    "debiased",
    "effective_rank",
    "expected_overlap",
    "filter_entropies",
    "filter_overlap",
    "fisher_diagonal",
    "gain_control",
    "gradient_norm",
    "input_sizes",
    "invalid_shares",
    "isometric",
    "isometry_deviation",
    "largest_cosine",
    "layer_scaled",
    "limited",
    "lowest",
    "lowest_of_all",
    "mean_activation",
    "nadam_momentum",
    "nadam_update",
    "norm_scale",
    "own_share",
    "polar_factor",
    "pulled",
    "radam_update",
    "rank_correlation",
    "relative_activity",
    "relative_gradient",
    "relative_step",
    "renewal_strength",
    "scale_share",
    "share_rank",
    "shrink_and_add",
    "silence_limit",
    "silence_share",
    "silent",
    "singular_values",
    "spare_best",
    "step_scale",
    "taylor",
    "unit_utility",
    "value_correlation",
    "weight_entropy",
    "weight_l1",
    "zero_share",
]
