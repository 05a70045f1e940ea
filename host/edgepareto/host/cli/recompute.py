"""host recompute"""

from __future__ import annotations

from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, QuietOption, StudyOption

__all__ = ["recompute"]


def recompute(
    study: StudyOption = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Show only this device.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="table|csv|json")] = "table",
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw every number again from the stored traces, without a board, and say what changed.

    Needs study.sqlite alone. Writes the study's pictures again. A trace that is damaged is named and left out.

    Example: host recompute --study study
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import front_tables, print_parts, recomputed_lines, results_console

    if form not in ("table", "csv", "json"):
        raise typer.BadParameter(f"{form} is not known; choose table, csv or json", param_hint="--format")
    found, recomputed = api.recompute(study, device=device, settings=settings_file())
    shown = found.only(device)
    as_table = form == "table"
    if as_table:
        console = results_console()
        print_parts(console, front_tables(shown.fronts, width=console.width))
    else:
        typer.echo(shown.to_json() if form == "json" else shown.to_csv(), nl=form == "json")
    for line in recomputed_lines(recomputed):
        typer.echo(line, err=not as_table)
    report, picture = found.path / "fronts.html", found.path / "fronts.png"
    found.write_html(report)
    found.write_png(picture)
    typer.echo(f"pictures: {report} and {picture}", err=not as_table)
    for line in recomputed.damaged:
        typer.echo(f"warning: left out: {line}", err=True)
    if recomputed.damaged:
        raise typer.Exit(1)
