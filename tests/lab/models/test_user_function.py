"""A user's own network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from regrow.errors import ConfigError
from regrow.lab.models.registry import build, check, defaults, recorded_init

SOURCE = """
import torch

NUMBER = 3

def make(*, in_channels, image_size, classes, width=4):
    height, breadth = image_size
    return torch.nn.Sequential(
        torch.nn.Conv2d(in_channels, width, 3, padding=1),
        torch.nn.Flatten(),
        torch.nn.Linear(width * height * breadth, classes),
    )

def named(*, name, function, **sizes): return make(**sizes, width=name + function)
def lacks(in_channels, image_size): ...
def list_of_layers(**sizes): return []
def fails(**sizes): raise RuntimeError("no\\nmemory")
def leaves(**sizes): raise SystemExit(3)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder, which is not on the import path."""
    (tmp_path / "regrow_test_nets.py").write_text(SOURCE)
    (tmp_path / "regrow_test_broken.py").write_text("import regrow_no_such_module\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = list(sys.path)
    assert str(tmp_path) not in before
    yield "regrow_test_nets"
    assert sys.path == before
    for name in ("regrow_test_nets", "regrow_test_broken"):
        sys.modules.pop(name, None)


def make(name: str, *, seed: int = 0, **settings: Any) -> torch.nn.Module:
    return build(name, in_channels=1, image_size=(8, 6), classes=3, settings=settings, seed=seed)


def test_the_function_is_found_in_the_current_folder_and_gets_sizes_and_settings(nets: str) -> None:
    model = make(f"{nets}:make", width=7)
    assert model[0].weight.shape == (7, 1, 3, 3)
    assert model(torch.zeros(2, 1, 8, 6)).shape == (2, 3)


def test_its_settings_have_any_names(nets: str) -> None:
    sizes = {"in_channels": 1, "image_size": (8, 6), "classes": 3}
    model = build(f"{nets}:named", **sizes, settings={"name": 2, "function": 3}, seed=0)
    assert model[0].weight.shape == (5, 1, 3, 3)


def test_its_weights_depend_on_the_seed_alone(nets: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (make(f"{nets}:make", seed=seed)[0].weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_known_of_it_before_it_is_built(nets: str) -> None:
    check(f"{nets}:make", {"anything": 1})
    assert defaults(f"{nets}:make") == {}
    assert recorded_init(f"{nets}:make") is None
    assert nets not in sys.modules


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("regrow_test_gone:make", {}, "cannot import regrow_test_gone: ModuleNotFoundError"),
        (
            "regrow_test_broken:make",
            {},
            "cannot import regrow_test_broken: .*regrow_no_such_module",
        ),
        (
            "regrow_test_nets:maker",
            {},
            "regrow_test_nets has no maker; it has: fails, lacks, leaves, list_of_layers, make",
        ),
        ("regrow_test_nets:NUMBER", {}, "NUMBER must be a function, it is a int"),
        (
            "regrow_test_nets:lacks",
            {},
            "must take the keywords in_channels, image_size, classes: .*'classes'",
        ),
        ("regrow_test_nets:make", {"depth": 3}, "must take the keywords .*depth: .*'depth'"),
        (
            "regrow_test_nets:make",
            {"classes": 3},
            "classes comes from the data set and cannot be a setting",
        ),
        ("regrow_test_nets:list_of_layers", {}, r"must return a torch\.nn\.Module, got list"),
        ("regrow_test_nets:fails", {}, "raised RuntimeError: no memory$"),
        ("regrow_test_nets:leaves", {}, "raised SystemExit: 3"),
    ],
)
def test_what_can_go_wrong(nets: str, name: str, settings: dict[str, Any], message: str) -> None:
    del nets
    with pytest.raises(ConfigError, match=message) as caught:
        build(name, in_channels=1, image_size=(8, 6), classes=3, settings=settings, seed=0)
    assert str(caught.value).startswith(f"model '{name}': ")
