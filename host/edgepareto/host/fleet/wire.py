"""protobuf <-> the host's domain: the only module that knows both. What was not set is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from edgepareto.host.domain import (
    AnchorBaseline,
    Batch,
    BatchEntry,
    CandidateId,
    Conditions,
    Deployment,
    DeviceInfo,
    DeviceName,
    LatencyBlock,
    Meter,
    MeterQuality,
    MeterStatus,
    OperatorTime,
    PowerWindow,
    ProfileTrace,
    Purpose,
    RuntimeUsed,
    RuntimeVersion,
    Status,
)
from edgepareto.host.domain.deployment import ON_A_DEVICE
from edgepareto.profiler.v1 import profiler_pb2 as pb
from google.protobuf.message import DecodeError

__all__ = [
    "PROTOCOL_VERSION",
    "device_info",
    "outputs_request",
    "profile_request",
    "profile_trace",
    "progress_text",
]

# The newest. 2: queue, unlock and holder of the lease. 3: a runtime per candidate, outputs for a score, clock modes.
PROTOCOL_VERSION = 3

_QUALITIES: dict[int, MeterQuality] = {
    pb.MeterInfo.QUALITY_MEASURED: MeterQuality.MEASURED,
    pb.MeterInfo.QUALITY_COUNTER: MeterQuality.COUNTER,
    pb.MeterInfo.QUALITY_ESTIMATE: MeterQuality.ESTIMATE,
    pb.MeterInfo.QUALITY_SIMULATED: MeterQuality.SIMULATED,
}
_PURPOSES: dict[int, Purpose] = {
    pb.PURPOSE_SEARCH: Purpose.SEARCH,
    pb.PURPOSE_REMEASURE: Purpose.REMEASURE,
    pb.PURPOSE_VERIFY: Purpose.VERIFY,
}
_STATUSES = {pb.Status.Value(status.value): status for status in Status}
_METER_STATUSES = {pb.MeterStatus.Value(status.value): status for status in MeterStatus}

Word = TypeVar("Word")


def device_info(message: pb.DeviceInfo, name: DeviceName, *, host_boot_id: str | None) -> DeviceInfo:
    """host_boot_id: of this machine. A real board whose agent runs under the same one shares the host's cores."""
    same_machine = message.HasField("host_boot_id") and message.host_boot_id == host_boot_id
    return DeviceInfo(
        name=name,
        agent_version=message.agent_version,
        board_id=message.board_id,
        boot_id=message.boot_id,
        board=message.board,
        simulated=message.simulated,
        architecture=message.architecture,
        os=message.os,
        cpu_count=message.cpu_count,
        memory_bytes=message.memory_bytes,
        runtimes=tuple(
            RuntimeVersion(
                name=r.name,
                version=r.version,
                providers=tuple(r.providers),
                figures={known.provider: tuple(known.precisions) for known in r.figures},
            )
            for r in message.runtimes
        ),
        meter=_meter(message.meter) if message.HasField("meter") else None,
        default_threads=message.default_threads,
        shares_host_cores=message.shares_host_cores or (same_machine and not message.simulated),
        profile_note=message.profile_note if message.HasField("profile_note") else None,
        fixes_clocks=message.fixes_clocks,
        clock_modes=tuple(message.clock_modes),
        protocol=message.protocol_version,
    )


def profile_request(batch: Batch, blobs: Mapping[Path, str], lease_id: str) -> pb.ProfileRequest:
    """blobs: the sha256 of the inputs and of every file of expected outputs."""
    return pb.ProfileRequest(
        lease_id=lease_id,
        request_key=batch.request_key,
        preset=batch.preset,
        order_seed=batch.order_seed,
        anchor=_candidate_request(batch.anchor, batch, blobs),
        candidates=[_candidate_request(entry, batch, blobs) for entry in batch.entries],
        runtime=_runtime_options(batch.deployment),
        inputs_sha256=blobs[batch.inputs],
        relative_tolerance=batch.relative_tolerance,
        measure_energy=batch.measure_energy,
        anchor_baseline=None if batch.anchor_baseline is None else _anchor_baseline(batch.anchor_baseline),
        time_operators=batch.time_operators,
        clock_mode=batch.deployment.clock_mode,
    )


def outputs_request(
    deployment: Deployment, model_sha256: str, inputs_sha256: str, *, lease_id: str
) -> pb.ComputeOutputsRequest:
    return pb.ComputeOutputsRequest(
        lease_id=lease_id,
        model_sha256=model_sha256,
        inputs_sha256=inputs_sha256,
        runtime=_runtime_options(deployment),
    )


def progress_text(message: pb.Progress) -> str:
    """For a progress display, for example `latency 3/5`."""
    return f"{message.stage} {message.round}/{message.rounds}" if message.rounds else message.stage


