"""host prune"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.options import (
    CalibrationOption,
    DebugOption,
    JsonOption,
    ModelArgument,
    OutputOption,
    QuietOption,
    StepOption,
    session_of,
)

__all__ = ["prune"]


def prune(
    context: typer.Context,
    model: ModelArgument,
    output: OutputOption,
    ratio: Annotated[
        float | None, typer.Option(metavar="R", help="Share of every group's channels to remove, 0 to below 1.")
    ] = None,
    group_ratios: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Shares of single groups, TOML lines such as "layer1.*" = 0.3; --ratio is for the rest.',
        ),
    ] = None,
    calibration: CalibrationOption = None,
    criterion: Annotated[
        str | None,
        typer.Option(metavar="obs|l1|l2|activation", help="What ranks channels; default obs, l1 without calibration."),
    ] = None,
    recover: Annotated[
        str | None,
        typer.Option(metavar="ls|moment|none", help="What repairs the rest; default ls, none without calibration."),
    ] = None,
    step: StepOption = 1,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Prune a model and repair it, without any board. Names of groups are those of host inspect.

    Example: host prune resnet.onnx --ratio 0.5 --calibration calibration.npz -o half.onnx
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import print_parts, prune_json, prune_table, results_console, show_spinner

    with show_spinner(quiet=session_of(context).quiet) as on_progress:
        report = api.prune(
            model,
            output,
            ratio=ratio,
            group_ratios=group_ratios,
            step=step,
            criterion=criterion,
            recover=recover,
            calibration=calibration,
            settings=settings_file(),
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(prune_json(report))
        return
    console = results_console()
    print_parts(console, prune_table(report))
