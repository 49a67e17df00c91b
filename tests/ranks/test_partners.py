"""Networks that graft over ranks: the bits of the ring in one process; ranks that die, hang or are told otherwise."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from ranks.started import HERE, by_launcher, environment, forked, free_port

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this torch has no gloo"
)

RINGS = (
    "keep",
    "memory_graft",
    "memory_reset",
    "reference",
    "by_filter",
    "l1_and_rare",
    "channels_last",
    "architectures",
    "without_hooks",
    "depthwise",
)


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What rank 0 wrote, of two ranks and of four."""
    out = tmp_path_factory.mktemp("ranks") / "found.json"
    (forked if request.param == 2 else by_launcher)("train_partners", request.param, out)
    return {"size": request.param, **json.loads(out.read_text())}


@pytest.mark.parametrize("name", RINGS)
def test_ranks_have_the_bits_of_the_ring_in_one_process(found: dict[str, Any], name: str) -> None:
    assert len(found[name]["ranks"]) == found["size"]
    for rank in found[name]["ranks"]:
        assert rank["unlike"] == []
        assert rank["events"]
        assert rank["grafts"] == (1 if name == "l1_and_rare" else 2)
        assert rank["count"] >= rank["grafts"]
        assert rank["finite"]


def test_layers_that_do_not_match_are_told_on_each_rank(found: dict[str, Any]) -> None:
    for k, rank in enumerate(found["architectures"]["ranks"]):
        assert rank["notes"] == [f"network {k}: not in the network before it, left alone: head"]


def test_a_network_that_is_not_finite_spoils_no_other(found: dict[str, Any]) -> None:
    ranks = found["nan_on_one_rank"]["ranks"]
    assert [rank["finite"] for rank in ranks] == [k != 1 for k in range(found["size"])]
    for rank in ranks:
        assert rank["unlike"] == []
        assert rank["events"]


def test_rings_of_a_part_of_the_ranks(found: dict[str, Any]) -> None:
    for rank in found["rings_of_two"]["ranks"]:
        assert rank["unlike"] == []
        assert rank["grafts"] == 2
    told = found["rings_of_two"]["refused"]
    if found["size"] == 4:
        assert all("must be one of the group that it is given" in each for each in told)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("recipe", "weigh must be the same on every rank: rank 0 has ByInformation(criterion="),
        ("clock", "clock must be the same on every rank"),
        ("hooks", "hooks must be the same on every rank: rank 0 has True"),
        ("size", "needs as many ranks, got"),
        ("stranger", "must have the name and shape of one in the network before it"),
        ("wrapped", "inside DistributedDataParallel"),
        ("timeout", "timeout_s must be above 0, got 0"),
    ],
)
def test_mistakes_are_told_on_every_rank(found: dict[str, Any], mistake: str, message: str) -> None:
    told = found["mistakes"][mistake]
    assert len(told) == found["size"]
    assert all(message in each and len(each) < 600 for each in told), told


def test_interrupted_and_resumed_is_uninterrupted(found: dict[str, Any]) -> None:
    for rank in found["resumed"]["ranks"]:
        assert rank == {"unlike": [], "events": True, "grafts": 3}
    told = found["resumed"]["refused"]
    assert all(
        "steps must be the same on every rank: rank 0 has [6], rank 1 has [3]" in t for t in told
    )


class Ranks:
    """Two processes, started without a launcher that would end them all."""

    def __init__(self, folder: Path, *options: tuple[str, ...]) -> None:
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / "train_partner_alone.py"), str(folder), *options[rank]],
                env={**environment(), **shared, "RANK": str(rank)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]

    def end(self) -> list[tuple[int, str]]:
        """Exit codes, and what they said."""
        try:
            return [
                (process.returncode, said)
                for process in self.processes
                for said in (process.communicate()[1],)
            ]
        finally:
            for process in self.processes:
                process.kill()
                process.wait()


def _ends(folder: Path) -> list[Any]:
    return [torch.load(folder / f"{rank}-end.pt", weights_only=True) for rank in range(2)]


def _tensors(thing: Any) -> list[torch.Tensor]:
    if isinstance(thing, torch.Tensor):
        return [thing]
    inner = list(thing.values()) if isinstance(thing, dict) else thing
    return [t for each in inner for t in _tensors(each)] if isinstance(inner, list) else []


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_other_and_both_go_on_from_their_checkpoints(
    tmp_path: Path,
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    assert [code for code, _ in Ranks(whole, (), ()).end()] == [0, 0]

    # The group would wait for an hour: what ends the other rank is the death.
    (code, said), (other, _) = Ranks(cut, (), ("--die", "6")).end()
    assert other == -signal.SIGKILL
    assert code not in {0, -signal.SIGKILL}
    assert "regrow.errors.PartnerError: rank 1" in said
    assert "graft after step 8" in said
    assert "start them again from the last checkpoint" in said
    assert not (cut / "0-end.pt").exists()

    assert [code for code, _ in Ranks(cut, ("--resume",), ("--resume",)).end()] == [0, 0]
    for one, two in zip(_ends(whole), _ends(cut), strict=True):
        first, second = _tensors(one), _tensors(two)
        assert len(first) == len(second) > 20
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        mine, theirs = one[2], two[2]
        assert mine["report"]["events"] == theirs["report"]["events"]
        assert mine["steps"] == theirs["steps"] == [16]


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["keep", "graft"])
def test_a_rank_that_hangs_is_waited_for_as_long_as_was_said(tmp_path: Path, memory: str) -> None:
    options = ("--timeout", "10", "--memory", memory)
    ranks = Ranks(tmp_path, options, (*options, "--hang", "6"))
    first = ranks.processes[0]
    try:
        _, said = first.communicate()
    finally:
        for process in ranks.processes:
            process.kill()
        ranks.processes[1].communicate()
    assert first.returncode not in {0, None, -signal.SIGKILL}
    assert "regrow.errors.PartnerError: rank 1" in said
    assert "did not answer in time (graft after step 8)" in said
    assert "This network is as it was before" in said