def profile_trace(data: bytes, device: DeviceName) -> ProfileTrace:
    """From a serialised CandidateResult. Raises ValueError on bytes or an enum value that are not of this release."""
    try:
        message = pb.CandidateResult.FromString(data)
    except DecodeError as error:
        raise ValueError(f"the agent sent {len(data)} bytes that are no result: {error}") from error
    return ProfileTrace(
        candidate=CandidateId(message.candidate_id),
        device=device,
        job_id=message.job_id,
        purpose=_known(_PURPOSES, message.purpose, "purpose"),
        attempt=message.attempt,
        is_anchor=message.anchor,
        model_sha256=message.model_sha256,
        status=_known(_STATUSES, message.status, "status"),
        message=message.message,
        tags=frozenset(message.tags),
        preset=message.preset,
        board_id=message.board_id,
        boot_id=message.boot_id,
        agent_version=message.agent_version,
        simulated=message.simulated,
        order_seed=message.order_seed,
        runtime=_runtime_used(message.runtime) if message.HasField("runtime") else None,
        load_ns=message.load_ns if message.HasField("load_ns") else None,
        first_run_ns=message.first_run_ns if message.HasField("first_run_ns") else None,
        output_error=message.output_error if message.HasField("output_error") else None,
        blocks=tuple(_block(block) for block in message.blocks),
        meter_status=_known(_METER_STATUSES, message.meter_status, "meter status"),
        meter=_meter(message.meter) if message.HasField("meter") else None,
        windows=tuple(_window(window) for window in message.windows),
        before=_conditions(message.before),
        after=_conditions(message.after),
        peak_rss_bytes=message.peak_rss_bytes if message.HasField("peak_rss_bytes") else None,
        operators=tuple(
            OperatorTime(name=o.name, op_type=o.op_type, total_ns=o.total_ns, runs=o.runs) for o in message.operators
        ),
        anchor_ratio=message.anchor_ratio if message.HasField("anchor_ratio") else None,
        voided=message.voided,
        protocol=message.protocol_version,
        build_ns=message.build_ns if message.HasField("build_ns") else None,
        clock_mode=message.clock_mode,
    )


def _candidate_request(entry: BatchEntry, batch: Batch, blobs: Mapping[Path, str]) -> pb.CandidateRequest:
    """What is as the batch's is left out: an agent before version 3 knows nothing else."""
    deployment = entry.deployment if entry.deployment != batch.deployment else None
    inputs = entry.inputs if entry.inputs != batch.inputs else None
    tolerance = entry.relative_tolerance if entry.relative_tolerance != batch.relative_tolerance else None
    return pb.CandidateRequest(
        candidate_id=entry.candidate,
        purpose=f"PURPOSE_{entry.purpose.name}",
        attempt=entry.attempt,
        model_sha256=entry.model_sha256,
        expected_outputs_sha256=blobs[entry.expected_outputs],
        runtime=None if deployment is None else _runtime_options(deployment),
        inputs_sha256=None if inputs is None else blobs[inputs],
        relative_tolerance=tolerance,
    )


def _runtime_options(deployment: Deployment) -> pb.RuntimeOptions:
    name, provider = ON_A_DEVICE[deployment.runtime]
    precision = "" if deployment.precision == "fp32" else deployment.precision  # the wire's word for it
    return pb.RuntimeOptions(name=name, threads=deployment.threads, provider=provider, precision=precision)


def _anchor_baseline(baseline: AnchorBaseline) -> pb.AnchorBaseline:
    return pb.AnchorBaseline(latency_ns=baseline.latency_ns, boot_id=baseline.boot_id, governor=baseline.governor)


def _meter(message: pb.MeterInfo) -> Meter:
    return Meter(
        kind=message.kind,
        quality=_known(_QUALITIES, message.quality, "meter quality"),
        address=message.address if message.HasField("address") else None,
        shunt_ohm=message.shunt_ohm if message.HasField("shunt_ohm") else None,
        config=message.config if message.HasField("config") else None,
        calibration=message.calibration if message.HasField("calibration") else None,
        rail=message.rail if message.HasField("rail") else None,
        fault=message.fault if message.HasField("fault") else None,
    )


def _runtime_used(message: pb.RuntimeUsed) -> RuntimeUsed:
    return RuntimeUsed(
        name=message.name,
        version=message.version,
        provider=message.provider,
        threads=message.threads,
        options=tuple(sorted(message.options.items())),
    )


def _block(message: pb.LatencyBlock) -> LatencyBlock:
    return LatencyBlock(
        round=message.round, position=message.position, start_ns=message.start_ns, run_ns=tuple(message.run_ns)
    )


def _window(message: pb.PowerWindow) -> PowerWindow:
    stamps = list(accumulate(message.timestamp_delta_ns, initial=message.start_ns))
    return PowerWindow(
        busy=message.kind == pb.PowerWindow.KIND_BUSY,
        round=message.round,
        start_ns=message.start_ns,
        end_ns=message.end_ns,
        inferences=message.inferences,
        timestamp_ns=tuple(stamps[1:]),
        power_uw=tuple(message.power_uw),
        bus_uv=tuple(message.bus_uv),
        i2c_errors=message.i2c_errors,
        dropped=message.dropped,
        clipped=message.clipped,
    )


def _conditions(message: pb.Conditions) -> Conditions:
    return Conditions(
        temperature_c=message.temperature_c if message.HasField("temperature_c") else None,
        frequency_hz=message.frequency_hz if message.HasField("frequency_hz") else None,
        governor=message.governor if message.HasField("governor") else None,
        throttle_bits=message.throttle_bits if message.HasField("throttle_bits") else None,
        contention=message.contention if message.HasField("contention") else None,
        free_memory_bytes=message.free_memory_bytes if message.HasField("free_memory_bytes") else None,
        power_mode=message.power_mode if message.HasField("power_mode") else None,
        fan_level=message.fan_level if message.HasField("fan_level") else None,
        time_in_state=tuple((state.frequency_hz, state.duration_ms) for state in message.time_in_state),
        clocks_fixed=message.clocks_fixed if message.HasField("clocks_fixed") else None,
        gpu_frequency_hz=message.gpu_frequency_hz if message.HasField("gpu_frequency_hz") else None,
        memory_frequency_hz=message.memory_frequency_hz if message.HasField("memory_frequency_hz") else None,
    )


def _known(table: Mapping[int, Word], value: int, what: str) -> Word:
    if value not in table:
        raise ValueError(f"the agent sent {what} {value}, which this release does not know; install the same on both")
    return table[value]
