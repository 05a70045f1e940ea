"""host front"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, QuietOption, StudyOption

__all__ = ["front"]


def front(
    study: StudyOption = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Only this device.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="table|csv|json")] = "table",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an interactive page.")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a picture.")] = None,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show one Pareto front per device, from the study alone.

    Example: host front --html fronts.html --png fronts.png
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import front_tables, print_parts, results_console

    if form not in ("table", "csv", "json"):
        raise typer.BadParameter(f"{form} is not known; choose table, csv or json", param_hint="--format")
    shown = api.load_study(study, settings=settings_file()).only(device)
    pictures = [(file, write) for file, write in ((html, shown.write_html), (png, shown.write_png)) if file is not None]
    for file, write in pictures:
        write(file)
    if form == "table":
        console = results_console()
        print_parts(console, front_tables(shown.fronts, width=console.width))
    else:
        typer.echo(shown.to_json() if form == "json" else shown.to_csv(), nl=form == "json")
    for file, _ in pictures:
        typer.echo(f"{file} written", err=form != "table")
