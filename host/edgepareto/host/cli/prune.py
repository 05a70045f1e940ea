"""host prune"""

from __future__ import annotations

from typing import Annotated

import typer
from edgepareto.host.cli.options import (
    CalibrationOption,
    DebugOption,
    JsonOption,
    ModelArgument,
    OutputOption,
    QuietOption,
)

__all__ = ["prune"]


def prune(
    model: ModelArgument,
    ratio: Annotated[float, typer.Option(help="Share of every group's channels to remove, 0 to below 1.")],
    output: OutputOption,
    calibration: CalibrationOption = None,
    step: Annotated[int, typer.Option(help="Keep multiples of it; 1 is exact.")] = 1,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Prune a model evenly and repair it, without any board.

    Example: host prune resnet.onnx --ratio 0.5 --calibration calibration.npz -o half.onnx
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import prune_json, prune_table, results_console

    report = api.prune(model, output, ratio=ratio, step=step, calibration=calibration, settings=settings_file())
    if as_json:
        typer.echo(prune_json(report))
        return
    console = results_console()
    for part in prune_table(report):
        console.print(part)
