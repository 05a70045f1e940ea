"""host remeasure"""

from __future__ import annotations

from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, PresetOption, QuietOption, StudyOption, WaitOption, session_of

__all__ = ["remeasure"]


def remeasure(
    context: typer.Context,
    candidates: Annotated[
        list[str] | None,
        typer.Argument(metavar="CANDIDATE...", help="Ids of host front, knee, fastest, ...; default the whole front."),
    ] = None,
    study: StudyOption = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Only on this device.")] = None,
    preset: PresetOption = None,
    wait: WaitOption = 2,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure the front again for real, and show old and new numbers side by side.

    What is measured is pooled into every front from then on; a search that is resumed decides without it.

    Example: host remeasure --device pi1 --preset audit knee
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import print_parts, remeasured_tables, results_console, show_progress

    with show_progress(quiet=session_of(context).quiet) as listener:
        devices = api.remeasure(
            candidates or (),
            study=study,
            device=device,
            preset=preset,
            wait_minutes=wait,
            settings=settings_file(),
            listener=listener,
        )
    console = results_console()
    print_parts(console, remeasured_tables(devices))
    if any(found.lost is not None or any(one.again is None for one in found.candidates) for found in devices):
        raise typer.Exit(1)
