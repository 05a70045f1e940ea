"""host quantize"""

from __future__ import annotations

import typer
from edgepareto.host.cli.options import (
    CalibrationOption,
    DebugOption,
    JsonOption,
    ModelArgument,
    OutputOption,
    QuietOption,
    ShapeOption,
    session_of,
)

__all__ = ["quantize"]


def quantize(
    context: typer.Context,
    model: ModelArgument,
    output: OutputOption,
    calibration: CalibrationOption = None,
    shape: ShapeOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a model in 8-bit integers for ONNX Runtime, without any board. For LiteRT: host convert --precision int8.

    Example: host quantize resnet.onnx --calibration calibration.npz -o resnet.int8.onnx
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import print_parts, quantize_json, quantize_text, results_console, show_spinner

    with show_spinner(quiet=session_of(context).quiet) as on_progress:
        report = api.quantize(
            model,
            output,
            calibration=calibration,
            shapes=shape or (),
            settings=settings_file(),
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(quantize_json(report))
        return
    print_parts(results_console(), quantize_text(report))
