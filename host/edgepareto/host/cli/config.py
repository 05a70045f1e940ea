"""host config check"""

from __future__ import annotations

import typer
from edgepareto.host.cli.options import DebugOption, QuietOption

__all__ = ["app"]

app = typer.Typer(help="Look after edgepareto.toml.\n\nExample: host config check")


@app.callback()
def _config() -> None:
    """Keeps `check` a verb of its own: typer would make a single one the whole."""


@app.command()
def check(debug: DebugOption = False, quiet: QuietOption = False) -> None:
    """Check edgepareto.toml of this folder, and the model, data and metric that it names.

    Example: host config check
    """
    from edgepareto.host import api
    from edgepareto.host.config import FILE_NAME

    checked = api.check_settings(FILE_NAME)
    devices = ", ".join(device.name for device in checked.devices)
    typer.echo(f"{FILE_NAME} is sound: {checked.model}, devices {devices}")
