"""Small networks of many kinds: readers are who is named, and nothing is changed that somebody else uses."""

from __future__ import annotations

import pytest

from oracle.collection import NETWORKS
from oracle.programs import program
from oracle.rows import judge, measure

LONG = {
    *("inverted_residual", "lstm_over_columns", "mixer", "layer_scale", "gated_skips"),
    *("attention_by_hand", "group_norms", "gated_recurrent", "experts", "shared_head_on_scales"),
    *("unet_stretched", "encoder_layer", "attention_between", "branch_in_training", "split_norms"),
    *("class_token", "dilated_branches", "bias_in_training", "convolutional_lstm", "highway"),
    *("channel_attention", "from_the_input", "half_in_place", "one_norm_behind_two"),
    *("pyramid", "siamese", "head_in_training", "gru_cell", "noisy", "unet", "frozen_norms"),
    *("head_on_an_attribute", "over_time", "columns", "scaled_by_words", "frequencies"),
    *("output_in_an_object", "both_signs", "two_towers", "turned_and_summed", "two_heads"),
    *("norm_elsewhere", "positions_from_a_parameter", "by_einsum", "three_dimensions", "two_steps"),
}
"""Those that take longest and have a near relative among the others: the quick ones take some seconds."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in NETWORKS],
)
def test_readers_are_right_and_nobody_is_harmed(name: str) -> None:
    row = measure(name)
    assert row["wrong"] == []
    assert row["harm"] == []
    assert row["renewals"] or not row["followed"], "what is followed is renewed"


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))]
)
def test_random_programs_are_right(seed: int) -> None:
    row = judge(program(seed))
    assert row["wrong"] == []
    assert row["harm"] == []
    assert row["judged"]
