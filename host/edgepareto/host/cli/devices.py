"""host devices list, host devices check"""

from __future__ import annotations

from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, QuietOption

__all__ = ["app"]

app = typer.Typer(help="The boards: which there are, whether they answer.\n\nExample: host devices check")


@app.command("list")
def list_devices(debug: DebugOption = False, quiet: QuietOption = False) -> None:
    """List the devices that have a name here, without asking them.

    Example: host devices list
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import known_devices_table, results_console

    results_console().print(known_devices_table(api.known_devices(settings=settings_file())))


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask devices who they are, what they run and whether they have a meter.

    Example: host devices check pi1
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import devices_table, print_parts, results_console

    statuses = api.check_devices(names or None, settings=settings_file())
    console = results_console()
    print_parts(console, devices_table(statuses))
    if any(status.info is None for status in statuses):
        raise typer.Exit(1)
