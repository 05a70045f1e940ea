"""The command and its verbs. Imports typer and our own verb modules, which import the rest when they run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host import __version__
from edgepareto.host.cli import (
    config,
    convert,
    deploy,
    devices,
    distil,
    export,
    front,
    init,
    inspect,
    profile,
    profile_steps,
    prune,
    quantize,
    recompute,
    remeasure,
    search,
    verify,
)
from edgepareto.host.cli.options import DebugOption, QuietOption
from edgepareto.host.cli.session import Session
from edgepareto.host.errors import WrongUse

__all__ = ["run"]

NAMES = ("host", "edgepareto")
# Its root class moved when typer took click in; the name stayed.
USAGE_ERRORS = tuple(
    kind for kind in typer.BadParameter.__mro__ if issubclass(kind, Exception) and kind.__name__ == "ClickException"
)

app = typer.Typer(
    help="Find the pruned versions of a network that trade accuracy, latency and energy best on your own boards.",
    epilog="Example: host init, then host search --devices pi1,jetson2",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: Sequence[str], session: Session) -> int:
    """Run one command line; returns its exit code. Raises WrongUse for a command line that is wrong itself."""
    try:
        code = typer.main.get_command(app).main(
            args=list(arguments), prog_name=_program_name(), standalone_mode=False, obj=session
        )
    except USAGE_ERRORS as error:
        raise WrongUse(_usage_message(error)) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgepareto {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _program_name() -> str:
    name = Path(sys.argv[0]).name
    return name if name in NAMES else NAMES[0]


def _usage_message(error: Exception) -> str:
    format_message = getattr(error, "format_message", None)
    message = str(format_message() if callable(format_message) else error).strip()
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", NAMES[0])
    return f"{' '.join(message.split()).rstrip('.')}; see {path} --help"


app.command()(init.init)
app.command()(search.search)
app.command()(front.front)
app.command()(export.export)
app.command()(profile.profile)
app.command("profile-steps")(profile_steps.profile_steps)
app.command()(recompute.recompute)
app.command()(remeasure.remeasure)
app.command()(verify.verify)
app.command()(prune.prune)
app.command()(inspect.inspect)
app.command()(convert.convert)
app.command()(quantize.quantize)
app.command()(distil.distil)
app.command()(deploy.deploy)
app.add_typer(config.app, name="config")
app.add_typer(devices.app, name="devices")
