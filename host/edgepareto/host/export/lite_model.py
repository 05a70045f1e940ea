"""The .tflite file of a model: our own writer's, else onnx2tf's where the user has it. The gate is still to come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import onnx
from edgepareto.host.errors import ModelError
from edgepareto.host.export.onnx2tf import COMMAND, ForeignFile, Unusable, find_command, run_command, with_plain_names
from edgepareto.host.export.parity import Feed
from edgepareto.host.export.tflite import LiteModel, UnsupportedModel, to_tflite

__all__ = ["make_lite_model", "require_lite_model"]


def make_lite_model(
    model: onnx.ModelProto, name: str, feeds: Sequence[Feed], expected: Sequence[Feed], *, half: bool = False
) -> LiteModel:
    """model: all sizes are numbers. feeds, expected: what ONNX Runtime was given and gave, one per run.

    Its `writer` is who wrote it. Raises ModelError where neither can; EvaluationError where LiteRT refuses a file of
    onnx2tf's. name: begins messages.
    """
    try:
        return to_tflite(model, name, half=half)
    except UnsupportedModel as missing:
        if half:  # its own 16-bit files compute with 16 bits
            raise ModelError(f"{missing}, or take fp32, which {COMMAND} may know (docs/tflite.md)") from missing
        with _told_beside(missing):
            return _written_elsewhere(model, missing).lite_model(feeds, expected)


def require_lite_model(model: onnx.ModelProto, name: str) -> None:
    """As `make_lite_model`, before there are samples. Raises ModelError."""
    try:
        to_tflite(model, name)
    except UnsupportedModel as missing:
        with _told_beside(missing):
            _written_elsewhere(model, missing)


def _written_elsewhere(model: onnx.ModelProto, missing: UnsupportedModel) -> ForeignFile:
    command = find_command()
    if command is None:
        raise ModelError(f"{missing}, or put {COMMAND} on PATH, which may know more (docs/tflite.md)") from missing
    renamed, names = with_plain_names(model)
    return ForeignFile(run_command(command, renamed.SerializeToString()), names, COMMAND)


@contextmanager
def _told_beside(missing: UnsupportedModel) -> Iterator[None]:
    try:
        yield
    except Unusable as why:
        raise ModelError(f"{missing}; {COMMAND} was tried: it {why}") from missing
