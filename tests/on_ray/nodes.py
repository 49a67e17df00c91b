"""Ray nodes on 127.0.0.1, with one processor each: started, killed and asked for what they run."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any

STORE = 80 * 2**20
"""Bytes of a node's object store: a machine's shared memory may be small."""

QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A node that is killed is noticed within seconds."""


TESTS = str(Path(__file__).parents[1])

SETTINGS = {
    "PYTHONDONTWRITEBYTECODE": "",  # Ray starts many processes
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a machine is 127.0.0.1 to itself
    "PYTHONPATH": os.pathsep.join(filter(None, (TESTS, os.environ.get("PYTHONPATH")))),
    # However busy the machine.
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_raylet_start_wait_time_s": "600",
}

os.environ.update(SETTINGS)  # before Ray is imported


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for_the_end(processes: Iterable[int]) -> None:
    """A process outlives its node for a moment, in which a task could still end."""
    for each in processes:
        while _state(each) not in {"", "Z"}:
            time.sleep(0.1)


def _state(process: int) -> str:
    """As the kernel's letter; empty where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class Nodes:
    """A cluster of this process; every process that is killed is one of its own."""

    def __init__(self, *, count: int, store: int = STORE) -> None:
        from ray.cluster_utils import Cluster

        self._store = store
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={**self._node(), "include_dashboard": False, "_system_config": QUICK},
        )
        for _ in range(count - 1):
            self.add()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def _node(self) -> dict[str, Any]:
        # With ports of their own the node need not wait for its agents to say theirs: it has little patience.
        names = (
            "metrics_agent_port",
            "metrics_export_port",
            "runtime_env_agent_port",
            "dashboard_agent_listen_port",
        )
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        return {
            "node_ip_address": "127.0.0.1",
            "num_cpus": 1,
            "object_store_memory": self._store,
            **ports,
        }

    def add(self) -> None:
        node = self.cluster.add_node(**self._node(), wait=False)
        self.cluster._wait_for_node(node, 600)

    def kill_busy(self, *, looks: int = 600, among: Callable[[], Set[int]] | None = None) -> bool:
        """Kill a node that has a task and is not the head, with all that runs on it, as soon as there is one.

        Args:
            looks: How often it is looked for, ten times a second.
            among: The processes of which it must have one. A process bears its task's name until the driver has read
                the last of what that says, so a task that is only known by its name may have ended.
        """
        for _ in range(looks):
            for node in self.cluster.worker_nodes:
                if tasks := self._tasks([node], among):
                    self.cluster.remove_node(node, allow_graceful=False)
                    _wait_for_the_end(tasks)
                    return True
            time.sleep(0.1)
        return False

    def _tasks(
        self, nodes: Iterable[Any], among: Callable[[], Set[int]] | None = None
    ) -> list[int]:
        """The processes that train: children of the nodes that have a task."""
        asked = None if among is None else among()
        raylets = {
            info.process.pid
            for node in nodes
            for kind, infos in node.all_processes.items()
            if kind == "raylet"
            for info in infos
        }
        found: list[int] = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            # A task is called as its first trial; a node dies with its agents.
            if parent in raylets and title.startswith(b"ray::") and b"/seed" in title:
                found.append(int(folder.name))
        return found if asked is None else sorted(asked & set(found))

    def kill_task(self, *, looks: int = 600, among: Callable[[], Set[int]] | None = None) -> bool:
        """Kill a process that trains, as soon as there is one; the arguments are those of `kill_busy`."""
        for _ in range(looks):
            running = self._tasks([self.cluster.head_node, *self.cluster.worker_nodes], among)
            if running:
                os.kill(running[0], signal.SIGKILL)
                return True
            time.sleep(0.1)
        return False

    def close(self) -> None:
        self.cluster.shutdown()
