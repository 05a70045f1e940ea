"""A raw trace as bytes and back, exactly: a JSON header, then the integer series as differences, deflated.

Series are stamps and slow signals, so their differences fit in one to four bytes and compress well: about 20-50 kB per
candidate at the standard preset. Layout of the deflated stream:
header length (4 bytes, little endian) | header (UTF-8 JSON) | every series in the order of the header's `series`.
A series is stored as wrapping 64-bit differences, its first value included, cut to the narrowest width that holds them,
byte planes apart (all lowest bytes, then the next): high bytes are mostly equal and deflate to nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass

import numpy as np
from edgepareto.host.domain import (
    Conditions,
    LatencyBlock,
    Meter,
    MeterQuality,
    MeterStatus,
    OperatorTime,
    PowerWindow,
    ProfileTrace,
    Purpose,
    RuntimeUsed,
    Status,
)
from edgepareto.host.errors import StudyError
from numpy.typing import NDArray

__all__ = ["decode_trace", "encode_trace"]

FORMAT = 1
COMPRESSION = 6
WIDTHS_BYTES = (1, 2, 4, 8)


def encode_trace(trace: ProfileTrace) -> bytes:
    """The same trace gives the same bytes. Every integer must fit in 64 bits, signed."""
    series: list[tuple[int, ...]] = [block.run_ns for block in trace.blocks]
    for window in trace.windows:
        series += [window.timestamp_ns, window.power_uw, window.bus_uv]
    packed = [_pack(values) for values in series]
    header = {
        "format": FORMAT,
        "trace": _scalars(
            trace, leave_out=("tags", "runtime", "blocks", "meter", "windows", "before", "after", "operators")
        ),
        "tags": sorted(trace.tags),
        "runtime": None if trace.runtime is None else _scalars(trace.runtime),
        "meter": None if trace.meter is None else _scalars(trace.meter),
        "before": _scalars(trace.before),
        "after": _scalars(trace.after),
        "operators": [_scalars(operator) for operator in trace.operators],
        "blocks": [_scalars(block, leave_out=("run_ns",)) for block in trace.blocks],
        "windows": [_scalars(window, leave_out=("timestamp_ns", "power_uw", "bus_uv")) for window in trace.windows],
        "series": [(len(values), width) for values, (width, _) in zip(series, packed, strict=True)],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return zlib.compress(b"".join([len(text).to_bytes(4, "little"), text, *(data for _, data in packed)]), COMPRESSION)


def decode_trace(data: bytes) -> ProfileTrace:
    """The inverse of `encode_trace`. Raises StudyError where the bytes are none of ours."""
    try:
        raw = zlib.decompress(data)
        end = 4 + int.from_bytes(raw[:4], "little")
        header = json.loads(raw[4:end])
        series = _unpack(raw[end:], header["series"])
        blocks = tuple(LatencyBlock(**block, run_ns=next(series)) for block in header["blocks"])
        windows = tuple(
            PowerWindow(**window, timestamp_ns=next(series), power_uw=next(series), bus_uv=next(series))
            for window in header["windows"]
        )
        scalars, runtime, meter = header["trace"], header["runtime"], header["meter"]
        return ProfileTrace(
            **{
                **scalars,
                "purpose": Purpose(scalars["purpose"]),
                "status": Status(scalars["status"]),
                "meter_status": MeterStatus(scalars["meter_status"]),
            },
            tags=frozenset(header["tags"]),
            runtime=runtime and RuntimeUsed(**{**runtime, "options": tuple(map(tuple, runtime["options"]))}),
            meter=meter and Meter(**{**meter, "quality": MeterQuality(meter["quality"])}),
            blocks=blocks,
            windows=windows,
            before=_conditions(header["before"]),
            after=_conditions(header["after"]),
            operators=tuple(
                OperatorTime(**operator) for operator in header.get("operators", ())
            ),  # not in older traces
        )
    except (zlib.error, ValueError, KeyError, TypeError, StopIteration) as error:
        raise StudyError(
            f"a stored trace cannot be read ({error}): the file is damaged or of a newer edgepareto"
        ) from error


def _conditions(raw: dict[str, object]) -> Conditions:
    states = raw.get("time_in_state", ())
    assert isinstance(states, (list, tuple))
    return Conditions(**{**raw, "time_in_state": tuple(map(tuple, states))})  # type: ignore[arg-type]  # our own, read back


def _scalars(value: object, leave_out: tuple[str, ...] = ()) -> dict[str, object]:
    assert is_dataclass(value)
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in leave_out}


def _pack(values: Sequence[int]) -> tuple[int, bytes]:
    """Bytes per difference, and the differences as byte planes."""
    stamps = np.asarray(values, dtype=np.int64).view(np.uint64)
    differences = np.diff(stamps, prepend=np.uint64(0)).view(np.int64)  # wraps, and so does the sum that undoes it
    width = next(w for w in WIDTHS_BYTES if not len(differences) or _fits(differences, w))
    planes = differences.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T
    return width, planes.tobytes()


def _fits(differences: NDArray[np.int64], width: int) -> bool:
    limits = np.iinfo(f"i{width}")
    return bool(differences.min() >= limits.min and differences.max() <= limits.max)


def _unpack(data: bytes, series: Sequence[tuple[int, int]]) -> Iterator[tuple[int, ...]]:
    start = 0
    for length, width in series:
        end = start + length * width
        planes = np.frombuffer(data[start:end], dtype=np.uint8).reshape(width, length)
        differences = np.ascontiguousarray(planes.T).view(f"<i{width}").ravel().astype(np.int64).view(np.uint64)
        yield tuple(np.cumsum(differences, dtype=np.uint64).view(np.int64).tolist())
        start = end
