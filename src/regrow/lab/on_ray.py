"""A study on a Ray cluster: each batch of runs is a task, and this process alone keeps the results.

Made by `cli/run` and worked by `lab/executor.py`, as the local pool (`lab/pool.py`) is. A task is a generator of what a
worker says, so that its messages come while it trains; what a run needs to go on from lies in a storage that all nodes
read. Ray retries nothing here: which run goes on from where is the queue's matter, on one machine and on many.
"""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regrow._named import in_one_line
from regrow._plural import count
from regrow.errors import ConfigError, MissingExtraError, RegrowError, StoreError
from regrow.lab import on_node
from regrow.lab.worker import TICK_S, Died, Message, WorkerSettings, data_key, load_data
from regrow.study.storage import Stored

if TYPE_CHECKING:
    from regrow.lab.data import Dataset
    from regrow.lab.queue import Batch
    from regrow.lab.trial import Request
    from regrow.lab.weights import Weights
    from regrow.study.document import DataChoice

_TELL_EVERY_S: Final = 1.0
"""Least time between two messages of a run: a thousand tasks are a thousand messages a second."""

_LOOK_EVERY_S: Final = 2.0
"""Time between two looks at which nodes there are."""

_UNREAD: Final = 16
"""Messages that a task may be ahead of this process before it waits."""

_REACH_S: Final = 5.0
_ANSWER_S: Final = 60.0
"""How long an address is tried, and how long nodes may take to answer, before anything runs."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is asked of a cluster."""

    address: str  # ``auto``, or HOST:PORT
    cpus: float = 1  # processors that a task reserves
    gpus: float = 0  # GPUs that a task reserves
    # Tasks in flight at most; None: two for each that the nodes have room for.
    most: int | None = None
    # A folder that is copied to all nodes: a user's own modules; None: none.
    working_dir: Path | None = None


