"""host search"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.options import (
    CalibrationOption,
    DebugOption,
    DevicesOption,
    PresetOption,
    QuietOption,
    ShapeOption,
    StudyOption,
    WaitOption,
    names_of,
    session_of,
)

__all__ = ["search"]

DATA, BUDGET, LIMITS = "Model and data", "Search", "Hard limits"
WAYS, RUN = "How models are run", "Searched together with the channels."
ALGORITHMS = "surrogate|nsga2|spea2|sms-emoa|random"


def search(
    context: typer.Context,
    devices: DevicesOption = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="M.onnx", help="The model to prune.", rich_help_panel=DATA)
    ] = None,
    calibration: CalibrationOption = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", metavar="DATA", help="Scored on; labelled, see --metric.", rich_help_panel=DATA),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option("--test", metavar="DATA", help="Labelled too: only reports the front.", rich_help_panel=DATA),
    ] = None,
    shape: ShapeOption = None,
    study: StudyOption = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="top1|precision|agreement|module:function",
            help="What is good; agreement with the unpruned model needs no labels.",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    algorithm: Annotated[str | None, typer.Option(metavar=ALGORITHMS, rich_help_panel=BUDGET)] = None,
    population: Annotated[int | None, typer.Option(help="Default 20.", rich_help_panel=BUDGET)] = None,
    generations: Annotated[int | None, typer.Option(help="Budget.", rich_help_panel=BUDGET)] = None,
    measurements: Annotated[int | None, typer.Option(help="Budget per device.", rich_help_panel=BUDGET)] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget.", rich_help_panel=BUDGET)] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=BUDGET)] = None,
    search_images: Annotated[
        int | None,
        typer.Option(metavar="N", help="Calibration samples that repair a model; default 512.", rich_help_panel=BUDGET),
    ] = None,
    finalist_images: Annotated[
        int | None, typer.Option(metavar="N", help="The same for finalists; default 1024.", rich_help_panel=BUDGET)
    ] = None,
    branches: Annotated[
        bool | None,
        typer.Option("--branches/--no-branches", help="Leave residual branches out.", rich_help_panel=BUDGET),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Start from what this one found in the study.", rich_help_panel=BUDGET),
    ] = None,
    distil: Annotated[
        bool | None,
        typer.Option("--distil/--no-distil", help="Train finalists on calibration samples.", rich_help_panel=BUDGET),
    ] = None,
    distil_labels: Annotated[
        float | None,
        typer.Option(metavar="WEIGHT", help="Of the labels in it; default none.", rich_help_panel=BUDGET),
    ] = None,
    preset: PresetOption = None,
    energy: Annotated[
        str | None,
        typer.Option(metavar="total|dynamic", help="All of it, or what is above idle.", rich_help_panel=BUDGET),
    ] = None,
    runtimes: Annotated[
        str | None, typer.Option(metavar="onnxruntime,litert,...|all", help=RUN, rich_help_panel=WAYS)
    ] = None,
    precisions: Annotated[str | None, typer.Option(metavar="fp32,fp16,int8|all", rich_help_panel=WAYS)] = None,
    threads: Annotated[str | None, typer.Option(metavar="1,2,4|all", rich_help_panel=WAYS)] = None,
    clock_modes: Annotated[str | None, typer.Option(metavar="MODE,...|all", rich_help_panel=WAYS)] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="0 to 1, on validation.", rich_help_panel=LIMITS)] = None,
    max_latency_ms: Annotated[float | None, typer.Option(rich_help_panel=LIMITS)] = None,
    max_energy_mj: Annotated[float | None, typer.Option(help="Per inference.", rich_help_panel=LIMITS)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study; nothing is measured twice.")] = False,
    wait: WaitOption = 2,
    open_report: Annotated[bool, typer.Option("--open", help="Open the report in a browser at the end.")] = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
) -> None:
    """Search for the best pruned versions of a model on every device. The main job.

    Example: host search --devices pi1,jetson2
    """
    from edgepareto.host import api
    from edgepareto.host.config import settings_file
    from edgepareto.host.views import front_tables, print_parts, results_console, show_progress

    session_of(context).can_resume = True
    with show_progress(quiet=session_of(context).quiet) as listener:
        found = api.search(
            model,
            calibration=calibration,
            validation=validation,
            test=test,
            devices=names_of(devices),
            study=study,
            resume=resume,
            min_accuracy=min_accuracy,
            max_latency_ms=max_latency_ms,
            max_energy_mj=max_energy_mj,
            shapes=shape or (),
            metric=metric,
            algorithm=algorithm,
            population=population,
            generations=generations,
            measurements=measurements,
            minutes=minutes,
            seed=seed,
            search_images=search_images,
            finalist_images=finalist_images,
            branches=branches,
            like=like,
            distil=distil,
            distil_labels=distil_labels,
            preset=preset,
            energy=energy,
            runtimes=runtimes,
            precisions=precisions,
            threads=threads,
            clock_modes=clock_modes,
            wait_minutes=wait,
            settings=settings_file(),
            listener=listener,
        )
    console = results_console()
    print_parts(console, front_tables(found.fronts, width=console.width))
    report, picture = found.path / "fronts.html", found.path / "fronts.png"
    found.write_html(report)
    found.write_png(picture)
    console.print(f"pictures: {report} and {picture}", soft_wrap=True, highlight=False)
    if open_report:
        typer.launch(report.resolve().as_uri())
    if not all(device.complete for device in found.fronts.devices):
        raise typer.Exit(1)  # a script must see that a device was lost
