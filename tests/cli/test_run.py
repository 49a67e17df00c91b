from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app

FLAT = """
from torch import nn


def make(*, in_channels, image_size, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size[0] * image_size[1], classes))


def leave(*, in_channels, image_size, classes):
    raise SystemExit(3)
"""

Start = Callable[..., "subprocess.Popen[str]"]
Tables = Callable[[Path], dict[str, list[tuple[object, ...]]]]


def children(process: int) -> list[int]:
    """Process ids of a process's children, workers among them."""
    return [
        int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.02)


def state_of(out: Path) -> set[tuple[str, int]]:
    """What shows that a run is at work: its checkpoints, with their times."""
    return {(path.name, path.stat().st_mtime_ns) for path in (out / "checkpoints").glob("*.ckpt")}


def ended_in(out: Path) -> int:
    with sqlite3.connect(out / "results.sqlite") as database:
        return database.execute("SELECT COUNT(*) FROM trials").fetchone()[0]


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(
    start: Start, study_file: Path, tables: Tables, tmp_path: Path
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    arguments = ("run", study_file, "--out", out, "--checkpoint-every", 0)
    moments = random.Random(20160218)  # noqa: S311 # moments, not secrets
    interrupted = 0
    # Soon after the first sign of life: a quick machine trains all of it within a second.
    for how in ("ctrl-c", "group", "parent alone"):
        before = state_of(out)
        process = start(*arguments, "--jobs", 1)
        wait_until(lambda before=before: bool(state_of(out) - before))
        time.sleep(moments.uniform(0.0, 0.1))
        workers = children(process.pid)
        if how == "group":
            os.killpg(process.pid, signal.SIGKILL)
        elif how == "parent alone":
            assert len(workers) >= 1
            process.kill()
            wait_until(lambda: not any(alive(worker) for worker in workers))  # noqa: B023
        else:
            os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate()
        interrupted += ended_in(out) < 6
        if how == "ctrl-c":
            assert process.returncode == 130, stderr
            assert "of 6 trials have ended and are kept in" in stderr
            assert f"regrow run {study_file} --out {out}" in stderr
            assert "Traceback" not in stderr
    assert interrupted == 3
    found = CliRunner().invoke(app, [*map(str, arguments), "--jobs", "1"])
    assert found.exit_code == 0, found.stderr
    found = CliRunner().invoke(app, ["run", str(study_file), "--out", str(whole), "--jobs", "2"])
    assert found.exit_code == 0, found.stderr
    assert tables(out) == tables(whole)


@pytest.mark.usefixtures("spawned")
def test_no_space_for_results_is_one_line_and_no_damage(study_file: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk; it needs no root, and the workers inherit it."""
    out = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        found = CliRunner().invoke(app, ["run", str(study_file), "--out", str(out), "--jobs", "1"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert found.exit_code in {1, 2}
    assert found.stderr.splitlines()[-1].startswith("error: ")
    assert "cannot be written" in found.stderr
    assert "Traceback" not in found.stderr
    with sqlite3.connect(out / "results.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "randomot"], "unknown recipe 'randomot' (did you mean 'randomout'?)"),
        (["--model", "cratercn"], "unknown model 'cratercn' (did you mean 'cratercnn'?)"),
        (["--data", "digit"], "unknown data set 'digit' (did you mean 'digits'?)"),
        (["--set", "train.lrr=1"], "unknown key 'lrr' (did you mean 'lr'?)"),
        (["--set", "model.filter=1"], "unknown setting 'filter' (did you mean 'filters'?)"),
        (["--set", "randomout.threshold=-1"], "threshold must be at least 0, got -1"),
        (
            ["--set", "randomout.active_fraction=1.2"],
            "active_fraction must be within [0, 1], got 1.2",
        ),
        (["--seeds", "0"], "seeds: must be at least 1, got 0"),
        (["--lr", "nan"], "train.lr: must be a finite number"),
        (["--data-dir", "/nowhere"], "--data-dir: must be a folder, got /nowhere"),
        (["--data", "npz:/nowhere.npz"], "/nowhere.npz"),
        (["--model", "no_such_module:make"], "cannot import no_such_module"),
        (["--model", "torch.nn:Identity"], "the model must have parameters to train"),
        (["--model", "flat_nets:make"], "filter"),
        (["--model", "flat_nets:leave"], "raised SystemExit: 3"),
        (["--seeds", "99999999999"], "seeds: must be at most 100000, got 99999999999"),
        (["--name", " "], "name: must hold more than spaces, got ' '"),
        (["--set", "model.kernel=9"], "cratercnn"),
        (["--out", "/proc/version"], "cannot be used as a results folder"),
        (["--storage", "s3://mine"], "--storage: is of a cluster, and --ray is not given"),
        (["--ray", "auto", "--device", "cuda"], "--device cuda: with --ray needs --gpus-per-task"),
        (["--ray", "auto"], "'ray' is needed here: pip install 'regrow[ray]'"),
    ],
)
def test_bad_use_is_a_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat_nets.py").write_text(FLAT)
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    base = ["run", "--data", "digits", "--out", str(tmp_path / "run")]
    found = CliRunner().invoke(app, [*base, *arguments])
    assert found.exit_code == 2, found.stderr
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    lines = found.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert not (tmp_path / "run" / "results.sqlite").exists()


def test_what_a_model_prints_does_not_mix_with_the_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talking_nets.py").write_text(f"print('hello from the model')\n{FLAT}")
    arguments = ["--data", "digits", "--model", "talking_nets:make", "--recipe", "none", "--json"]
    with monkeypatch.context() as patched:
        patched.setattr(
            "regrow.cli.run._work", lambda *_, **__: 0
        )  # the workers have a test of their own
        found = CliRunner().invoke(app, ["run", *arguments])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["trials"]["ended"] == 0
    assert "hello from the model" in found.stderr


@pytest.mark.parametrize("name", [".", "..", "../..", "-"])
def test_a_name_cannot_lead_out_of_the_folder_of_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = CliRunner().invoke(app, ["run", "--data", "digits", "--name", name])
    assert found.exit_code == 2
    assert f"name: must hold a letter or a digit to name a folder below runs, got '{name}'" in (
        found.stderr
    )
    assert not list((tmp_path / "here").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_ctrl_c_before_the_first_trial_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("regrow.lab.config.load_plan", interrupted)
    found = CliRunner().invoke(app, ["run", "--data", "digits"])
    assert (found.exit_code, found.stderr) == (130, "stopped; the same command resumes\n")


def test_a_missing_study_and_no_study() -> None:
    found = CliRunner().invoke(app, ["run", "nowhere.toml"])
    assert (found.exit_code, found.stderr) == (
        2,
        "error: nowhere.toml: there is no such study file\n",
    )
    found = CliRunner().invoke(app, ["run"])
    assert found.exit_code == 2
    assert "give a study file, or --data" in found.stderr
