"""Learning a board's channel steps by measuring tiny models on it, in ordinary batches.

Per kind of kernel a coarse pass over all widths, then passes over those that decide between the two best answers, until
the answer is sure or further passes promise nothing.
"""

from __future__ import annotations

import math
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import (
    LITERT,
    MAXIMUM_BATCH,
    Batch,
    BatchEntry,
    CandidateId,
    Deployment,
    Incident,
    ProfileTrace,
    Purpose,
    reduce_trace,
)
from edgepareto.host.domain.learned_steps import KernelKind, KindProbe, LearnedSteps
from edgepareto.host.domain.staircase import COARSE_WIDTHS, REFERENCE_WIDTH, decisive_widths, find_step
from edgepareto.host.errors import DeviceError
from edgepareto.host.export import expected_outputs, sha256_of, write_arrays, write_model
from edgepareto.host.study.probe_models import input_shape, probe_model
from edgepareto.host.study.profiler import Profiler

__all__ = ["learn_steps"]

SAMPLES = 2
MOST_PASSES = 5  # after the coarse one
BATCH_TRIES = 3  # a batch is void by the board's fault, such as its heat


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One job. anchor_s: the anchor's latency in the same batch; for the anchor's own jobs, its own."""

    width: int
    latency_s: float
    anchor_s: float


def learn_steps(
    profiler: Profiler, device: DeviceConfig, *, preset: str, folder: Path, on_progress: Callable[[str], None]
) -> LearnedSteps:
    """Probe one connected device. folder: a scratch folder for the models.

    Raises DeviceLost, and DeviceError where the board measures nothing usable.
    """
    threads = device.threads or profiler.info.default_threads
    probes = []
    versions: set[str] = set()
    for kind in KernelKind:
        bench = _Bench(profiler, device, kind, preset, folder, on_progress)
        probes.append(_probe(bench))
        versions |= bench.runtime_versions
    return LearnedSteps(
        device=profiler.info.name,
        board=profiler.info.board,
        board_id=profiler.info.board_id,
        simulated=profiler.info.simulated,
        runtime=device.runtime,
        runtime_version=", ".join(sorted(versions)),
        threads=threads,
        preset=preset,
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        probes=tuple(probes),
    )


def _probe(bench: _Bench) -> KindProbe:
    for widths in COARSE_WIDTHS:
        bench.measure(widths)
    for _ in range(MOST_PASSES):
        bench.measure(decisive_widths(*_comparable(bench.points), count=MAXIMUM_BATCH))
        found = find_step(*_comparable(bench.points))
        if found.is_sure:
            break
    return KindProbe(
        kind=bench.kind,
        staircase=found,
        widths=tuple(point.width for point in bench.points),
        latencies_s=tuple(point.latency_s for point in bench.points),
    )


def _comparable(points: Sequence[_Point]) -> tuple[list[int], list[float], float]:
    """Widths, latencies and the relative noise of one. Divided by the anchor of their batch where that leaves less
    noise: it takes out a board that drifts between batches, and adds the noise of the anchor."""
    widths = [point.width for point in points]
    raw = [point.latency_s for point in points]
    anchor_s = float(np.median([point.anchor_s for point in points]))
    # What the anchor's own jobs become is its mean: they are the unit now and vary no more.
    steadied = [point.latency_s / point.anchor_s * anchor_s for point in points]
    choices = [(widths, latencies_s, _noise(widths, latencies_s)) for latencies_s in (raw, steadied)]
    return min(choices, key=lambda choice: find_step(*choice).noise)


def _noise(widths: Sequence[int], latencies_s: Sequence[float]) -> float:
    """Between the jobs of one width, pooled over the repeated ones but the anchor; 0 before there are any."""
    by_width: dict[int, list[float]] = defaultdict(list)
    for width, latency_s in zip(widths, latencies_s, strict=True):
        if width != REFERENCE_WIDTH:
            by_width[width].append(math.log(latency_s))
    repeated = [logs for logs in by_width.values() if len(logs) > 1]
    degrees = sum(len(logs) - 1 for logs in repeated)
    return math.sqrt(sum(float(np.var(logs)) * len(logs) for logs in repeated) / degrees) if degrees else 0.0


class _Bench:
    """The models of one kind on one device; `measure` sends a batch and adds its points."""

    def __init__(
        self,
        profiler: Profiler,
        device: DeviceConfig,
        kind: KernelKind,
        preset: str,
        folder: Path,
        on_progress: Callable[[str], None],
    ) -> None:
        self.kind = kind
        self.points: list[_Point] = []
        self.runtime_versions: set[str] = set()
        self._profiler = profiler
        self._device = device
        self._preset = preset
        self._folder = folder
        self._on_progress = on_progress
        self._jobs: defaultdict[int, int] = defaultdict(int)
        self._batches = 0
        self._is_lite = device.runtime == LITERT
        self._inputs = folder / f"{kind.value}.inputs.npz"
        self._lite_inputs = folder / f"{kind.value}.inputs.tflite.npz"
        samples = np.random.default_rng(0).random((SAMPLES, *input_shape(kind)), dtype=np.float32)
        write_arrays(self._inputs, {"x": samples})

    def measure(self, widths: Sequence[int]) -> None:
        """The anchor and these, side by side. Raises DeviceError where the board gives no usable batch."""
        for _ in range(BATCH_TRIES):
            self._batches += 1
            anchor, *others = self._profiler.profile(self._batch(widths), self._tell, self._note_incident)
            anchor_s = _latency_s(anchor)
            if anchor_s is not None:
                break
        else:
            info = self._profiler.info
            why = f"{anchor.status.value} {anchor.message}".rstrip()
            raise DeviceError(f"{info.name}: the step probe's {self.kind.value} cannot be measured: {why}")
        for width, trace in zip((REFERENCE_WIDTH, *widths), (anchor, *others), strict=True):
            latency_s = _latency_s(trace)
            if latency_s is not None:
                self.points.append(_Point(width=width, latency_s=latency_s, anchor_s=anchor_s))
            if trace.runtime is not None:
                self.runtime_versions.add(trace.runtime.version)

    def _batch(self, widths: Sequence[int]) -> Batch:
        return Batch(
            request_key=secrets.token_hex(16),
            preset=self._preset,
            order_seed=self._batches,
            anchor=self._entry(REFERENCE_WIDTH),
            entries=tuple(self._entry(width) for width in widths),
            inputs=self._lite_inputs if self._is_lite else self._inputs,
            deployment=Deployment(runtime=self._device.runtime, threads=self._device.threads or 0),
            measure_energy=False,
        )

    def _entry(self, width: int) -> BatchEntry:
        model, outputs = (self._folder / f"{self.kind.value}-{width}.{ending}" for ending in ("onnx", "npz"))
        if not outputs.exists():
            write_model(probe_model(self.kind, width), model)
            expected_outputs(model, self._inputs, outputs)
        if self._is_lite:
            model, outputs = self._lite_files(model, outputs)
        attempt = self._jobs[width]
        self._jobs[width] += 1
        sha256 = sha256_of(model)
        return BatchEntry(
            candidate=CandidateId(f"{self.kind.value}-{width}-{sha256[:8]}"),
            purpose=Purpose.SEARCH if attempt == 0 else Purpose.REMEASURE,
            attempt=attempt,
            model=model,
            model_sha256=sha256,
            expected_outputs=outputs,
        )

    def _lite_files(self, model: Path, outputs: Path) -> tuple[Path, Path]:
        from edgepareto.host.export.board_files import write_lite_files  # brings LiteRT

        lite_model, lite_outputs = model.with_suffix(".tflite"), outputs.with_suffix(".tflite.npz")
        if not lite_model.exists():
            write_lite_files(
                model, self._inputs, outputs,
                lite_model=lite_model, lite_inputs=self._lite_inputs, lite_expected=lite_outputs,
            )  # fmt: skip
        return lite_model, lite_outputs

    def _note_incident(self, incident: Incident) -> None:
        self._tell(f"{incident.detail}, {incident.outcome}")

    def _tell(self, text: str) -> None:
        self._on_progress(f"{self.kind.value}, batch {self._batches}: {text}")


def _latency_s(trace: ProfileTrace) -> float | None:
    latency = reduce_trace(trace).latency
    return None if latency is None else latency.median_s.value
