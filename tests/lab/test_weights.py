"""Weights on the disk: what is written is what is read, and damage is told and never mended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regrow.errors import ConfigError, StoreError
from regrow.lab.weights import WeightsFile, read_weights
from regrow.study.document import ModelChoice
from regrow.study.folder import sha256_of

MakeNet = Callable[[int], nn.Module]
MODEL = ModelChoice(name="convnet", settings={"width": 4, "init": "kaiming_normal"})
PLAIN = ModelChoice(name="cratercnn")


def _file(path: Path, *, trial: str = "base/big/seed0", fingerprint: str = "f") -> WeightsFile:
    return WeightsFile(path, trial=trial, fingerprint=fingerprint)


def _same(one: Any, other: Any) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_saved_is_what_is_loaded(small_cnn: MakeNet, tmp_path: Path) -> None:
    path = tmp_path / "weights" / "a.pt"
    states = [small_cnn(seed).state_dict() for seed in (1, 2)]
    states[1] = {
        **{name: value.to(torch.bfloat16) for name, value in states[1].items()},
        "odd": torch.tensor([True, False]),
        "laid": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }
    _file(path).save(MODEL, states)
    _file(path).save(MODEL, states)  # a trial that is trained again writes over it
    found = _file(path).load()
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]
    assert found.model == MODEL
    assert found.source == "base/big/seed0"
    assert all(_same(one, other) for one, other in zip(found.states, states, strict=True))
    assert {value.dtype for value in found.states[1].values()} == {
        *(torch.bfloat16, torch.bool, torch.float32)
    }
    # The same file as a user's: nothing but torch is needed, and the study's model is not.
    by_path = read_weights(str(path), plain=PLAIN, sha256=sha256_of(str(path)))
    assert by_path.model == MODEL
    assert sha256_of(str(path)) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.load(path, weights_only=True)["version"] == 1


def test_a_plain_state_dict_is_taken_for_the_studys_model(
    small_cnn: MakeNet, tmp_path: Path
) -> None:
    state = small_cnn(1).state_dict()
    torch.save(state, tmp_path / "a.pt")
    found = read_weights(str(tmp_path / "a.pt"), plain=PLAIN)
    assert found.model == PLAIN
    assert len(found.states) == 1
    assert _same(found.states[0], state)


def _tensor_bytes(state: dict[str, Tensor]) -> bytes:
    return state["6.weight"].numpy().tobytes()


def test_every_damage_of_a_trials_weights_is_told(small_cnn: MakeNet, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    state = small_cnn(1).state_dict()
    _file(path).save(MODEL, [state])
    whole = path.read_bytes()
    at = whole.index(_tensor_bytes(state)[:64])
    flipped = bytearray(whole)
    flipped[at] ^= 1
    cases: list[tuple[bytes | None, str]] = [
        (whole[: len(whole) // 2], "the file: is damaged"),
        (bytes(flipped), "the file: (is damaged|its checksum does not match)"),
        (b"", "the file: is damaged"),
        (None, "the file is not there"),
    ]
    for content, message in cases:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(StoreError, match=message) as caught:
            _file(path).load()
        told = str(caught.value)
        assert told.startswith(f"{path}: the weights of base/big/seed0, which has ended")
        assert told.endswith("back from a copy, or begin the study anew in another --out")


def test_the_checksum_covers_weights_and_settings(small_cnn: MakeNet, tmp_path: Path) -> None:
    """Also where torch's own format is whole: a file that was written anew with something else in it."""
    path = tmp_path / "a.pt"
    _file(path).save(MODEL, [small_cnn(1).state_dict()])
    content = torch.load(path, weights_only=True)
    changes: list[dict[str, Any]] = [
        {"settings": {**content["settings"], "width": 5}},
        {"model": "cratercnn"},
        {"states": [small_cnn(2).state_dict()]},
        {"states": [content["states"][0], content["states"][0]]},
    ]
    for change in changes:
        torch.save({**content, **change}, path)
        with pytest.raises(StoreError, match="its checksum does not match"):
            _file(path).load()
    torch.save({**content, "version": 2}, path)
    with pytest.raises(
        StoreError, match="must be of format regrow-weights 1, got regrow-weights 2"
    ):
        _file(path).load()
    torch.save({key: value for key, value in content.items() if key != "states"}, path)
    with pytest.raises(StoreError, match="states is missing"):
        _file(path).load()


@pytest.mark.parametrize("other", [{"trial": "base/big/seed1"}, {"fingerprint": "g"}])
def test_weights_of_another_trial_or_study_are_refused(
    small_cnn: MakeNet, tmp_path: Path, other: dict[str, str]
) -> None:
    _file(tmp_path / "a.pt").save(MODEL, [small_cnn(1).state_dict()])
    with pytest.raises(StoreError, match=f"the file: must be of {next(iter(other))}"):
        _file(tmp_path / "a.pt", **other).load()


def test_files_that_hold_no_weights_are_refused(small_cnn: MakeNet, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    cases: list[tuple[object, str]] = [
        (small_cnn(1), "is no file of weights alone"),
        ({"epoch": 3, "state_dict": small_cnn(1).state_dict()}, "it holds epoch, state_dict"),
        ([torch.zeros(2)], "must hold a dictionary of weights, got list"),
        ({}, "it holds nothing"),
    ]
    for content, message in cases:
        torch.save(content, path)
        with pytest.raises(ConfigError, match=message):
            read_weights(str(path), plain=PLAIN)


def test_a_file_that_has_changed_or_is_gone_is_told(small_cnn: MakeNet, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(small_cnn(1).state_dict(), path)
    before = sha256_of(str(path))
    torch.save(small_cnn(2).state_dict(), path)
    with pytest.raises(ConfigError, match=f"has changed since the study was begun: .*{before}"):
        read_weights(str(path), plain=PLAIN, sha256=before)
    path.unlink()
    with pytest.raises(ConfigError, match=r"weights file .*a\.pt: cannot be read from .*: No such"):
        read_weights(str(path), plain=PLAIN)


def test_a_full_disk_leaves_nothing_half_written(
    small_cnn: MakeNet, small_disk: Path, fill_disk: Callable[[Path], None]
) -> None:
    path = small_disk / "a.pt"
    _file(path).save(MODEL, [small_cnn(1).state_dict()])
    whole = path.read_bytes()
    fill_disk(small_disk / "filler")
    with pytest.raises(StoreError, match=r"a\.pt: the weights cannot be written: No space"):
        _file(path).save(MODEL, [small_cnn(2).state_dict()])
    assert path.read_bytes() == whole
    assert sorted(p.name for p in small_disk.iterdir()) == ["a.pt", "filler"]
