"""What `host convert` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgepareto.host.views.quantize_view import fidelity_text
from rich.text import Text

__all__ = ["ConvertReport", "FileTensor", "convert_json", "convert_text"]

SCHEMA = 1
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTensor:
    """An input or output as the .tflite file has it. axes: axis i of the file is axis axes[i] of the ONNX model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[int, ...]

    @property
    def is_moved(self) -> bool:
        return self.axes != tuple(range(len(self.axes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertReport:
    """A conversion. content: the .tflite file. file: None where it was not written. seconds: of the conversion alone.

    absolute_error, relative_error: of the worst output on the samples, beside ONNX Runtime; relative: max |difference|
    / max |expected|. cosine: of int8, as in QuantizeReport, else None. fed_with: `calibration` or seeded `uniform`
    numbers. writer: EdgePareto or onnx2tf. doubts: what may be wrong with the samples that int8 was made with.
    """

    content: bytes = field(repr=False)
    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]
    precision: str
    absolute_error: float
    relative_error: float
    cosine: float | None
    samples: int
    fed_with: str
    seconds: float
    writer: str
    file: Path | None
    doubts: tuple[str, ...] = ()


def convert_json(report: ConvertReport) -> str:
    record: dict[str, object] = {
        "schema": SCHEMA,
        "precision": report.precision,
        "bytes": len(report.content),
        "inputs": [_record(tensor) for tensor in report.inputs],
        "outputs": [_record(tensor) for tensor in report.outputs],
        "absolute_error": report.absolute_error,
        "relative_error": report.relative_error,
        "samples": report.samples,
        "fed_with": report.fed_with,
        "seconds": report.seconds,
        "writer": report.writer,
    }
    if report.cosine is not None:
        record["cosine"] = report.cosine
    if report.doubts:
        record["doubts"] = list(report.doubts)
    if report.file is not None:
        record["file"] = str(report.file)
    return json.dumps(record, indent=2)


def convert_text(report: ConvertReport) -> Iterator[Text]:
    for doubt in report.doubts:
        yield Text(f"! {doubt}", style="bold yellow")
    for title, tensors in (("input", report.inputs), ("output", report.outputs)):
        for tensor in tensors:
            moved = f", axes {', '.join(map(str, tensor.axes))} of the ONNX model" if tensor.is_moved else ""
            yield Text(f"{title:7} {tensor.name} {tensor.shape} {tensor.dtype}{moved}")
    size = f"{len(report.content) / MEGABYTE:.2f} MB, {report.precision}"
    size += f", converted by {report.writer} in {report.seconds * 1e3:.0f} ms"
    yield Text(size if report.file is None else f"{report.file}: {size}")
    if report.cosine is not None:
        yield Text(fidelity_text(report.samples, report.cosine, report.relative_error))
        return
    samples = "calibration samples" if report.fed_with == "calibration" else "samples of seeded uniform numbers"
    yield Text(
        f"LiteRT gives what ONNX Runtime gives: {report.samples} {samples}, largest error {report.absolute_error:.2g}, "
        f"relative {report.relative_error:.2g}"
    )


def _record(tensor: FileTensor) -> dict[str, object]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype, "onnx_axes": list(tensor.axes)}
