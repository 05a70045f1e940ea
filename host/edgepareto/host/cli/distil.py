"""host distil"""

from __future__ import annotations

from typing import Annotated

import typer
from edgepareto.host.cli.options import (
    DebugOption,
    JsonOption,
    OutputOption,
    QuietOption,
    StudyOption,
    session_of,
)
from edgepareto.host.distil import DistilSettings

__all__ = ["distil"]

DEFAULTS = DistilSettings()


def distil(
    context: typer.Context,
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="An id of host front; may be shortened.", show_default=False)
    ],
    output: OutputOption,
    study: StudyOption = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Minibatches of 64 samples.")] = DEFAULTS.steps,
    learning_rate: Annotated[
        float, typer.Option(metavar="F", help="Of Adam, at its highest.")
    ] = DEFAULTS.learning_rate,
    labels: Annotated[
        float, typer.Option(metavar="WEIGHT", help="Of the calibration samples' labels; 0: none are needed.")
    ] = 0.0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a candidate for seconds towards the unpruned model's outputs; write the better version and FILE.json.

    On the study's calibration samples, without labels or a board; needs the extra distil (torch). The study stays as it
    is; host search --resume --distil does this to its finalists and measures them.

    Example: host distil 1a5cdec1 -o distilled.onnx
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import distil_json, distil_text, print_parts, results_console, show_spinner

    with show_spinner(quiet=session_of(context).quiet) as on_progress:
        report = api.distil(
            candidate,
            output,
            study=study,
            steps=steps,
            learning_rate=learning_rate,
            labels=labels,
            settings=settings_file(),
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(distil_json(report))
        return
    print_parts(results_console(), distil_text(report))
