"""Do measurements leave anything behind? Files, processes, descriptors, threads and memory, of agent and host.

The agent is the real command, on a virtual board or on this machine. Every batch brings models that the agent has
evicted meanwhile (the blobs' quota holds three batches), so that uploads, eviction and workers are in it as well. They
are made beforehand: that grows the process that does it (ONNX Runtime's sessions, .6 kB each), which in a search is not
the one that talks to boards. What is kept on purpose is not counted: the journal has one entry per batch, up to its
limit.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import DeviceName, reduce_trace
from edgepareto.host.fleet import ProfilerClient, connect
from measurement_agent import RunningAgent, running_agent
from measurement_growth import Slope, slope_of
from measurement_models import ModelFiles, conv_net, written
from measurement_verdict import Verdict

__all__ = ["leaks"]

CANDIDATES = 5
CHANNELS = 48  # 90 kB a model: three batches fill the quota
SETS = 12  # of candidates, in turn; the quota holds three
PER_BATCH = CANDIDATES + 1  # the anchor's job is a measurement as well
WARM_UP = 0.4  # of the batches: until the quota is full and every code path was taken once
LOG_EVERY = 50  # batches
# What is watched, and the step below which a change over the whole run is not called growth. Memory comes in arenas of
# 1 MiB (Python's, since 3.10) and in heaps of malloc's own; the rest is counted.
RESOLUTION = {
    "agent's descriptors": 1.0,
    "agent's threads": 2.0,  # gRPC's pool takes one more whenever calls overlap as never before, up to its size
    "agent's memory [KiB]": 2048.0,
    "processes": 1.0,
    "files": 2.0 * CANDIDATES,  # blobs come and go by batches
    "host's descriptors": 1.0,
    "host's threads": 1.0,
    "host's memory [KiB]": 2048.0,
}


def leaks(where: str, flags: Sequence[str], measurements: int) -> list[Verdict]:
    """One verdict per quantity. flags: of edgepareto-agent."""
    batches = -(-measurements // PER_BATCH)
    samples = np.zeros((batches, len(RESOLUTION)))
    started = time.monotonic()
    with TemporaryDirectory(prefix="ep-leak-") as scratch, running_agent(flags, Path(scratch)) as agent:
        tempfile.tempdir = str(agent.folder / "tmp")  # the host's temporary files are counted too
        try:
            with _connected(agent) as client:
                anchor, sets = _models(Path(scratch) / "models")
                for number in range(batches):
                    _measure(client, anchor, sets[number % SETS], number)
                    samples[number] = _look(agent)
                    if (number + 1) % LOG_EVERY == 0:
                        _log(where, samples[: number + 1], time.monotonic() - started)
        finally:
            tempfile.tempdir = None
        left = len(list((agent.folder / "state" / "journal").iterdir()))
    rate = batches * PER_BATCH / (time.monotonic() - started)
    print(f"leaks on {where}: {batches * PER_BATCH} measurements, {rate:.1f} per second, {left} journal entries")
    return [_verdict(where, name, slope) for name, slope in _slopes(samples).items()]


def _verdict(where: str, name: str, slope: Slope) -> Verdict:
    per_thousand, half = 1000 * slope.value, 1000 * slope.half_width
    return Verdict(
        check=f"leaks, {where}: {name}",
        seen=f"{per_thousand:+.2f} ± {half:.2f} per 1,000",
        bar="0 within noise",
        passed=slope.is_zero(resolution=RESOLUTION[name]),
    )


def _slopes(samples: np.ndarray) -> dict[str, Slope]:
    """samples: (batches, quantities), warm-up included."""
    first = min(int(WARM_UP * len(samples)), len(samples) - 4)
    at = PER_BATCH * np.arange(first, len(samples), dtype=float)
    return {name: slope_of(at, samples[first:, column]) for column, name in enumerate(RESOLUTION)}


def _measure(client: ProfilerClient, anchor: ModelFiles, models: Sequence[ModelFiles], number: int) -> None:
    traces = client.profile(anchor.batch(f"leak/{number}", models, number=number), lambda text: None)
    for job in (reduce_trace(trace) for trace in traces):
        if job.latency is None:
            raise RuntimeError(f"{job.candidate} was not measured: {job.status.value}: {job.message}")


def _models(folder: Path) -> tuple[ModelFiles, list[list[ModelFiles]]]:
    folder.mkdir()
    anchor, *others = (
        written(conv_net(CHANNELS, size=8, layers=2, seed=seed), f"m{seed}", folder)
        for seed in range(1 + SETS * CANDIDATES)
    )
    return anchor, [others[i : i + CANDIDATES] for i in range(0, len(others), CANDIDATES)]


@contextmanager
def _connected(agent: RunningAgent) -> Iterator[ProfilerClient]:
    device = DeviceConfig(name="leak", address=agent.address)
    with connect([device], owner="benchmark", state=agent.folder / "agents") as clients:
        yield clients[DeviceName("leak")]


def _look(agent: RunningAgent) -> list[float]:
    """In the order of RESOLUTION."""
    here = os.getpid()
    files = [path for folder in ("tmp", "state", "models") for path in (agent.folder / folder).rglob("*")]
    return [
        *_process(agent.pid),
        len(agent.processes()),
        sum(path.parent.name != "journal" for path in files),
        *_process(here),
    ]


def _process(pid: int) -> tuple[float, float, float]:
    """Descriptors, threads, KiB of memory that are its own."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return len(list((proc / "fd").iterdir())), float(status["Threads"]), float(status["RssAnon"].split()[0])


def _log(where: str, samples: np.ndarray, seconds: float) -> None:
    count = PER_BATCH * len(samples)
    seen = ", ".join(
        f"{name} {samples[-1, column]:.0f} ({1000 * slope.value:+.2f} ± {1000 * slope.half_width:.2f})"
        for column, (name, slope) in enumerate(_slopes(samples).items())
    )
    print(f"{where}: {count} measurements, {count / seconds:.2f} per second; now (slope per 1,000): {seen}", flush=True)
