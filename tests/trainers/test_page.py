"""docs/trainers.md: each block runs as it is printed, behind the first one, and ends with a report."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import torch

from trainers import kit

pytest.importorskip("lightning", reason="make test-trainers installs what the page is about")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trainers.md"
NEEDS = {
    "Lightning": "lightning",
    "Transformers": "transformers",
    "Accelerate": "accelerate",
    "Ignite": "ignite",
    "skorch": "skorch",
    "timm's training script": "timm",
    "torchvision's references": "torchvision",
    "stable-baselines3": "stable_baselines3",
    "diffusers": "diffusers",
}


def _blocks() -> dict[str, str]:
    """The code by heading; the page's own first."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    headed = dict(zip(["", *parts[1::2]], parts[0::2], strict=True))
    found = {
        title: "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
        for title, text in headed.items()
    }
    return {title: code for title, code in found.items() if code}


BLOCKS = _blocks()


def test_every_trainer_of_the_page_is_known() -> None:
    assert set(NEEDS) <= set(BLOCKS)


@pytest.mark.parametrize("title", [title for title in BLOCKS if title])
def test_the_block_runs_as_printed(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if title in NEEDS:
        pytest.importorskip(NEEDS[title])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if title == "DistributedDataParallel":
        _one_rank(monkeypatch)
    code = compile(f"{BLOCKS['']}\n{BLOCKS[title]}", str(PAGE), "exec")
    with torch.random.fork_rng(), kit.quietly():
        torch.manual_seed(0)
        exec(code, {"__name__": "__main__"})  # noqa: S102 # our own page
    told = re.findall(r"keepalive: \d+ renewals? in (\d+) steps?", capsys.readouterr().out)
    assert told, "the block must print its report"
    assert all(int(steps) > 0 for steps in told)


def _one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun tells a process that is alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
