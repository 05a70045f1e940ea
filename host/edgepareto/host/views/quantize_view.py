"""What `host quantize` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

__all__ = ["QuantizeReport", "fidelity_text", "quantize_json", "quantize_text"]

SCHEMA = 1
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeReport:
    """A quantisation. content: the .onnx file. file: None where it was not written. method: static or dynamic.

    Errors and cosine of the worst output on the samples, beside the float model's: relative: max |difference| /
    max |expected|; cosine: of both less their mean over samples. bytes_before: of the float model. seconds: of the
    quantisation alone. doubts: what may be wrong with the samples.
    """

    content: bytes = field(repr=False)
    method: str
    bytes_before: int
    absolute_error: float
    relative_error: float
    cosine: float
    samples: int
    seconds: float
    file: Path | None
    doubts: tuple[str, ...] = ()


def quantize_json(report: QuantizeReport) -> str:
    record: dict[str, object] = {
        "schema": SCHEMA,
        "precision": "int8",
        "method": report.method,
        "bytes": len(report.content),
        "bytes_before": report.bytes_before,
        "absolute_error": report.absolute_error,
        "relative_error": report.relative_error,
        "cosine": report.cosine,
        "samples": report.samples,
        "seconds": report.seconds,
    }
    if report.doubts:
        record["doubts"] = list(report.doubts)
    if report.file is not None:
        record["file"] = str(report.file)
    return json.dumps(record, indent=2)


def quantize_text(report: QuantizeReport) -> Iterator[Text]:
    for doubt in report.doubts:
        yield Text(f"! {doubt}", style="bold yellow")
    size = (
        f"{len(report.content) / MEGABYTE:.2f} MB, {report.method} int8, before {report.bytes_before / MEGABYTE:.2f} MB"
    )
    size += f", quantised in {report.seconds:.1f} s"
    yield Text(size if report.file is None else f"{report.file}: {size}")
    yield Text(fidelity_text(report.samples, report.cosine, report.relative_error))


def fidelity_text(samples: int, cosine: float, relative_error: float) -> str:
    return f"beside fp32, on {samples} calibration samples: cosine {cosine:.4f}, largest error {relative_error:.1%}"
