"""host profile"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.options import (
    CalibrationOption,
    DebugOption,
    DevicesOption,
    JsonOption,
    PresetOption,
    QuietOption,
    ShapeOption,
    WaitOption,
    names_of,
    session_of,
)

__all__ = ["profile"]


def profile(
    context: typer.Context,
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="One or several .onnx files.")],
    devices: DevicesOption = None,
    preset: PresetOption = None,
    calibration: CalibrationOption = None,
    shape: ShapeOption = None,
    ops: Annotated[
        bool, typer.Option("--ops", help="Also the time of each operator: why a smaller model is not faster.")
    ] = False,
    wait: WaitOption = 2,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure one or several models on devices, without any search.

    Example: host profile resnet.onnx small.onnx --devices pi1,local --preset quick --ops
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import (
        log_console,
        print_changes,
        print_parts,
        profile_json,
        profile_table,
        results_console,
    )

    results = api.profile(
        models,
        devices=names_of(devices),
        preset=preset,
        calibration=calibration,
        shapes=shape or (),
        ops=ops,
        wait_minutes=wait,
        settings=settings_file(),
        on_progress=None if session_of(context).quiet else print_changes(log_console()),
    )
    if as_json:
        typer.echo(profile_json(results))
    else:
        console = results_console()
        print_parts(console, profile_table(results))
    if not all(result.job.usable for result in results):
        raise typer.Exit(1)
