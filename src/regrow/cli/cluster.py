"""What `regrow run` is told of a Ray cluster: joined and checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from regrow.errors import ConfigError

if TYPE_CHECKING:
    from regrow.lab.on_ray import RayTasks
    from regrow.study.storage import Stored
    from regrow.study.trials import Plan


def joined(
    asked: Plan,
    address: str | None,
    *,
    jobs: int | None,
    storage: str | None,
    cpus: float | None,
    gpus: float | None,
    working_dir: Path | None,
    device: str,
) -> RayTasks | None:
    """The cluster, if one is asked for: joined before anything else takes its time."""
    if address is None:
        of_cluster = {
            "--storage": storage,
            "--cpus-per-task": cpus,
            "--gpus-per-task": gpus,
            "--working-dir": working_dir,
        }
        for option, value in of_cluster.items():
            if value is not None:
                raise ConfigError(f"{option}: is of a cluster, and --ray is not given")
        return None
    from regrow._named import names_function
    from regrow.lab.on_ray import Cluster, RayTasks

    if device != "cpu" and not gpus:
        raise ConfigError(
            f"--device {device}: with --ray needs --gpus-per-task, so that tasks have GPUs"
        )
    names = {name for spec in asked.trials.arms for name in (spec.model.name, spec.recipe)}
    own = Path.cwd() if any(map(names_function, names)) else None
    return RayTasks(
        Cluster(
            address=address,
            cpus=1 if cpus is None else cpus,
            gpus=gpus or 0,
            most=jobs,
            working_dir=working_dir or own,
        )
    )


def shared_files(cluster: RayTasks, folder: Path, storage: str | None) -> Callable[[str], Stored]:
    """Where checkpoints and weights are kept, from the fingerprint: tried by all nodes."""
    from regrow.study.storage import place_of

    place = place_of(storage or str(folder))
    cluster.check(place)
    if storage is None:
        return lambda _: place
    return lambda fingerprint: place / f"{folder.name}-{fingerprint[:12]}"
