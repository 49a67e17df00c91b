"""`regrow inspect`: what is wrong with a network, by measurement, and whether that is too much."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from regrow.cli.exits import BAD_USE, TROUBLE, fail, say, show, told_as
from regrow.errors import ConfigError


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="package.module:function, which returns the network; or cratercnn, convnet, resnet20, ...",
        ),
    ],
    *,
    data: Annotated[
        str,
        typer.Option(
            help="npz:PATH with arrays x and y, which the network is called with; or digits, craters, "
            "folder:PATH, npz:PATH with x_train, y_train, x_test and y_test, scaled as in a study."
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What torch.save(model.state_dict(), FILE) wrote. Without it: as it is made.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder that a relative path of --data starts at.")
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Look at so many examples at most.")] = 512,
    batch_size: Annotated[int, typer.Option(min=1, help="So many at once.")] = 64,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of it, one file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON and nothing else on stdout.")
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEASURE=SHARE",
            help="Exit with 1 where more than this share of all units has it, such as dead=0.1; repeatable.",
        ),
    ] = None,
) -> None:
    """Look at a network: what is dead, dormant, repeated or about to blow up, and what has helped others.

    Nothing is trained. Everything is a symptom, no verdict.
    """
    with told_as(BAD_USE), redirect_stdout(sys.stderr):  # what a user's module prints
        limits = _limits(fail_on or ())
        from regrow.health import inspect as look
        from regrow.lab.inspected import batches, examples_of, load_weights, network_of

        x, y, dataset = examples_of(data, data_dir=data_dir, most=examples)
        network = network_of(model, data=dataset)
        if weights is not None:
            load_weights(network, weights)
        health = look(network, batches(x, y, size=batch_size))
    if html is not None:
        from regrow.report.health_page import write_health_page

        with told_as(TROUBLE):
            write_health_page(health, html, title=model)
    show(json.dumps(health.to_dict(), indent=2, allow_nan=False) if as_json else str(health))
    if html is not None:
        say(f"Page: {html}")
    over = [
        f"{name} is {share:.3g} of all units, more than {limit:g}"
        for name, limit in limits.items()
        if (share := health.share(name) or 0.0) > limit
    ]
    if over:
        fail("\n".join(over), code=TROUBLE)


def _limits(asked: Sequence[str]) -> dict[str, float]:
    """By measure, the share that is too much."""
    found: dict[str, float] = {}
    for each in asked:
        name, _, number = each.partition("=")
        try:
            limit = float(number)
        except ValueError:
            limit = -1.0
        if not 0.0 <= limit <= 1.0:
            raise ConfigError(
                f"--fail-on must be MEASURE=SHARE with a share within [0, 1], such as dead=0.1, got '{each}'"
            )
        found[name] = limit
    if found:
        from regrow.errors import UnknownNameError
        from regrow.health.measures import OF_UNITS

        for name in found:
            if name not in OF_UNITS:
                raise UnknownNameError("measure of units", name, OF_UNITS, where="--fail-on")
    return found
