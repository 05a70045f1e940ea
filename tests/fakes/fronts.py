"""Fronts made by hand: two devices, one with a meter and simulated, one real without."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from edgepareto.host.domain import (
    LITERT,
    Candidate,
    CandidateId,
    Deployment,
    DeviceFront,
    DeviceInfo,
    DeviceName,
    Estimate,
    FrontPoint,
    Genome,
    Interval,
    Measurement,
    Meter,
    MeterQuality,
    Recipe,
    Repeatability,
    RuntimeVersion,
    Shrinkage,
    StudyFronts,
    front,
    knee,
)
from edgepareto.host.domain.paired_accuracy import pack_hits
from edgepareto.host.domain.verified import Verified

LIMITS = Repeatability(latency=0.02, energy=0.03, repeats=12, anchor_jobs=9)
SAMPLES = 2000


def study_fronts(*, preset: str = "quick", complete: bool = True, has_test_split: bool = True) -> StudyFronts:
    """pi1 is simulated and metered, bench is real and has no meter."""
    return StudyFronts(
        study="/home/ada/study",
        model="resnet.onnx",
        metric="top1",
        preset=preset,
        algorithm="nsga2",
        has_test_split=has_test_split,
        devices=(
            device_front("pi1", simulated=True, metered=True, complete=complete, test=has_test_split, preset=preset),
            device_front("bench", simulated=False, metered=False, complete=True, test=has_test_split, preset=preset),
        ),
    )


def run_in_many_ways(study: StudyFronts) -> StudyFronts:
    """The same, with all that says how a candidate ran, and what scoring it on the board said."""
    return replace(study, devices=tuple(_run_in_many_ways(device) for device in study.devices))


def _run_in_many_ways(device: DeviceFront) -> DeviceFront:
    way = Deployment(runtime=LITERT, precision="int8", threads=4, clock_mode="1800MHz")

    def run(point: FrontPoint) -> FrontPoint:
        candidate = point.candidate
        genome = replace(candidate.genome, deployment=way)
        apart = Interval(value=-0.01, low=-0.02, high=-0.001)
        verified = Verified(
            candidate=candidate.id, deployment=way, on_host=0.9, on_board=0.89, difference=apart, samples=500
        )
        return replace(point, candidate=replace(candidate, genome=genome, output_error=0.01), verified=verified)

    return replace(device, front=tuple(run(point) for point in device.front))


def device_front(
    name: str, *, simulated: bool, metered: bool, complete: bool, test: bool, preset: str, candidates: int = 80
) -> DeviceFront:
    """A cloud of candidates around a convex trade-off, its true front by the domain's own rule."""
    random = np.random.default_rng(len(name))
    dense = _point(name, 0, 0.9182, 12e-3, 60e-3, simulated=simulated, metered=metered, test=test, preset=preset)
    points = [dense]
    for index in range(1, candidates):
        keep = random.uniform(0.1, 1)
        accuracy = 0.92 - 0.12 * (1 - keep) ** 3 - random.exponential(0.012)
        latency_s = 1.5e-3 + 10.5e-3 * keep * random.uniform(0.9, 1.1)
        energy_j = latency_s * random.uniform(4.6, 5.4)
        points.append(
            _point(
                name,
                index,
                round(accuracy, 4),
                latency_s,
                energy_j,
                simulated=simulated,
                metered=metered,
                test=test,
                preset=preset,
            )
        )
    members = front([_estimate(point) for point in points], LIMITS)
    best = knee(members)
    by_id = {point.candidate.id: point for point in points}
    chosen = {member.candidate for member in members}
    return DeviceFront(
        device=_device(name, simulated=simulated, metered=metered),
        complete=complete,
        incomplete_reason=None if complete else "the board stopped answering after 41 measurements",
        measured=candidates,
        dense=dense,
        front=tuple(
            FrontPoint(
                candidate=by_id[m.candidate].candidate,
                measurement=by_id[m.candidate].measurement,
                is_knee=m.candidate == best.candidate,
            )
            for m in members
        ),
        others=tuple(point for point in points if point.candidate.id not in chosen),
        hypervolume=0.7312,
        shrinkage=Shrinkage(candidates=7, latency=0.012, energy=-0.004 if metered else None),
        limits=LIMITS,
        has_energy=metered,
    )


def _point(
    device: str,
    index: int,
    accuracy: float,
    latency_s: float,
    energy_j: float,
    *,
    simulated: bool,
    metered: bool,
    test: bool,
    preset: str,
) -> FrontPoint:
    candidate = Candidate(
        id=CandidateId(f"{index:03d}{math.floor(accuracy * 1e6):09d}"),
        genome=Genome(widths=(16, 32 - index % 7)),
        recipe=Recipe(),
        accuracy=accuracy,
        test_accuracy=round(accuracy - 0.004, 4) if test else None,
        macs=int(latency_s * 1e9),
        parameters=int(latency_s * 1e7),
        bytes=int(latency_s * 4e7),
        model_sha256=f"{index:064x}",
        validation_hits=pack_hits(np.arange(SAMPLES) < accuracy * SAMPLES),
        test_hits=pack_hits(np.arange(SAMPLES) < (accuracy - 0.004) * SAMPLES) if test else None,
    )
    measurement = Measurement(
        candidate=candidate.id,
        device=DeviceName(device),
        latency_s=Interval(value=latency_s, low=latency_s * 0.99, high=latency_s * 1.01),
        energy_j=Interval(value=energy_j, low=energy_j * 0.97, high=energy_j * 1.03) if metered else None,
        dynamic_energy_j=Interval(value=energy_j / 2, low=energy_j * 0.49, high=energy_j * 0.51) if metered else None,
        energy_systematic_j=energy_j * 0.016 if metered else None,
        reproducible=True,
        jobs=3,
        simulated=simulated,
        preset=preset,
    )
    return FrontPoint(candidate=candidate, measurement=measurement)


def _estimate(point: FrontPoint) -> Estimate:
    energy = point.measurement.energy_j
    return Estimate(
        candidate=point.candidate.id,
        error=1 - point.accuracy,
        latency_s=point.measurement.latency_s.value,
        energy_j=None if energy is None else energy.value,
    )


def _device(name: str, *, simulated: bool, metered: bool) -> DeviceInfo:
    return DeviceInfo(
        name=DeviceName(name),
        agent_version="0.1.0",
        board_id="b",
        boot_id="c",
        board="raspberry-pi-4b" if simulated else "Debian on x86_64",
        simulated=simulated,
        architecture="aarch64",
        os="Linux 6.1",
        cpu_count=4,
        memory_bytes=4 << 30,
        runtimes=(RuntimeVersion(name="onnxruntime", version="1.32.0", providers=("CPUExecutionProvider",)),),
        meter=Meter(kind="ina219", quality=MeterQuality.SIMULATED) if metered else None,
        default_threads=1,
        shares_host_cores=False,
        profile_note="fp32 row of the published figures" if simulated else None,
    )
