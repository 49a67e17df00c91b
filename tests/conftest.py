"""What all tests share: one thread, quick workers, the real data's folder, small models, loops and disks."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import config as jaxtyping_config

from regrow.functional import _HOMES as FORMULAS  # a list of names: no formula is imported yet
from shapes import check_shapes_in

if TYPE_CHECKING:
    import torch

# Shape annotations of formulas are checked while tests run; users pay nothing for it.
check_shapes_in(f"regrow.{home}" for home in FORMULAS.values())

SHAPES_CHECKED = {"contract", "functional", "recipes"}
"""Folders whose tests meet every formula. In others the checks, a tenth of the time, are for slow tests."""

# What collecting makes stays until the end: looking through it for garbage takes a fifth of collecting, and more later.
gc.disable()

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
BACKWARDS = WORKER.endswith(("1", "3", "5", "7", "9"))
"""Every second worker imports files from the last to the first, and finds half of them compiled by its neighbour."""


def _in_any_order(config: pytest.Config) -> bool:
    """Whether workers were given whole folders; files and tests are run in the order in which they were named."""
    return bool(WORKER) and all(Path(each).is_dir() for each in config.args)


def pytest_sessionstart(session: pytest.Session) -> None:
    # Workers wait for the process that hands the tests out: it loads no torch.
    if WORKER or not session.config.getoption("numprocesses", None):
        import torch

        torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Examples in docstrings are looked for in src alone: whatever tests share would be imported twice for it."""
    found = yield
    return [each for each in found if type(each) is pytest.Module]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if BACKWARDS and isinstance(collector, pytest.Directory) and _in_any_order(collector.config):
        report.result.reverse()
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All workers hold them in the same order, as xdist wants it: examples in docstrings, which are light, last."""
    if _in_any_order(config):
        items.sort(key=lambda item: (isinstance(item, pytest.DoctestItem), str(item.path)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    folder = item.path.relative_to(item.config.rootpath).parts[1]
    checked = folder in SHAPES_CHECKED or item.get_closest_marker("slow") is not None
    jaxtyping_config.update("jaxtyping_disable", not checked)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _nursery() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Workers of studies that tests run are forked from a process that has loaded torch once: seconds less for each."""
    with pytest.MonkeyPatch.context() as patched:
        if "forkserver" in multiprocessing.get_all_start_methods():
            # The first optimizer loads torch._dynamo, which takes as long as torch itself.
            multiprocessing.set_forkserver_preload(["regrow.lab.trial", "torch._dynamo"])
            patched.setattr("regrow.lab.pool.START", "forkserver")
        yield


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers begin as they do for users: as programs of their own, children of this process."""
    monkeypatch.setattr("regrow.lab.pool.START", "spawn")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real data: REGROW_DATA_DIR, or ../shared/data beside the repository."""
    told = os.environ.get("REGROW_DATA_DIR")
    folder = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "craters.npz").is_file():
        pytest.skip(f"the real data are not here ({folder}); set REGROW_DATA_DIR")
    return folder


@pytest.fixture
def small_cnn() -> Callable[[int], torch.nn.Module]:
    """A CNN of the crater kind with a norm layer: seed to model."""
    import torch

    def make(seed: int) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return torch.nn.Sequential(
                torch.nn.Conv2d(1, 4, 3),
                torch.nn.BatchNorm2d(4),
                torch.nn.ReLU(),
                torch.nn.Conv2d(4, 6, 3),
                torch.nn.ReLU(),
                torch.nn.Flatten(),
                torch.nn.Linear(6 * 4 * 4, 3),
            )

    return make


@pytest.fixture
def batches() -> Callable[[int], list[tuple[torch.Tensor, torch.Tensor]]]:
    """Fixed random batches of 8x8 images with three classes: how many to list."""
    import torch

    def make(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(7)
        return [
            (
                torch.randn(12, 1, 8, 8, generator=generator),
                torch.randint(0, 3, (12,), generator=generator),
            )
            for _ in range(count)
        ]

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system needs root")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def fill_disk() -> Callable[[Path], None]:
    """Write a file until its file system is full."""

    def fill(path: Path) -> None:
        with path.open("wb", buffering=0) as filler:
            while True:
                try:
                    filler.write(b"\x00" * 4096)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return

    return fill
