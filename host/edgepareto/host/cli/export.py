"""host export"""

from __future__ import annotations

from typing import Annotated

import typer
from edgepareto.host.cli.options import DebugOption, OutputOption, QuietOption, StudyOption

__all__ = ["export"]


def export(
    device: Annotated[str, typer.Option(metavar="NAME", help="Whose front to choose from.", show_default=False)],
    output: OutputOption,
    pick: Annotated[str, typer.Option(metavar="knee|fastest|most-accurate|least-energy|CANDIDATE")] = "knee",
    max_latency_ms: Annotated[float | None, typer.Option(help="Choose among the faster ones.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="Choose among the better ones, 0 to 1.")] = None,
    study: StudyOption = None,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a front's model and FILE.json, its card.

    Example: host export --device pi1 --pick knee -o pi1.onnx
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views.figures import latency_text, percent

    opened = api.load_study(study, settings=settings_file())
    written = api.export(
        opened, output, device=device, pick=pick, max_latency_ms=max_latency_ms, min_accuracy=min_accuracy
    )
    point = written.point
    simulated = " (simulated)" if point.measurement.simulated else ""
    typer.echo(
        f"{written.model} and {written.card} written: {point.candidate.id}, {percent(point.candidate.accuracy)}, "
        f"{latency_text(point.measurement.latency_s)} on {device}{simulated}"
    )
