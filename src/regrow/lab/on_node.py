"""What a task of a Ray cluster does on its node: `train`, and before it a look whether the node is `unfit`.

Handed in by `lab/on_ray.py`. Nothing heavy is imported before a task begins.
"""

from __future__ import annotations

import queue
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from regrow._named import in_one_line
from regrow.errors import RegrowError
from regrow.lab import environment
from regrow.lab.worker import Bench, Message, TaskFailed, Unwritable, WorkerSettings

if TYPE_CHECKING:
    from regrow.lab.data import Dataset
    from regrow.lab.trial import Request
    from regrow.lab.weights import Weights
    from regrow.study.storage import Stored

STACK: Final = "stack_size"
"""The resource by which a node says how many networks it trains side by side at most (``ray start --resources``)."""

Versions = frozenset[tuple[str, str]]


@cache
def versions() -> Versions:
    """What must be the same everywhere, to be compared and handed on."""
    return frozenset(environment.versions().items())


def unfit(asked: Stored, wanted: Versions, node: str = "") -> str:
    """Why nothing can be trained here, empty if it can: by versions, and by a file of the storage that must be there.

    With a name it writes an answer to the storage.
    """
    here = dict(versions())
    other = [
        f"{key} {here[key]} there, {value} here" for key, value in wanted if here[key] != value
    ]
    if other:
        return f"must have the versions of this machine: {'; '.join(sorted(other))}"
    try:
        word = asked.read_bytes()
        if node:
            reply(asked, node).write(word)
    except (OSError, RegrowError) as error:
        return unshared(asked, getattr(error, "strerror", None) or in_one_line(error))
    return ""


_unfit_once: Final = cache(unfit)


def reply(asked: Stored, node: str) -> Stored:
    """Where a node answers."""
    return asked.parent / f"{asked.name.replace('asked', 'answer')}-{node}"


def unshared(asked: Stored, told: str) -> str:
    """What is said of a node that does not see the storage."""
    return (
        f"does not share the storage {asked.parent}: {told}; --storage names a folder that all nodes mount, "
        "or s3://..., gs://..."
    )


def train(
    requests: Sequence[Request],
    settings: WorkerSettings,
    data: Sequence[Any],
    asked: Stored,
    wanted: Versions,
) -> Iterator[Message]:
    """Train a batch, and hand on what is said as soon as it is; `asked` and `wanted` as for `unfit`.

    The data set is in the object store; in a list it is not fetched before the task begins.
    """
    if reason := _unfit_once(asked, wanted):
        yield Unwritable(f"--ray: node {socket.gethostname()} {reason}")
        return
    key, held = _data_here(data[0], settings.device)
    said: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    bench = Bench(settings, said.put, data={key: held})

    def work() -> None:
        import torch  # noqa: PLC0415 # where it is used

        torch.set_num_threads(1)  # of this thread: in what order is summed follows from it
        size = _most_here() or len(requests)
        try:
            parts = (requests[first : first + size] for first in range(0, len(requests), size))
            all(bench.train(part) for part in parts)
        except BaseException as error:  # what a user's module does to leave, as sys.exit
            said.put(TaskFailed(in_one_line(error)))
        finally:
            said.put(None)

    before, warnings.showwarning = warnings.showwarning, bench.warn
    # A thread, since training calls and Ray asks: what is said is on its way while the training goes on.
    thread = threading.Thread(target=work)
    thread.start()
    while (message := said.get()) is not None:
        yield message
    thread.join()
    warnings.showwarning = before


_held: dict[str, tuple[str, Dataset]] = {}


def _data_here(lent: Any, device: str) -> tuple[str, Dataset]:
    """A data set from the object store, in memory of this process, as where it was read: writable, and so aligned."""
    import numpy as np  # noqa: PLC0415 # where it is used
    import ray  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
    import torch  # noqa: PLC0415

    if lent.hex() not in _held:
        key, found = ray.get(lent)
        own = found.with_each(lambda part: torch.from_numpy(np.array(part)))
        _held[lent.hex()] = key, own.to(device)
    return _held[lent.hex()]


def fetched(lent: Sequence[Any]) -> Weights:
    """Weights that were put into the object store."""
    import ray  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    return ray.get(lent[0])


@cache
def _most_here() -> int:
    """How many networks this node trains side by side; 0 where it says nothing."""
    import ray  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    here = ray.get_runtime_context().get_node_id()
    nodes = (node for node in ray.nodes() if node["NodeID"] == here)
    return sum(int(node["Resources"].get(STACK, 0)) for node in nodes)
