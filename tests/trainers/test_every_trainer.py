"""What must hold in every trainer: bits before the first renewal, bits after a resume, also of a killed process."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
import pickle
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import kit

TRAINERS = ("lightning", "transformers", "accelerate", "ignite", "skorch")
Says = Callable[..., None]
_WHOLE: dict[tuple[str, str], kit.Ended] = {}


@pytest.fixture(params=TRAINERS)
def trainer(request: pytest.FixtureRequest) -> Any:
    """How one of them trains; skipped where it is not installed."""
    return importlib.import_module(f"trainers.{request.param}_training")


def _name(trainer: Any) -> str:
    return trainer.__name__.rpartition(".")[2].removesuffix("_training")


def _whole(trainer: Any, recipe: Callable[[], Any], folder: Path) -> kit.Ended:
    """A training that nobody has interrupted, made once."""
    key = _name(trainer), recipe.__name__
    if key not in _WHOLE:
        _WHOLE[key] = trainer.train(folder / "whole", recipe())
    return _WHOLE[key]


def test_nothing_changes_before_the_first_renewal(trainer: Any, tmp_path: Path, says: Says) -> None:
    """A recipe that reads passes and finds nobody, for the layer of the two dead filters is left out."""
    recipe = kit.dead()
    plain = trainer.train(tmp_path / "plain", None)
    watched = trainer.train(tmp_path / "watched", recipe, exclude=["*layers.3"])
    assert watched.steps > 0
    assert watched.events == []
    assert plain.same_weights(watched)
    says(_name(trainer), trainer.VERSION, "equal before")


@pytest.mark.parametrize("recipe", [kit.often, kit.dead])
def test_a_stopped_training_goes_on_to_the_same_bits(
    trainer: Any, recipe: Callable[[], Any], tmp_path: Path, says: Says
) -> None:
    whole = _whole(trainer, recipe, tmp_path)
    assert whole.events
    part = trainer.train(tmp_path / "parted", recipe(), stop=trainer.STOPPED)
    assert part.steps < whole.steps
    rest = trainer.train(tmp_path / "parted", recipe())
    assert rest.same(whole)
    for column in ("one line", "renews", "resume"):
        says(_name(trainer), trainer.VERSION, column)
    if trainer.ACCUMULATES:
        assert whole.steps == kit.STEPS
        says(_name(trainer), trainer.VERSION, "accumulation")


def test_a_resume_that_forgets_the_regrower_would_be_seen(trainer: Any, tmp_path: Path) -> None:
    """The comparison can fail: without the state that travels with the optimizer, other filters are renewed."""
    whole = _whole(trainer, kit.often, tmp_path)
    trainer.train(tmp_path / "parted", None, stop=trainer.STOPPED)
    with pytest.warns(UserWarning, match="the first one that this regrower sees"):
        rest = trainer.train(tmp_path / "parted", kit.often(), quiet=False)
    assert not rest.same(whole)


_FORK = multiprocessing.get_context("fork")


@pytest.mark.parametrize("turn", range(5))
def test_a_killed_training_goes_on_to_the_same_bits(
    trainer: Any, turn: int, tmp_path: Path, says: Says
) -> None:
    """SIGKILL at the start of some pass, also in the middle of an accumulation, and the trainer's own resume."""
    recipe = (kit.often, kit.dead)[turn % 2]
    whole = _whole(trainer, recipe, tmp_path)
    at = random.Random(f"{_name(trainer)} {turn}").randrange(1, kit.EPOCHS * kit.BATCHES)  # noqa: S311
    killed = _FORK.Process(
        target=trainer.train, args=(tmp_path / "killed", recipe()), kwargs={"kill_at": at}
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert trainer.train(tmp_path / "killed", recipe()).same(whole)
    if turn == 4:
        says(_name(trainer), trainer.VERSION, "killed 5 times")


def test_precisions(trainer: Any, tmp_path: Path, says: Says) -> None:
    for precision, settings in trainer.PRECISIONS.items():
        folder = tmp_path / precision
        whole = trainer.train(folder / "whole", kit.dead(), **settings)
        assert whole.events
        trainer.train(folder / "parted", kit.dead(), stop=trainer.STOPPED, **settings)
        assert trainer.train(folder / "parted", kit.dead(), **settings).same(whole)
        says(_name(trainer), trainer.VERSION, "precision", precision)


def test_what_holds_it_can_be_copied(trainer: Any, tmp_path: Path, says: Says) -> None:
    """After a training the copy has report and state in the regrower's place."""
    held: list[Any] = []
    ended = trainer.train(tmp_path / "run", kit.often(), hold=held.append)
    for copied in (copy.deepcopy(held[0]), pickle.loads(pickle.dumps(held[0]))):  # noqa: S301 # our own
        assert len(copied.report.events) == len(ended.events) > 0
    says(_name(trainer), trainer.VERSION, "copies")


def test_the_checkpoint_is_plain_data(trainer: Any, tmp_path: Path) -> None:
    """What carries the state loads with ``weights_only=True``."""
    trainer.train(tmp_path / "run", kit.often())
    found = [
        torch.load(path, weights_only=True, map_location="cpu")
        for pattern in trainer.SAVED
        for path in (tmp_path / "run").glob(pattern)
    ]
    assert found
    assert all("'regrow': {'randomout': {'state':" in str(each) for each in found)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["lightning", "transformers", "accelerate"], indirect=True)
def test_two_ranks(trainer: Any, tmp_path: Path, says: Says) -> None:
    """Each rank sees batches of its own; both renew the same filters, and end with the same bits."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).with_name("one_rank.py")
    ranks = [
        subprocess.Popen([sys.executable, program, _name(trainer), tmp_path, str(rank), str(port)])
        for rank in range(2)
    ]
    assert [each.wait() for each in ranks] == [0, 0]
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert one["events"] == two["events"] != []
    assert all(torch.equal(each, two["weights"][name]) for name, each in one["weights"].items())
    says(_name(trainer), trainer.VERSION, "ranks", "2")
