"""Programs of this folder on several ranks: started by torch's launcher as users do, or forked, which is quicker."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).parent


def environment() -> dict[str, str]:
    """That of a program which imports what the tests share."""
    path = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def by_launcher(program: str, ranks: int, out: Path, *scenarios: str) -> None:
    """`torch.distributed.run`, with all that it imports in each process."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = str(HERE / f"{program}.py")
    done = subprocess.run(
        [*launcher, f"--nproc-per-node={ranks}", script, str(out), *scenarios],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]


def forked(program: str, ranks: int, out: Path, *scenarios: str) -> None:
    """The same from a process that has loaded torch, where there is one (`conftest.py` says what it loads)."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    shared = {
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    said = [out.with_suffix(f".{rank}.txt") for rank in range(ranks)]
    running = [
        context.Process(
            target=_rank,
            args=(program, [str(out), *scenarios], {**shared, "RANK": str(rank)}, said[rank]),
            daemon=True,
        )
        for rank in range(ranks)
    ]
    for process in running:
        process.start()
    left = list(running)
    while left:  # who fails leaves the others waiting for it
        wait([process.sentinel for process in left])
        if any(process.exitcode for process in left):
            for process in left:
                process.kill()
        left = [process for process in left if process.is_alive()]
    told = "\n".join(path.read_text()[-6000:] for path in said if path.is_file())
    assert [process.exitcode for process in running] == [0] * ranks, told


def as_program(main: Callable[[], None]) -> NoReturn:
    """What such a program does when it is started by itself: its `main`, and then the process ends at once."""
    # Where Python ends, threads of torch's that still give something back to it are stopped, and at times the whole
    # process is aborted ("terminate called without an active exception"): on a busy machine one of a few dozen
    # trainings, also without regrow.
    main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _rank(program: str, arguments: list[str], variables: dict[str, str], said: Path) -> None:
    os.environ.update(variables)
    with said.open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = [program, *arguments]
    importlib.import_module(f"ranks.{program}").main()
