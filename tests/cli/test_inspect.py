"""`regrow inspect`: a network by name, its weights, data, and an exit code for a pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from regrow.cli.main import app

NETS = """
from torch import nn

def plain():
    print("made")
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))

def sized(in_channels, image_size, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size[0] * image_size[1], 12), nn.ReLU(),
                         nn.Linear(12, classes))

def broken():
    raise OSError("no such thing")

def number():
    return 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With networks, arrays and the weights of a network that is dead in two of ten units."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "inspectednets", raising=False)
    (tmp_path / "inspectednets.py").write_text(NETS)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 6)).astype(np.float32), rng.integers(0, 3, 200)
    np.savez(tmp_path / "batch.npz", x=x, y=y)
    np.savez(tmp_path / "inputs.npz", x=x)
    np.savez(tmp_path / "bytes.npz", x=(x > 0).astype(np.uint8))
    np.savez(tmp_path / "other.npz", z=x)
    net = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))
    with torch.no_grad():
        net[0].get_parameter("bias")[:] = 0
        net[0].get_parameter("bias")[[2, 5]] = -100
    torch.save(net.state_dict(), tmp_path / "dead.pt")
    wrapped = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "checkpoint.pt")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "wrong.pt")
    (tmp_path / "text.pt").write_text("no weights")
    return tmp_path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_a_screen_of_saved_weights(folder: Path) -> None:
    for weights in ("dead.pt", "checkpoint.pt"):
        found = _run("inspectednets:plain", "--weights", weights, "--data", "npz:batch.npz")
        assert found.exit_code == 0, found.stderr
        assert "2 of 10 units dead" in found.stdout
        assert "made" not in found.stdout


def test_the_exit_code_says_whether_it_is_too_much(folder: Path) -> None:
    asked = ("inspectednets:plain", "--weights", "dead.pt", "--data", "npz:batch.npz", "--fail-on")
    assert _run(*asked, "dead=0.2").exit_code == 0
    found = _run(*asked, "dead=0.19", "--fail-on", "blocked=0")
    assert found.exit_code == 1
    assert found.stderr.splitlines()[1:] == ["error: dead is 0.2 of all units, more than 0.19"]


def test_json_is_json_alone(folder: Path) -> None:
    found = _run("inspectednets:plain", "--data", "npz:inputs.npz", "--json", "--examples", "50")
    document = json.loads(found.stdout)
    assert document["examples"] == 50
    assert document["evidence"] == ["weights only", "one forward"]


def test_a_page(folder: Path) -> None:
    found = _run(
        *("inspectednets:plain", "--weights", "dead.pt", "--data", "npz:batch.npz"),
        *("--html", "health.html"),
    )
    assert found.exit_code == 0, found.stderr
    assert "inspectednets:plain" in (folder / "health.html").read_text()
    lost = _run("inspectednets:plain", "--data", "npz:batch.npz", "--html", "nowhere/health.html")
    assert lost.exit_code == 1
    assert "error: nowhere/health.html: the page cannot be written" in lost.stderr


def test_a_data_set_of_the_laboratory_says_its_sizes(folder: Path) -> None:
    found = _run("inspectednets:sized", "--data", "digits", "--json", "--examples", "100")
    assert found.exit_code == 0, found.stderr
    assert [each["count"] for each in json.loads(found.stdout)["layers"]] == [12, 10]
    known = _run("cratercnn", "--data", "digits", "--examples", "20")
    assert known.exit_code == 0, known.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspectednets:plain", "--data", "npz:nowhere.npz"), "nowhere.npz: must be an .npz file"),
        (
            ("inspectednets:plain", "--data", "npz:bytes.npz"),
            "must hold what the network is called with, got uint8",
        ),
        (("inspectednets:plain", "--data", "npz:other.npz"), "must hold an array x, or x_train"),
        (
            ("inspectednets:nothing", "--data", "npz:batch.npz"),
            "inspectednets has no nothing; it has: ",
        ),
        (("inspectednets:broken", "--data", "npz:batch.npz"), "raised OSError: no such thing"),
        (
            ("inspectednets:number", "--data", "npz:batch.npz"),
            "must return a torch.nn.Module, got int",
        ),
        (
            ("inspectednets:sized", "--data", "npz:batch.npz"),
            "needs in_channels, image_size and classes",
        ),
        (
            ("resnet21", "--data", "npz:batch.npz"),
            "model 'resnet21' must be package.module:function, or one of",
        ),
        (
            ("inspectednets:plain", "--data", "npz:batch.npz", "--weights", "no.pt"),
            "no.pt: must be a file of weights",
        ),
        (
            ("inspectednets:plain", "--data", "npz:batch.npz", "--weights", "text.pt"),
            "text.pt: must be what torch.save(model.state_dict(), ...) writes",
        ),
        (
            ("inspectednets:plain", "--data", "npz:batch.npz", "--weights", "wrong.pt"),
            "wrong.pt: must be weights of this model",
        ),
        (
            ("inspectednets:plain", "--data", "npz:batch.npz", "--fail-on", "dead"),
            "--fail-on must be MEASURE=SHARE",
        ),
        (
            ("inspectednets:plain", "--data", "npz:batch.npz", "--fail-on", "deed=0.1"),
            "unknown measure of units 'deed' (did you mean 'dead'?)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_one_line_and_bad_use(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    found = _run(*arguments)
    assert found.exit_code == 2
    assert message in found.stderr
    assert len([line for line in found.stderr.splitlines() if line.startswith("error: ")]) == 1
