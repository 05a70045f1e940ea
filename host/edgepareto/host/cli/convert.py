"""host convert"""

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
    ShapeOption,
    session_of,
)

__all__ = ["convert"]


def convert(
    context: typer.Context,
    model: ModelArgument,
    output: OutputOption,
    precision: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|int8",
            help="fp16: weights of half the size, computed with in 32 bits. int8: needs calibration.",
        ),
    ] = "fp32",
    calibration: CalibrationOption = None,
    shape: ShapeOption = None,
    int32_inputs: Annotated[
        bool, typer.Option("--int32-inputs", help="int64 inputs become int32 ones; without it they are refused.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a model as .tflite for LiteRT, without any board. It is compared with ONNX Runtime before it is written.

    Example: host convert resnet.onnx --shape image=1,1,28,28 -o resnet.tflite
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import convert_json, convert_text, print_parts, results_console, show_spinner

    with show_spinner(quiet=session_of(context).quiet) as on_progress:
        report = api.convert(
            model,
            output,
            precision=precision,
            calibration=calibration,
            shapes=shape or (),
            int32_inputs=int32_inputs,
            settings=settings_file(),
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(convert_json(report))
        return
    print_parts(results_console(), convert_text(report))
