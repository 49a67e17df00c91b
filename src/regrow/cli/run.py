"""`regrow run`: a study from a file or from options, with progress, a table and a report at its end.

The beginning of a trial's walk: `lab/config` reads the study, `lab/preflight` tries it, `lab/executor` trains it, and
`cli/report` has the last word.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regrow._plural import count, plural
from regrow.cli.cluster import joined, shared_files
from regrow.cli.exits import BAD_USE, INTERRUPTED, TROUBLE, fail, say, told_as
from regrow.cli.report import finish
from regrow.errors import ConfigError

if TYPE_CHECKING:
    from regrow.lab.on_ray import RayTasks
    from regrow.lab.worker import WorkerSettings
    from regrow.logs.base import Log, Written
    from regrow.study.store import Store
    from regrow.study.trials import Trials


def _options(panel: str) -> Callable[..., Any]:
    """Makes the options of one panel of the help."""
    return lambda told, *names, **more: typer.Option(
        *names, help=told, rich_help_panel=panel, **more
    )


_of_study, _of_run = _options("Study"), _options("Run")
_of_cluster = _options("Cluster (docs/scale.md)")


def run(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY.toml", help="A study file.")
    ] = None,
    *,
    data: Annotated[
        str | None, _of_study("Data set: digits, craters, npz:PATH, folder:PATH.")
    ] = None,
    data_dir: Annotated[
        Path | None, _of_study("Folder that holds the data; nothing is fetched then.")
    ] = None,
    model: Annotated[
        str | None,
        _of_study("Model: cratercnn, convnet, resnet20, ..., or package.module:function."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        _of_study(
            "Recipe, repeatable: none (plain training), randomout, ..., or package.module:function. With a study "
            "file: which of its arms."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        _of_study(
            "Any setting, repeatable: randomout.threshold=1e-8, model.filters=2, "
            "data.region=East, train.momentum=0.9.",
            "--set",
            metavar="KEY=VALUE",
        ),
    ] = None,
    partners: Annotated[
        int | None,
        _of_study(
            "Networks of a trial, for the recipes that train several: grafting, independent. (default: 2)"
        ),
    ] = None,
    seeds: Annotated[int | None, _of_study("Number of paired seeds. (default: 16)")] = None,
    epochs: Annotated[int | None, _of_study("Epochs of each trial.")] = None,
    lr: Annotated[float | None, _of_study("Learning rate.")] = None,
    optimizer: Annotated[str | None, _of_study("sgd, adam or adamw.")] = None,
    batch_size: Annotated[int | None, _of_study("Images in a step.")] = None,
    name: Annotated[str | None, _of_study("Name of the study.")] = None,
    only: Annotated[
        list[str] | None,
        _of_run(
            "Run only the cells of the grid with this value, repeatable; the others wait for another run.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        _of_run(
            "Processes, one thread each; with --ray, tasks in flight at most. (default: the number of cores)",
            min=1,
        ),
    ] = None,
    out: Annotated[Path | None, _of_run("Folder for the results. (default: runs/NAME)")] = None,
    checkpoint_every: Annotated[
        float,
        _of_run(
            "Least time between two checkpoints of a trial; 0 is after each epoch.",
            min=0,
            metavar="SECONDS",
        ),
    ] = 1.0,
    engine: Annotated[
        str,
        _of_run(
            "auto, modules (torch as you would write it) or stack (small chains of layers, faster). auto: as the "
            "folder was begun, else stack where every arm can."
        ),
    ] = "auto",
    device: Annotated[
        str, _of_run("cpu, or cuda: one process with large stacks (engine stack).")
    ] = "cpu",
    stack_size: Annotated[
        int | None,
        _of_run(
            "Networks of a process that are trained side by side in a stack. (default: 4 on a CPU; on a GPU as "
            "many as fit)",
            min=1,
        ),
    ] = None,
    log: Annotated[
        str | None,
        _of_run(
            "Where each trial's metrics go besides, epoch by epoch: csv:FILE, tensorboard:FOLDER, wandb:PROJECT, "
            "mlflow:EXPERIMENT or package.module:function.",
            metavar="LOG",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        _of_cluster("Train on a Ray cluster: auto, or HOST:PORT of its head.", metavar="ADDRESS"),
    ] = None,
    storage: Annotated[
        str | None,
        _of_cluster(
            "Where checkpoints and weights are kept, for all nodes: a folder that they mount, s3://... or gs://... "
            "(default: --out)",
            metavar="PLACE",
        ),
    ] = None,
    cpus_per_task: Annotated[
        float | None, _of_cluster("CPUs that a task reserves; it has one thread. (default: 1)")
    ] = None,
    gpus_per_task: Annotated[
        float | None, _of_cluster("GPUs that a task reserves, also less than one. (default: 0)")
    ] = None,
    working_dir: Annotated[
        Path | None,
        _of_cluster(
            "Folder with your own modules, copied to all nodes. (default: this one, where a model or recipe is yours)"
        ),
    ] = None,
    sharing: Annotated[
        bool,
        _of_run(
            "Train what trials have in common once; the results are the same bits.",
            "--sharing/--no-sharing",
        ),
    ] = True,
    retry_crashed: Annotated[bool, _of_run("Run crashed trials again.", "--retry-crashed")] = False,
    as_json: Annotated[
        bool, _of_run("Print the summary as JSON and nothing else on stdout.", "--json")
    ] = False,
) -> None:
    """Train every recipe with the same seeds, compare them, and write a report.

    A study is one data set, one model and one training, some arms (recipes) and some seeds.

    The arms of one seed start from the same weights and see the same batches.
    """
    from regrow.lab.config import Overrides, load_plan
    from regrow.lab.worker import WorkerSettings
    from regrow.logs.named import log_named

    # Everything that can be checked before the first trial runs. What a user's module prints goes to stderr; results
    # alone go to stdout.
    with told_as(BAD_USE), redirect_stdout(sys.stderr):
        train = {"epochs": epochs, "lr": lr, "optimizer": optimizer, "batch_size": batch_size}
        asked = load_plan(
            study,
            Overrides(
                name=name,
                data=data,
                model=model,
                recipes=tuple(recipe or ()),
                settings=tuple(settings or ()),
                seeds=seeds,
                train=train,
                partners=partners,
            ),
        )
        written = None if log is None else log_named(log)
        folder = out or _default_folder(asked.study.name)
        cluster = joined(
            asked,
            ray,
            jobs=jobs,
            storage=storage,
            cpus=cpus_per_task,
            gpus=gpus_per_task,
            working_dir=working_dir,
            device=device,
        )
        # With torch, which takes seconds: a mistake above does not wait for it, and who stops it is told.
        from regrow.lab.engines.choice import check_device, choose
        from regrow.lab.environment import environment
        from regrow.lab.preflight import preflight
        from regrow.study.store import Store, engine_of
        from regrow.study.trials import of_cells

        if cluster is None:  # what the nodes have is theirs
            check_device(device)
        specs = of_cells(asked.trials, tuple(only or ()), among=asked.cells)
        checked = preflight(asked.trials, data_dir=data_dir)
        chosen = choose(engine, refusal=checked.refusal, begun=engine_of(folder), device=device)
        store = Store(
            folder,
            document=asked.document,
            fingerprint_document=asked.fingerprint_document(
                data_digests=checked.data_digests, engine=chosen, device=device
            ),
            environment=environment(),
            arms=asked.arms,
            files=None if cluster is None else shared_files(cluster, folder, storage),
        )
        for notice in (*checked.notices, *store.notices):
            say(f"warning: {notice}")
    with store, told_as(TROUBLE):
        new_crashes = _work(
            specs,
            store,
            WorkerSettings(
                data_dir=data_dir,
                checkpoint_every_s=checkpoint_every,
                engine=chosen,
                device=device,
            ),
            jobs=jobs,
            cluster=cluster,
            retry_crashed=retry_crashed,
            sharing=sharing,
            stack_size=stack_size,
            log=written,
        )
        finish(folder, as_json=as_json)
    if new_crashes:
        fail(
            f"{new_crashes} of {count(len(specs), 'trial')} crashed; the report says why, "
            "--retry-crashed runs them again",
            code=TROUBLE,
        )


def _default_folder(name: str) -> Path:
    """``runs/NAME``; a name cannot lead out of runs."""
    plain = re.sub(r"[^\w.+-]+", "-", name).strip("-.")
    if not plain:
        raise ConfigError(
            f"name: must hold a letter or a digit to name a folder below runs, got '{name}'; or give --out"
        )
    return Path("runs") / plain


def _work(
    specs: Trials,
    store: Store,
    settings: WorkerSettings,
    *,
    jobs: int | None,
    cluster: RayTasks | None,
    retry_crashed: bool,
    sharing: bool,
    stack_size: int | None,
    log: Log | Written | None,
) -> int:
    """Run what has not ended yet; the number of crashes."""
    from regrow.cli.progress import Lines, Live, Progress
    from regrow.lab.environment import available_cores
    from regrow.lab.executor import run_study
    from regrow.lab.study_log import StudyLog

    if retry_crashed and (forgotten := store.forget_crashed()):
        say(f"{count(forgotten, 'crashed trial')} {'runs' if forgotten == 1 else 'run'} again")
    ended = store.accuracies()
    before = {spec.trial: ended[spec.trial] for spec in specs if spec.trial in ended}
    todo = len(specs) - len(before)
    if not todo:
        all_ended = plural(len(specs), "its one trial has", f"all {len(specs)} trials have")
        say(f"{store.folder}: {all_ended} ended already; the report is written anew")
        return 0
    processes = min(jobs or (available_cores() if settings.device == "cpu" else 1), todo)
    went_on = f", {len(before)} of them ended before" if before else ""
    say(
        f"{count(len(specs), 'trial')}, {count(len(specs.seeds), 'seed')}{went_on}; "
        f"{cluster or count(processes, 'process', 'processes')}, engine {settings.engine}; results in {store.folder}"
    )
    progress = Progress(specs, before)
    with (Live if sys.stderr.isatty() else Lines)(progress) as on_event:
        tally = run_study(
            specs,
            store,
            jobs=processes,
            settings=settings,
            sharing=sharing,
            stack_size=stack_size,
            on_event=on_event if log is None else StudyLog(log, then=on_event),
            workers=None if cluster is None else cluster.begin(settings),
        )
    if tally.interrupted:
        say(
            f"stopped: {len(store.ended())} of {count(len(specs), 'trial')} have ended and are kept in {store.folder}. "
            f"The same command resumes from there:\n  {shlex.join(['regrow', *sys.argv[1:]])}"
        )
        raise typer.Exit(INTERRUPTED)
    return tally.ended["crashed"]
