from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regrow.errors import RegrowWarning, StoreError
from regrow.lab.checkpoint import CheckpointFile

STATE = {"weights": torch.arange(6.0).reshape(2, 3), "records": [{"epoch": 1, "loss": None}]}


def checkpoint(
    path: Path, *, trial: str = "base/none/seed0", every_s: float = 0.0
) -> CheckpointFile:
    return CheckpointFile(path, trial=trial, fingerprint="f", every_s=every_s)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "a.ckpt")
    assert file.load() is None
    assert file.save_if_due(lambda: STATE)
    found = checkpoint(tmp_path / "a.ckpt").load()
    assert found is not None
    assert torch.equal(found["weights"], STATE["weights"])
    assert found["records"] == STATE["records"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_state_of_fewer_trials_than_go_on_from_it_is_not_used(tmp_path: Path) -> None:
    """Their run has gone on without them, and whoever trained it died before that was heard."""
    file = checkpoint(tmp_path / "a.ckpt")
    file.save(STATE, members=["a", "b"], epoch=1)
    assert file.load(members=["b"]) is not None
    with pytest.warns(RegrowWarning, match="c is no part of it any more; set aside"):
        assert file.load(members=["a", "c"]) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.damaged"]


def test_nothing_is_saved_before_its_time(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "a.ckpt", every_s=1000.0)
    assert not file.save_if_due(lambda: STATE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "truncated or damaged"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "truncated or damaged"),
        (lambda content: b"", "no checkpoint of regrow"),
        (lambda content: b"\x80pickle" + content, "no checkpoint of regrow"),
        (lambda content: content.replace(b"checkpoint 1", b"checkpoint 9", 1), "its version is 9"),
    ],
)
def test_a_damaged_file_is_reported_and_set_aside(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = tmp_path / "a.ckpt"
    checkpoint(path).save(STATE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(RegrowWarning, match=reason):
        assert checkpoint(path).load() is None
    assert [found.name for found in tmp_path.iterdir()] == ["a.damaged"]


def test_another_trials_checkpoint_is_not_used(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a.ckpt").save(STATE)
    with pytest.warns(RegrowWarning, match="belongs to another trial"):
        assert checkpoint(tmp_path / "a.ckpt", trial="base/none/seed1").load() is None


def test_a_write_that_fails_leaves_the_last_checkpoint_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ckpt"
    checkpoint(path).save(STATE)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> None:
        del self, target
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match=r"a\.ckpt: .* cannot be written: No space left"):
        checkpoint(path).save(STATE)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.ckpt"]
