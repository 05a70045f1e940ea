"""The flags that several verbs share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgepareto.host.cli.session import Session

__all__ = [
    "CalibrationOption",
    "DebugOption",
    "DevicesOption",
    "JsonOption",
    "ModelArgument",
    "OutputOption",
    "PresetOption",
    "QuietOption",
    "ShapeOption",
    "SharedOption",
    "ShuntOption",
    "StepOption",
    "StudyOption",
    "WaitOption",
    "names_of",
    "session_of",
]


def session_of(context: typer.Context) -> Session:
    session = context.find_object(Session)
    return session if session is not None else Session()


def names_of(devices: str | None) -> list[str] | None:
    """`pi1,jetson2` -> its names; None where the flag was not given."""
    return None if devices is None else [name.strip() for name in devices.split(",")]


def _remember_debug(context: typer.Context, value: bool) -> bool:
    session_of(context).debug |= value
    return value


def _remember_quiet(context: typer.Context, value: bool) -> bool:
    session_of(context).quiet |= value
    return value


DebugOption = Annotated[
    bool, typer.Option("--debug", callback=_remember_debug, is_eager=True, help="Show the traceback of an error.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_remember_quiet, is_eager=True, help="Only results, warnings, errors.")
]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.", show_default=False)]
StudyOption = Annotated[
    Path | None,
    typer.Option("--study", metavar="DIR", help="The study's folder; default study/ beside edgepareto.toml."),
]
DevicesOption = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="NAME[,NAME]",
        help="Boards or groups of them, local, or HOST:PORT; default all of edgepareto.toml.",
    ),
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="quick|standard|audit", help="How long to measure; default standard.")
]
CalibrationOption = Annotated[
    str | None,
    typer.Option("--calibration", metavar="DATA", help="Unlabelled samples: .npz, image folder or module:function."),
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="INPUT=SIZES", help="Sizes of an input that has symbolic ones: x=1,3,224,224."),
]
ShuntOption = Annotated[float | None, typer.Option("--shunt-ohm", metavar="X", help="Of the meter's shunt.")]
SharedOption = Annotated[
    bool | None,
    typer.Option("--shared/--no-shared", help="A virtual or busy board: disturbances are tagged, not refused."),
]
StepOption = Annotated[
    int, typer.Option("--step", min=1, metavar="N", help="Kept channels are multiples of N, or all; 1 is exact.")
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; its folder must exist.")
]
WaitOption = Annotated[
    float, typer.Option("--wait", min=0, metavar="MINUTES", help="In line for boards that others use; default 2.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]
