"""Weights for `regrow inspect`: whatever a file holds, what is wrong is one line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import nn

from regrow.errors import DataError
from regrow.lab.inspected import load_weights


def saved(found: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(found, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def renamed() -> bytes:
    """The older form, in which tensors lie apart by keys, with another key."""
    whole = saved({"weight": torch.ones(2)}, zipped=False)
    start = whole.rindex(b"X") + 5  # behind its length: the last text is the key
    return whole[:start] + bytes([whole[start] ^ 1]) + whole[start + 1 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be what torch.save"),
        (b".", "must be what torch.save"),
        (b"J", "must be what torch.save"),
        (b"\x80\x02K\x01Q.", "must be what torch.save"),
        (renamed(), "must be what torch.save"),
        (saved([torch.ones(2)]), "must hold a state dict, got list"),
        (saved({0: torch.ones(2)}), "must hold a state dict, whose keys are texts, got 0"),
        (saved({"weight": 3}), "must be weights of this model"),
        (saved({"model": {"weight": torch.ones(5)}}), "must be weights of this model"),
    ],
)
def test_what_are_no_weights_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(DataError) as told:
        load_weights(nn.Linear(2, 2), path)
    assert str(told.value).startswith(f"{path}: {message}")
    assert "\n" not in str(told.value)
