"""host inspect"""

from __future__ import annotations

import typer
from edgepareto.host.cli.options import DebugOption, JsonOption, ModelArgument, QuietOption, StepOption

__all__ = ["inspect"]


def inspect(
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
    from edgepareto.host.views import inspect_json, inspect_table, results_console

    analysis = api.inspect(model)
    if as_json:
        typer.echo(inspect_json(analysis, step=step))
        return
    console = results_console()
    for part in inspect_table(analysis, step=step):
        console.print(part)
