"""DistributedDataParallel over gloo: all ranks decide alike and keep the same bits, whatever a rank's own data are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from ranks.started import by_launcher, forked
from ranks.train_ddp import SCENARIOS

Start = Callable[..., None]

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this torch has no gloo"
)

ALIKE = (
    "sgd",
    "adam",
    "summed_gradients",
    "bucket_views",
    "static_graph",
    "compiled",
    "unused_branch",
    "accumulation",
    "clipping",
    "zero_gradients_on_one_rank",
    "empty_batches_on_one_rank",
    "scaler_with_an_infinity_on_one_rank",
    "local_losses",
    "distances",
    "kept_output",
    "centred",
    "ranked_by_activations",
    "ranked_by_slopes",
    "ranked_by_the_oracle",
    "attached_before_it_is_wrapped",
    "resumed",
    "resumed_with_counts",
    "equal_data_on_all_ranks",
)


SELDOM = (
    "summed_gradients",
    "bucket_views",
    "static_graph",
    "compiled",
    "accumulation",
    "clipping",
    "ranked_by_slopes",
    "resumed_with_counts",
    "redo",
    "regrama",
    "partial_resets",
)
"""Other ways to come by gradients and scores: slow."""


def _run(start: Start, ranks: int, folder: Path, *scenarios: str) -> dict[str, dict[str, Any]]:
    """Run the program on so many processes of this machine and read what rank 0 wrote."""
    out = folder / "found.json"
    start("train_ddp", ranks, out, *scenarios)
    return json.loads(out.read_text())


def _check_alike(name: str, found: dict[str, Any], *, steps: int = 12) -> None:
    for part in ("parameters", "optimizer", "regrower"):
        assert found[part] == [], f"{name}: ranks differ in {part}"
    assert found["finite"], name
    assert found["steps"] == steps, name
    assert found["renewed"] >= 5, f"{name}: too few renewals to show anything"


def _check_refused(messages: list[str], *parts: str) -> None:
    """Every rank raises: none is left waiting for the others."""
    for message in messages:
        for part in parts:
            assert part in message, messages


def test_two_ranks_stay_bit_identical(tmp_path: Path) -> None:
    found = _run(forked, 2, tmp_path, *(name for name in SCENARIOS if name not in SELDOM))
    skipped = found["scaler_with_an_infinity_on_one_rank"]
    assert skipped["scale"] == []
    for name in ALIKE:
        if name in SELDOM:
            continue
        _check_alike(name, found[name], steps=10 if found[name] is skipped else 12)
    assert found["a_rank_that_strays"]["parameters"] == ["/second.weight"]
    quiet = found["silence"]
    for part in ("parameters", "optimizer", "regrower"):
        assert quiet[part] == [], part
    assert quiet["events"] == [[4, "second", [1]], [4, "side", [1]]]

    own = found["own_silences"]
    for part in ("parameters", "optimizer", "regrower"):
        assert own[part] == [], part
    assert own["events"][0] == [3, "first", [1, 3]]

    assert found["centred"]["means"]
    for together, apart in found["centred"]["means"]:
        assert together < 1e-6
        assert apart > 1e-3

    kept = found["kept_alive"]
    for part in ("parameters", "optimizer", "regrower"):
        assert kept[part] == [], part
    assert (kept["gains"], kept["refused"], kept["steps"], kept["finite"]) == (["3"], 1, 11, True)
    assert kept["guarded"]

    # Running statistics stay as DistributedDataParallel leaves them: each rank's own after its last batch.
    assert found["adam"]["running"] == ["/norm.running_mean", "/norm.running_var"]

    for name, told in found["boundaries"].items():
        assert [told[part] for part in ("parameters", "optimizer", "regrower")] == [[], [], []]
        assert told["changes"] == (8 if name == "l2-init" else 1)

    spoilt = found["nan_on_one_rank"]  # the weights are NaN too, on all ranks: as without regrow
    assert [spoilt[part] for part in ("parameters", "optimizer", "regrower")] == [[], [], []]
    assert (spoilt["nonfinite"], spoilt["steps"], spoilt["checks"]) == (1, 4, 4)

    alone = found["equal_data_on_all_ranks"]
    assert alone["as_alone"]
    assert alone["decided_as_alone"]
    assert found["local_losses"]["when"] == [0, 2, 4, 6, 8, 10]

    for name in ("ranked_by_activations", "ranked_by_the_oracle"):
        assert found[name]["as_one"], name
        assert found[name]["scores"] == [], name
    for argument, messages in found["calibration_data_on_one_rank"].items():
        _check_refused(messages, f"{argument} given must be the same on every rank")

    _check_alike("dropping", found["dropping"])
    assert found["dropping"]["still"]
    assert found["dropping"]["alike"]

    joined = found[
        "uneven_inputs"
    ]  # rank 1 made fewer steps: its weights come from the others at the end
    assert joined["parameters"] == []
    assert joined["all_steps"] == [12, 5]

    _check_refused(found["min_loss_under_join"]["refused"], "Join", "the same number of batches")
    _check_refused(found["a_loss_that_one_rank_does_not_tell"]["refused"], "call regrower.tell")
    same = "must be the same on every rank"
    _check_refused(found["settings_that_differ"]["seed"], f"seed {same}", "rank 1 differs")
    _check_refused(found["settings_that_differ"]["recipe"], f"recipe.select {same}", "(attach)")
    _check_refused(found["resumed"]["refused"], f"step {same}", "(load_state_dict)")


@pytest.mark.slow
def test_two_ranks_stay_bit_identical_in_other_ways_of_training(tmp_path: Path) -> None:
    found = _run(forked, 2, tmp_path, *SELDOM)
    for name in SELDOM:
        _check_alike(name, found[name])
    assert found["ranked_by_slopes"]["as_one"]
    assert found["ranked_by_slopes"]["scores"] == []
    observed = set(map(tuple, found["resumed_with_counts"]["counts"].values()))
    assert observed == {(6.0, 6.0, 6.0)}  # every second of twelve steps, on either side of the load
    _check_refused(found["compiled"]["refused"], "seed must be the same on every rank")


@pytest.mark.slow
def test_four_ranks_stay_bit_identical(tmp_path: Path) -> None:
    names = ("adam", "unused_branch", "nan_on_one_rank", "local_losses", "uneven_inputs")
    found = _run(by_launcher, 4, tmp_path, *names)
    for name in ("adam", "unused_branch", "local_losses"):
        _check_alike(name, found[name])
    assert found["nan_on_one_rank"]["regrower"] == []
    assert found["uneven_inputs"]["parameters"] == []
    assert found["uneven_inputs"]["all_steps"] == [12, 5, 12, 12]


@pytest.mark.slow
def test_four_ranks_in_every_scenario(tmp_path: Path) -> None:
    found = _run(by_launcher, 4, tmp_path)
    for name in ALIKE:
        steps = 10 if name == "scaler_with_an_infinity_on_one_rank" else 12
        _check_alike(name, found[name], steps=steps)
    _check_refused(found["settings_that_differ"]["seed"], "rank 3 differs from rank 0")