class RayTasks:
    """Batches of runs as tasks of a cluster, so many in flight that no node waits, however many are queued.

    Connected when it is made, and until it is closed; no Ray, no cluster, another version of it is a ConfigError.
    """

    # How often a run is begun that gets no further: a worker may be ended for what its neighbours do.
    attempts = 4

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._ray = cluster, _connected(cluster)
        # Made once: what is made anew is sent to every node anew.
        self._train = self._ray.remote(on_node.train)
        self._settings = WorkerSettings(tell_every_s=_TELL_EVERY_S)
        self._asked: Stored | None = None
        self._going: dict[Any, Batch] = {}
        self._lent: dict[object, Any] = {}
        self._nodes: set[str] = set()
        self._gone: set[str] = set()
        self._slots, self._looked = 0, 0.0
        self._here = str(self._ray.get_runtime_context().get_node_id())
        self._look()

    def check(self, storage: Stored) -> None:
        """Refuse what would go wrong on a node: other versions, a storage that it does not read and write."""
        cluster = self._cluster
        if not self._slots and cluster.most is None:
            gpus = f" and {cluster.gpus:g} GPUs" if cluster.gpus else ""
            raise ConfigError(
                f"--ray {cluster.address}: no node has {cluster.cpus:g} CPUs{gpus} for a task; --jobs N waits for "
                "nodes that come later"
            )
        # There to the end: nodes may come later.
        self._asked = storage / f".asked-{uuid.uuid4().hex}"
        asked = replace(self._asked, patient=False)
        try:
            asked.parent.mkdir(parents=True, exist_ok=True)
            asked.write(b"regrow")
            self._check_nodes(asked)
        except OSError as error:
            raise ConfigError(f"{storage}: cannot be used here: {error.strerror}") from error

    def _check_nodes(self, asked: Stored) -> None:
        ray = self._ray
        tell = ray.remote(num_cpus=0, max_retries=0)(on_node.unfit)
        from ray.util.scheduling_strategies import (  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
            NodeAffinitySchedulingStrategy as On,
        )

        here = on_node.versions()
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in self._alive()}
        answers = {
            tell.options(scheduling_strategy=On(node, soft=False)).remote(asked, here, node): node
            for node in nodes
        }
        done, silent = ray.wait(list(answers), num_returns=len(answers), timeout=_ANSWER_S)
        for answer in (*done, *silent):
            node = answers[answer]
            where = f"--ray: node {nodes[node]}"
            if answer in silent:
                raise ConfigError(f"{where} has not answered within {_ANSWER_S:.0f} seconds")
            try:
                trouble = ray.get(answer)
            except ray.exceptions.RayError as error:
                raise ConfigError(f"{where} cannot run regrow: {_said(error)}") from error
            reply = on_node.reply(asked, node)
            if not trouble and not reply.is_file():
                trouble = on_node.unshared(asked, "what it wrote is not there for this machine")
            reply.unlink(missing_ok=True)
            if trouble:
                raise ConfigError(f"{where} {trouble}")

    def begin(self, settings: WorkerSettings) -> RayTasks:
        """Say how is trained."""
        self._settings = replace(settings, tell_every_s=_TELL_EVERY_S)
        return self

    def __str__(self) -> str:
        """How large it is, in words."""
        tasks, nodes = count(self._slots, "task"), count(len(self._nodes), "node")
        return f"{tasks} at a time on {nodes} of a Ray cluster"

    @property
    def jobs(self) -> int:
        """How many tasks the nodes have room for now: they come and go."""
        return max(self._slots, 1)

    @property
    def free(self) -> bool:
        """Whether another task may be handed in: one a place waits, so that none is empty between two tasks."""
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._look()
        return len(self._going) < (self._cluster.most or max(2 * self._slots, 1))

    def give(self, batch: Batch, task: Sequence[Request]) -> Died | None:
        """Hand in a batch."""
        try:
            asked = task[0].specs[0].data
            data = self._lend(data_key(asked), lambda: self._arrays(asked))
            requests = [
                replace(each, teachers=tuple(self._reader(read) for read in each.teachers))
                for each in task
            ]
            # In a list they are not fetched before the task begins: a worker may have them from the task before.
            going = self._train.options(
                num_cpus=self._cluster.cpus,
                num_gpus=self._cluster.gpus,
                max_retries=0,
                num_returns="streaming",
                _generator_backpressure_num_objects=_UNREAD,
                name=batch[0].name,
            ).remote(requests, self._settings, [data], self._asked, on_node.versions())  # fmt: skip
        except self._ray.exceptions.RayError as error:
            raise StoreError(f"--ray: nothing can be handed in: {_said(error)}") from error
        self._going[going] = batch
        return None

    def messages(self) -> Iterator[tuple[Batch, Message | Died]]:
        """What the tasks say, for one tick at most."""
        ray, going = self._ray, list(self._going)
        try:
            ready, _ = ray.wait(going, num_returns=1, timeout=TICK_S)
            if ready:
                ready, _ = ray.wait(going, num_returns=len(going), timeout=0)
        except ray.exceptions.RayError as error:
            raise StoreError(f"--ray: the cluster is gone: {_said(error)}") from error
        for each in ready:
            batch, message = self._going[each], self._next(each)
            if message is not None and batch:
                yield batch, message

    def close(self) -> None:
        """Leave the cluster; it ends the tasks."""
        self._ray.shutdown()
        if self._asked is not None:
            # Of no use to anybody, and the storage may be gone.
            with suppress(OSError, RegrowError):
                replace(self._asked, patient=False).unlink(missing_ok=True)

    def _next(self, going: Any) -> Message | Died | None:
        """The next message of a task; None when it is over."""
        ray = self._ray
        try:
            return ray.get(next(going))
        except StopIteration:
            del self._going[going]
            return Died("it ended without a word")  # for nobody, where all runs have ended
        except ray.exceptions.RayError as error:
            del self._going[going]
            lost = self._lost(error)
            return Died(f"its node is gone ({lost})" if lost else _said(error), lost=bool(lost))

    def _lost(self, error: Exception) -> str:
        """The node that an error speaks of, if that is gone."""
        of_node = (self._ray.exceptions.NodeDiedError, self._ray.exceptions.LocalRayletDiedError)
        named = isinstance(error, of_node)
        self._look()
        gone = next((node for node in self._gone if node[:16] in str(error)), "")
        return gone[:16] or ("unreachable" if named else "")

    # ---- nodes

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _look(self) -> None:
        """Count the places that there are."""
        alive, cluster = self._alive(), self._cluster
        there = {node["NodeID"] for node in alive}
        if self._here not in there:
            raise StoreError("--ray: the node of this machine is gone, and the cluster with it")
        self._gone |= self._nodes - there
        self._nodes, self._looked = there, time.monotonic()
        asked = {"CPU": cluster.cpus, "GPU": cluster.gpus}
        self._slots = sum(
            min(int(node["Resources"].get(kind, 0) / share) for kind, share in asked.items() if share)
            for node in alive
        )  # fmt: skip

    # ---- what tasks share

    def _lend(self, key: object, make: Callable[[], object]) -> Any:
        """Put something into the object store, once."""
        if key not in self._lent:
            self._lent[key] = self._ray.put(make())
        return self._lent[key]

    def _arrays(self, asked: DataChoice) -> tuple[str, Dataset]:
        """A data set as arrays, which are not copied on their way, and the key by which workers keep it."""
        found = load_data(asked, self._settings)
        return data_key(asked), found.with_each(lambda part: part.numpy())

    def _reader(self, read: Callable[[], Weights]) -> Callable[[], Weights]:
        """A file of weights that a user named is read here: no node need have it."""
        if not isinstance(read, partial):
            return read  # of a trial: in the storage
        return partial(on_node.fetched, [self._lend(read.args, read)])


def _connected(cluster: Cluster) -> Any:
    """Ray, connected to a cluster that is there."""
    where = f"--ray {cluster.address}"
    try:
        import ray  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError("ray", extra="ray") from None
    if "://" in cluster.address:
        raise ConfigError(
            f"{where}: must be auto or HOST:PORT, and the command be run on a machine of the cluster, as a job for "
            "one; a client (ray://) has no messages while tasks run"
        )
    host, colon, port = cluster.address.rpartition(":")
    try:
        if colon:
            socket.create_connection((host, int(port)), timeout=_REACH_S).close()
        ray.init(
            address=cluster.address,
            runtime_env=None if cluster.working_dir is None else _environment(cluster.working_dir),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConfigError(
            f"{where}: there is no cluster that can be joined ({in_one_line(error)[:300]}); ray start --head begins one"
        ) from error
    return ray


def _environment(folder: Path) -> dict[str, Any]:
    """A user's modules for all nodes; not what is large and no module."""
    left_out = [".git", ".venv", "runs", "*.npz", "*.pt", "*.ckpt", "*.sqlite*"]
    return {"working_dir": str(folder), "excludes": left_out}


def _said(error: Exception) -> str:
    """The last line of what Ray says, which is what happened; the others say where it looked."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
