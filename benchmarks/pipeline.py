"""How busy is a board kept while the host prepares? Pipelined against one after the other, on a simulated board.

    python benchmarks/pipeline.py [--generations 2] [--population 20] [--workers 1]

First the host's and the board's seconds per candidate are measured, each alone; then the board's pace is set so that
both cost the same, and so that the board costs several times as much. Utilisation is the progress display's: the share
of the time since the search began in which the board was measuring, here up to the end of the last generation. A
simulated board needs some of this machine's own time, a real one none of it: so the board has the last core and the
host the first. About six minutes, on a machine at rest.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from edgepareto.host.config import DeviceConfig, Flags, StudyConfig, read_settings
from edgepareto.host.domain import DeviceName
from edgepareto.host.fleet import connect
from edgepareto.host.study import run_study
from edgepareto.host.study.device_course import DeviceCourse
from edgepareto.host.study.pipeline import Follow, pipelined, serially
from edgepareto.host.study.profiler import Profiler
from edgepareto.host.study.workshop import Workshop
from markdown_table import markdown_table

CORES = os.sched_getaffinity(0)
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist"
SAMPLES = {"calibration": 256, "validation": 5000, "test": 100}
TRIAL_CANDIDATES = 20
TRIAL_PACES = (0.02, 0.2)
BOARD_BOUND = 5.0
BARS = {1.0: 0.85, BOARD_BOUND: 0.97}


class Enough(Exception):
    """Ends a search after as many generations as are wanted, without its end phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds per candidate, each alone."""

    host_s: float
    board_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of a whole run: the board's utilisation, 0..1, and how long it took."""

    utilisation: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--population", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare; the board needs a core too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        example = _example(Path(scratch), arguments.workers)
        example = replace(example, search=replace(example.search, population=arguments.population))
        slow, fast = (_costs(_at_pace(example, pace, f"trial{pace}")) for pace in TRIAL_PACES)
        host_s = (slow.host_s + fast.host_s) / 2
        per_pace_s = (fast.board_s - slow.board_s) / (TRIAL_PACES[1] - TRIAL_PACES[0])
        at_once_s = slow.board_s - per_pace_s * TRIAL_PACES[0]
        board = f"board {at_once_s:.2f} s + {per_pace_s:.2f} s x pace"
        print(f"alone: host {host_s:.2f} s per candidate; {board}\n", flush=True)
        rows = []
        for ratio, bar in BARS.items():
            pace = max(0.0, (ratio * host_s - at_once_s) / per_pace_s)
            config = _at_pace(example, pace, "")
            found = {
                follow: _run(replace(config, study=config.study / f"{ratio}{follow.__name__}"), follow, arguments)
                for follow in (serially, pipelined)
            }
            serial, whole = found[serially], found[pipelined]
            rows.append(
                [
                    f"{ratio:g}",
                    f"{pace:.2f}",
                    f"{serial.utilisation:.3f}, {serial.seconds:.0f} s",
                    f"{whole.utilisation:.3f}, {whole.seconds:.0f} s",
                    f"{bar:g}",
                    "pass" if whole.utilisation >= bar else "FAIL",
                ]
            )
    header = ["board's cost / host's", "pace", "one after the other", "pipelined", "bar", "verdict"]
    print(markdown_table(header, rows))


def _example(folder: Path, workers: int) -> StudyConfig:
    """The bundled example with fewer samples and one board: the shorter a candidate takes, the more there are."""
    config = read_settings(EXAMPLE / "edgepareto.toml", Flags(model=str(EXAMPLE / "resnet.onnx"))).study_config()
    for name, samples in SAMPLES.items():
        with np.load(EXAMPLE / f"{name}.npz") as whole:
            np.savez(folder / f"{name}.npz", **{key: whole[key][:samples] for key in whole.files})
    data = replace(config.data, **{name: str(folder / f"{name}.npz") for name in SAMPLES})
    search = replace(config.search, workers=workers, measurements=None)
    return replace(config, data=data, search=search, devices=config.devices[:1], study=folder)


def _at_pace(config: StudyConfig, pace: float, study: str) -> StudyConfig:
    (device,) = config.devices
    return replace(config, study=config.study / study, devices=(replace(device, pace=pace),))


def _costs(config: StudyConfig) -> Costs:
    """From a part of generation 0, prepared first and measured then."""
    spans: list[float] = []

    def timed(workshop: Workshop, threads: ThreadPoolExecutor, courses: Sequence[DeviceCourse]) -> None:
        (course,) = courses
        wanted = course.ask()
        assert wanted is not None, "generation 0 was never asked"
        begun_s = time.monotonic()
        names = workshop.begin(wanted.genomes, wanted.recipe)
        workshop.wait()
        spans.append((time.monotonic() - begun_s) / len(names))
        begun_s = time.monotonic()
        course.measure(workshop.made(course.plan(names)))
        spans.append((time.monotonic() - begun_s) / len(names))
        raise Enough

    _search(replace(config, search=replace(config.search, measurements=TRIAL_CANDIDATES + 1)), timed)
    host_s, board_s = spans
    return Costs(host_s=host_s, board_s=board_s)


def _run(config: StudyConfig, follow: Follow, arguments: argparse.Namespace) -> Outcome:
    ends: list[Outcome] = []
    begun_s = time.monotonic()

    def counted(workshop: Workshop, threads: ThreadPoolExecutor, courses: Sequence[DeviceCourse]) -> None:
        (course,) = courses
        settle = course.settle

        def count() -> None:
            settle()
            utilisation = course.device.batches.pace.utilisation
            assert utilisation is not None, "something was measured"
            ends.append(Outcome(utilisation=utilisation, seconds=time.monotonic() - begun_s))
            if len(ends) == arguments.generations:
                raise Enough

        course.settle = count  # type: ignore[method-assign]
        follow(workshop, threads, courses)

    _search(config, counted)
    return ends[-1]


def _search(config: StudyConfig, follow: Follow) -> None:
    try:
        run_study(config, resume=False, listener=lambda event: None, connect=_on_a_core_of_its_own, follow=follow)
    except Enough:
        return
    raise AssertionError("the search ended before enough was measured")


@contextmanager
def _on_a_core_of_its_own(
    devices: Sequence[DeviceConfig], *, owner: str, state: Path, wait_s: float, tell: Callable[[str], None]
) -> Iterator[Mapping[DeviceName, Profiler]]:
    """As the fleet's `connect`. What a process starts stays on its cores: the agents' are begun in here, the preparers
    after it."""
    first, *_, last = sorted(CORES)
    os.sched_setaffinity(0, {last})
    with connect(devices, owner=owner, state=state, wait_s=wait_s, tell=tell) as profilers:
        os.sched_setaffinity(0, {first})
        try:
            yield profilers
        finally:
            os.sched_setaffinity(0, CORES)


if __name__ == "__main__":
    main()
