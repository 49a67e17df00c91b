"""A study on a cluster and a local one are the same results, whatever dies in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.sharing.grids import Kind
from lab.sharing.running import Outcome, column, go, small_study, tables
from on_ray.bucket import Bucket
from on_ray.hold import Hold
from on_ray.nodes import Nodes
from regrow.errors import ConfigError
from regrow.lab.events import Event, Noticed, Progressed
from regrow.lab.on_ray import Cluster, RayTasks
from regrow.lab.worker import WorkerSettings
from regrow.study.document import Study
from regrow.study.storage import Stored

pytest.importorskip("ray", reason="Ray is not installed here: make test-ray")


Whole = tuple[Study, Outcome, Hold]


@pytest.fixture(scope="module")
def whole(digits_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Families that part, a control, several networks, a teacher and its student, for two seeds; run locally."""
    hold = Hold(tmp_path_factory.mktemp("hold"))
    kind = Kind(settings={"source": "accumulated", "every_steps": 5}, thresholds=(0.3, 0.05))
    arms = {
        **kind.arms("a"),
        "graft": {"recipe": "grafting", "settings": {"partners": 2}},
        "big": {"recipe": "none", "model": {"filters": 4}},
        "kd": {"recipe": "none", "teachers": ["big"]},
    }
    train = {"epochs": 5, "batch_size": 16, "lr": 0.1}
    study = small_study(digits_npz, arms, model=hold.model, train=train, seeds=[0, 1])
    local = go(study, tmp_path_factory.mktemp("local") / "run")
    assert set(column(local.folder, "SELECT status FROM trials")) == {"finished"}
    return study, local, hold


@pytest.fixture
def join(nodes: Nodes) -> Iterator[Callable[[Path], dict[str, Any]]]:
    """Join the cluster: what `go` must be told."""
    joined: list[RayTasks] = []

    def join(place: Path | str) -> dict[str, Any]:
        workers = RayTasks(Cluster(address=nodes.address))
        joined.append(workers)
        files = Stored(str(place))
        workers.check(files)
        settings = WorkerSettings(checkpoint_every_s=0.0)
        return {"workers": workers.begin(settings), "files": files, "checkpoint_every_s": 0.0}

    yield join
    for each in joined:
        each.close()


def check(found: Outcome, local: Outcome) -> None:
    expected = tables(local.folder)
    there = tables(found.folder)
    assert there.keys() == expected.keys()
    for table, rows in expected.items():
        assert there[table] == rows, table
    assert found.tally.ended == local.tally.ended


def test_a_node_is_killed_and_a_folder_is_away_and_the_results_are_those_of_one_machine(
    whole: Whole, nodes: Nodes, join: Callable[..., Any], tmp_path: Path
) -> None:
    study, local, hold = whole
    shared, aside = tmp_path / "shared", tmp_path / "aside"
    failing = threading.Event()

    def break_both() -> bool:
        # Whoever makes a network waits, in the end on both nodes: the one that is killed has a task that has not ended.
        killed = nodes.kill_busy(among=hold.waiting)
        shared.rename(aside)
        hold.open()
        failing.wait(60)
        aside.rename(shared)
        return killed

    def heard(event: Event) -> None:
        if isinstance(event, Noticed) and "the storage fails" in event.text:
            failing.set()
        if isinstance(event, Noticed) and "its node is gone" in event.text:
            nodes.add()

    found, killed = _with_trouble(study, tmp_path, hold, break_both, heard, **join(shared))
    check(found, local)
    assert killed
    assert any("its node is gone" in text for text in found.notices), found.notices
    assert failing.is_set()
    assert list((shared / "checkpoints").iterdir()) == []
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_worker_dies_the_object_store_is_full_and_the_storage_fails_for_a_while(
    whole: Whole,
    nodes: Nodes,
    bucket: Bucket,
    join: Callable[..., Any],
    tmp_path: Path,
) -> None:
    import ray

    held: list[object] = []
    study, local, hold = whole

    def break_three() -> bool:
        held.extend(ray.put(np.zeros(2**20)) for _ in range(9))  # of the 80 MiB 72
        killed = nodes.kill_task(among=hold.waiting)
        bucket.fail_for(seconds=3.0)
        hold.open()
        return killed

    found, killed = _with_trouble(study, tmp_path, hold, break_three, **join(bucket.url))
    check(found, local)
    assert killed
    assert any("it goes on in a new one" in text for text in found.notices), found.notices
    # s3fs has some patience of its own: what it gets over is not told.
    assert list(Stored(f"{bucket.url}/checkpoints").iterdir()) == []
    assert [each.suffix for each in Stored(f"{bucket.url}/weights").iterdir()] == [".pt", ".pt"]


