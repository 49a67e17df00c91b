"""The command `regrow` and its subcommands, one file each."""

from __future__ import annotations

import typer

from regrow import __version__
from regrow.cli.exits import EXIT_CODES
from regrow.cli.inspect import inspect
from regrow.cli.ls import ls
from regrow.cli.report import report
from regrow.cli.run import run
from regrow.cli.usage import OneLineGroup


def _examples(*commands: str, codes: str = EXIT_CODES) -> str:
    return "\n\n".join(["Examples:", *commands, codes])


app = typer.Typer(
    name="regrow",
    cls=OneLineGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "regrow run --data digits --seeds 16",
        "regrow run studies/demo-digits.toml --out runs/demo",
        "regrow report runs/demo",
        "regrow ls recipes",
    ),
)


def _version(wanted: bool) -> None:  # typer calls it so
    if wanted:
        typer.echo(f"regrow {__version__}")
        raise typer.Exit


@app.callback()
def _regrow(  # pyright: ignore[reportUnusedFunction] # typer calls it
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Find the convolutional filters that training has abandoned, and put them back to work."""
    del version


app.command(
    epilog=_examples(
        "regrow run --data digits --seeds 16 --epochs 30 --jobs 2",
        "regrow run --data craters --data-dir ../data --recipe none --recipe randomout "
        "--recipe random --seeds 50 --set data.region=East --set randomout.threshold=1e-8",
        "regrow run --data npz:mine.npz --model mypackage.nets:make --set model.width=8",
        "regrow run --data digits --recipe none --recipe grafting --recipe independent --partners 2 --epochs 10",
        "regrow run studies/demo-digits.toml --out runs/demo",
        "A run that was stopped, by Ctrl-C or otherwise, resumes when the same command is given again.",
    )
)(run)
app.command(epilog=_examples("regrow report runs/demo", "regrow report runs/demo --json"))(report)
app.command(
    epilog=_examples(
        "regrow inspect mypackage.nets:make --weights model.pt --data npz:batch.npz",
        "regrow inspect mypackage.nets:make --data npz:batch.npz --html health.html",
        "regrow inspect mypackage.nets:make --weights model.pt --data npz:batch.npz --json --fail-on dead=0.1",
        codes="Exit codes: 0 done · 1 more than --fail-on allows, or the page cannot be written · 2 bad use",
    )
)(inspect)
app.command(
    epilog=_examples(
        "regrow ls recipes",
        "regrow ls recipes randomout",
        "regrow ls models --json",
        "regrow ls runs runs/",
    )
)(ls)


def main() -> None:
    """Run the command line."""
    app()
