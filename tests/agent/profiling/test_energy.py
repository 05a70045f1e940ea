"""Energy rounds with real workers and a sampler process whose faults are chosen."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from edgepareto.agent.errors import MeterStatus, Status
from edgepareto.agent.power.power_meter import MeterQuality
from edgepareto.agent.profiling import Preset

if TYPE_CHECKING:
    from conftest import Bench


def test_each_energy_round_has_one_busy_window_per_model_between_idle_ones(bench: Bench) -> None:
    request = bench.request(bench.spec("dense"), bench.spec("a"), bench.spec("b"))
    traces = bench.measure(request, bench.board(with_meter=True))
    assert all(t.status is Status.OK and t.meter_status is MeterStatus.OK for t in traces)
    for trace in traces:
        assert [w.round for w in trace.windows if w.busy] == [0, 1]
        assert [w.round for w in trace.windows if not w.busy] == [0, 1, 2]
        assert trace.meter is not None
        assert (trace.meter.kind, trace.meter.quality) == ("fake", MeterQuality.MEASURED)
        for window in trace.windows:
            assert all(window.start_ns < at_ns <= window.end_ns for at_ns in window.timestamp_ns)
            assert len(window.power_uw) == len(window.bus_uv) == len(window.timestamp_ns) >= 2
            assert window.end_ns - window.start_ns >= 20_000_000
            assert (window.inferences >= 3) == window.busy
    everything = sorted({(w.start_ns, w.end_ns) for t in traces for w in t.windows})
    assert len(everything) == 3 + 2 * 3, "idle windows are shared by the batch"
    assert all(before[1] < after[0] for before, after in pairwise(everything))
    last_block_ns = max(block.start_ns for t in traces for block in t.blocks)
    assert last_block_ns < everything[0][0], "the sampler stands still while latency is timed"


def test_every_window_is_sampled_from_before_its_guard_to_after_it(bench: Bench) -> None:
    (trace,) = bench.measure(bench.request(bench.spec("dense")), bench.board(with_meter=True))
    commands = [json.loads(line) for line in bench.sampler_log.read_text().splitlines()]
    assert commands[1].get("fix_range"), "the range is fixed before the first window"
    assert not any(command.get("fix_range") for command in commands[2:]), "and stays"
    commands = commands[2:]
    starts = [command["start_at_ns"] for command in commands[::2]]
    stops = [command["stop_at_ns"] for command in commands[1::2]]
    windows = sorted(trace.windows, key=lambda window: window.start_ns)
    guard_ns = 5_000_000
    for start_ns, stop_ns, window in zip(starts, stops, windows, strict=True):
        assert start_ns + guard_ns <= window.start_ns
        assert window.end_ns + guard_ns <= stop_ns


def test_a_slow_meter_gets_longer_windows_until_it_has_enough_samples(bench: Bench, tiny: Preset) -> None:
    preset = replace(tiny, window_samples=40)  # at 200 samples/s: 0.2 s instead of 0.02 s
    (trace,) = bench.measure(bench.request(bench.spec("dense")), bench.board(with_meter=True), preset=preset)
    assert all(len(window.power_uw) >= 30 for window in trace.windows if window.busy)


def test_a_meter_that_averages_from_sample_to_sample_needs_no_number_of_them(bench: Bench, tiny: Preset) -> None:
    preset = replace(tiny, window_samples=4000, idle_s=0.2)  # at 200 samples/s: 20 s; the idle window tells the rate
    request = bench.request(bench.spec("dense"))
    bench.sampler_faults = "i"
    (trace,) = bench.measure(request, bench.board(with_meter=True), preset=preset)
    busy = [window for window in trace.windows if window.busy]
    assert busy
    assert all(len(window.power_uw) < 400 for window in busy)


def test_a_window_that_fails_once_is_measured_again(bench: Bench) -> None:
    bench.sampler_faults = ".c"  # the first idle window is good, the first busy one clipped
    (trace,) = bench.measure(bench.request(bench.spec("dense")), bench.board(with_meter=True))
    assert (trace.status, trace.meter_status, trace.message) == (Status.OK, MeterStatus.OK, "")
    assert trace.voided == 1
    assert [w.round for w in trace.windows if w.busy] == [0, 1]


def test_a_window_that_fails_twice_costs_its_candidate_the_energy_and_not_the_latency(bench: Bench) -> None:
    bench.sampler_faults = ".cc"
    traces = bench.measure(bench.request(bench.spec("dense"), bench.spec("a")), bench.board(with_meter=True))
    assert [t.status for t in traces] == [Status.OK, Status.OK]
    assert all(len(t.blocks) == 3 for t in traces)
    assert sorted(t.meter_status.value for t in traces) == ["METER_CLIPPED", "METER_OK"]
    (clipped,) = [t for t in traces if t.meter_status is MeterStatus.CLIPPED]
    assert clipped.message == "3 samples at full scale"
    assert not any(w.busy for w in clipped.windows)


def test_a_meter_that_fails_its_self_test_is_told_with_every_latency(bench: Bench) -> None:
    bench.sampler_faults = "r"
    traces = bench.measure(bench.request(bench.spec("dense"), bench.spec("a")), bench.board(with_meter=True))
    for trace in traces:
        assert (trace.status, trace.meter_status) == (Status.OK, MeterStatus.IO)
        assert trace.message == "errno 121 at 0x40"
        assert trace.meter is not None
        assert (len(trace.blocks), trace.windows) == (3, ())


def test_a_sampler_that_dies_costs_the_energy_and_not_the_latency(bench: Bench) -> None:
    bench.sampler_faults = "..x"
    traces = bench.measure(bench.request(bench.spec("dense"), bench.spec("a")), bench.board(with_meter=True))
    assert [t.status for t in traces] == [Status.OK, Status.OK]
    assert [t.meter_status for t in traces] == [MeterStatus.IO, MeterStatus.IO]
    assert all("sampler" in t.message for t in traces)
    assert all(len(t.blocks) == 3 for t in traces)


def test_energy_that_is_not_asked_for_starts_no_sampler(bench: Bench) -> None:
    request = replace(bench.request(bench.spec("dense")), measure_energy=False)
    (trace,) = bench.measure(request, bench.board(with_meter=True))
    assert (trace.meter_status, trace.windows) == (MeterStatus.OK, ())
    assert "sampler" not in bench.pids


def test_the_sampler_has_a_core_to_itself_or_the_energy_is_tagged(bench: Bench) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    spec = bench.spec("dense")
    request = bench.request(spec)
    on_every_core = replace(spec, runtime=replace(spec.runtime, threads=len(cpus)))
    crowded = bench.request(on_every_core, bench.spec("beside it"))
    taking_all, beside_it = bench.measure(crowded, bench.board(with_meter=True))
    assert "ENERGY_SHARED_CORES" in taking_all.tags
    assert ("ENERGY_SHARED_CORES" in beside_it.tags) == (len(cpus) == 1), "it is measured as in any other batch"
    if len(cpus) > 1:
        bench.started.clear()
        (trace,) = bench.measure(request, bench.board(with_meter=True))
        assert "ENERGY_SHARED_CORES" not in trace.tags
        sampler, worker = bench.started
        sampler_cpu = int(sampler[sampler.index("--cpu") + 1])
        assert trace.runtime is not None
        assert trace.runtime.options["cpu_affinity"] == worker[worker.index("--cpus") + 1]
        assert sampler_cpu not in map(int, trace.runtime.options["cpu_affinity"].split(","))