def _with_trouble(
    study: Study,
    folder: Path,
    hold: Hold,
    trouble: Callable[[], bool],
    heard: Callable[[Event], object] = lambda event: None,
    **how: Any,
) -> tuple[Outcome, bool]:
    """Run a study; once something has been trained, whoever makes a network waits, and there is trouble."""
    with ThreadPoolExecutor(1) as aside:
        at_work: list[Future[bool]] = []

        def on_event(event: Event) -> None:
            if isinstance(event, Progressed) and not at_work:
                hold.close()
                at_work.append(aside.submit(trouble))
            heard(event)

        found = go(study, folder / "run", on_event=on_event, **how)
        return found, at_work[0].result()


def test_a_stream_has_the_same_tasks_on_a_cluster(
    digits_npz: Path, join: Callable[..., Any], tmp_path: Path
) -> None:
    study = small_study(
        digits_npz,
        {
            "none": {"recipe": "none"},
            "fresh": {"recipe": "restart-each-task"},
            "redo": {"recipe": "redo", "settings": {"every_steps": 4, "threshold": 0.6}},
            "random": {"recipe": "random", "like": "redo"},
        },
        model={"name": "mlp", "settings": {"width": 12}},
        train={"batch_size": 16, "optimizer": "adam", "lr": 0.01},
        stream={"kind": "permuted", "tasks": 3, "epochs": 2, "images": 40},
    )
    local = go(study, tmp_path / "local")
    assert set(column(local.folder, "SELECT status FROM trials")) == {"finished"}
    assert len(column(local.folder, "SELECT online_accuracy FROM tasks")) == 4 * 3
    check(go(study, tmp_path / "run", **join(tmp_path / "shared")), local)


def test_mistakes_are_a_line_before_anything_runs(
    nodes: Nodes, join: Callable[..., Any], tmp_path: Path
) -> None:
    for address, told in {
        "127.0.0.1:1": r"--ray 127.0.0.1:1: there is no cluster that can be joined \(.*refused",
        f"ray://{nodes.address}": r"must be auto or HOST:PORT, .* as a job for one",
    }.items():
        with pytest.raises(ConfigError, match=told) as caught:
            RayTasks(Cluster(address=address))
        assert "\n" not in str(caught.value)
    file = tmp_path / "file"
    file.touch()
    for place, told in {
        # Each process has a memory of its own: as a folder that a node does not mount.
        "memory://study": r"--ray: node .* does not share the storage memory://study: FileNotFound",
        f"{file}/below": r"file/below: cannot be used here: NotADirectory",
        "nothing://there": r"nothing://there: .*Protocol not known: nothing",
    }.items():
        with pytest.raises(ConfigError, match=f"(?i){told}") as caught:
            join(place)
        assert "\n" not in str(caught.value)
        __import__("ray").shutdown()
    large = RayTasks(Cluster(address=nodes.address, cpus=64))
    with pytest.raises(ConfigError, match="no node has 64 CPUs for a task; --jobs N waits"):
        large.check(Stored(str(tmp_path)))
    large.close()
