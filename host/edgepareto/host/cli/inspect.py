"""host inspect"""

from __future__ import annotations

import typer
from edgepareto.host.cli.options import DebugOption, JsonOption, ModelArgument, QuietOption, StepOption, session_of

__all__ = ["inspect"]


def inspect(
    context: typer.Context,
    model: ModelArgument,
    step: StepOption = 1,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show a model's channel groups, and what is frozen and why.

    Example: host inspect resnet.onnx
    """
    from edgepareto.host import api
    from edgepareto.host.views import inspect_json, inspect_table, print_parts, results_console, show_spinner

    with show_spinner(quiet=session_of(context).quiet) as on_progress:
        analysis = api.inspect(model, on_progress=on_progress)
    if as_json:
        typer.echo(inspect_json(analysis, step=step))
        return
    console = results_console()
    print_parts(console, inspect_table(analysis, step=step))
