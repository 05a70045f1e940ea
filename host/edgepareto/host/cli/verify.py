"""host verify"""

from __future__ import annotations

from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, JsonOption, QuietOption, StudyOption, WaitOption, session_of

__all__ = ["verify"]


def verify(
    context: typer.Context,
    device: Annotated[str, typer.Option(metavar="NAME", help="A device of the study.", show_default=False)],
    study: StudyOption = None,
    pick: Annotated[
        str | None,
        typer.Option(
            metavar="knee|fastest|most-accurate|least-energy|CANDIDATE", help="Only this one; default the whole front."
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of the test split, of validation where there is none; default at most 500."),
    ] = None,
    wait: WaitOption = 2,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score candidates on the board itself, beside the host, by the same files on the same samples.

    Worth it for int8, where processors round differently. Nothing is timed or stored.

    Example: host verify --device pi1 --pick knee
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import print_parts, results_console, show_progress, verified_json, verified_tables

    with show_progress(quiet=session_of(context).quiet) as listener:
        found = api.verify(
            study,
            device=device,
            pick=pick,
            samples=samples,
            wait_minutes=wait,
            settings=settings_file(),
            listener=listener,
        )
    if as_json:
        typer.echo(verified_json(found))
    else:
        print_parts(results_console(), verified_tables(found))
    if any(one.failure for one in found.candidates):
        raise typer.Exit(1)
