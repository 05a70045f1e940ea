"""host init"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, QuietOption

__all__ = ["init"]


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="An existing folder.")] = Path(),
    model: Annotated[Path | None, typer.Option("--model", metavar="M.onnx", help="The model to search.")] = None,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a commented edgepareto.toml; never over an existing one.

    Example: host init --model resnet.onnx
    """
    from edgepareto.host import api

    file = api.init_project(folder, model=model)
    typer.echo(f"{file} written; edit it, then: host config check")
