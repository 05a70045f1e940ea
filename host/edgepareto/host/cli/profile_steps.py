"""host profile-steps"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.options import (
    DebugOption,
    DevicesOption,
    JsonOption,
    QuietOption,
    WaitOption,
    names_of,
    session_of,
)

__all__ = ["profile_steps"]


def profile_steps(
    context: typer.Context,
    devices: DevicesOption = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="quick|standard|audit", help="How long to measure; default quick."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.png", help="Also a picture; its folder must exist."),
    ] = None,
    wait: WaitOption = 2,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn in which multiples of channels a device computes; its searches then cut to these.

    Stored beside edgepareto.toml, in .edgepareto/steps. A step in the settings of the device wins.

    Example: host profile-steps --devices pi1,jetson2 -o steps.png
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.errors import WrongUse
    from edgepareto.host.export import output_must_be_writable
    from edgepareto.host.views import (
        log_console,
        print_changes,
        print_parts,
        results_console,
        steps_json,
        steps_tables,
        write_steps_plot,
    )

    if output is not None:
        if output.suffix.lower() != ".png":
            raise WrongUse(f"{output}: the picture is a PNG; end its name with .png")
        output_must_be_writable(output)
    probed = api.profile_steps(
        names_of(devices),
        preset=preset,
        wait_minutes=wait,
        settings=settings_file(),
        on_progress=None if session_of(context).quiet else print_changes(log_console()),
    )
    if output is not None:
        write_steps_plot(probed, output)
    if as_json:
        typer.echo(steps_json(probed))
        return
    console = results_console()
    print_parts(console, steps_tables(probed))
