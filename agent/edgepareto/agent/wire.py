"""protobuf <-> the agent's dataclasses: the only module that knows both. Unknown stays unset, never 0."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.conditions.linux import Conditions
from edgepareto.agent.device_info import DeviceInfo
from edgepareto.agent.errors import ProtocolMismatch, RequestError
from edgepareto.agent.lease import Grant, Holder
from edgepareto.agent.power.power_meter import MeterDescription
from edgepareto.agent.profiling.outputs import OutputsDone, OutputsPiece, OutputsProgress, OutputsRequest
from edgepareto.agent.profiling.trace import (
    AnchorBaseline,
    BatchRequest,
    CandidateSpec,
    CandidateTrace,
    LatencyBlock,
    OperatorTime,
    PowerWindow,
    Progress,
    Purpose,
)
from edgepareto.agent.runtime.runtime import RuntimeOptions, RuntimeUsed
from edgepareto.profiler.v1 import profiler_pb2 as pb
from google.protobuf.message import Message

__all__ = [
    "MEASUREMENT_PROTOCOL",
    "PROTOCOL_VERSION",
    "Device",
    "batch_request",
    "blob_names",
    "candidate_count",
    "check_bounds",
    "check_clock_mode",
    "check_threads",
    "device_info",
    "fingerprint",
    "lease",
    "outputs_blob_names",
    "outputs_event",
    "outputs_request",
    "progress",
    "result",
    "result_chunks",
    "spoken_version",
    "unlocked",
]

# Of the wire. 2: queue, unlock and holder of the lease. 3: a runtime per candidate, outputs for a score, clock modes.
PROTOCOL_VERSION = 3
MEASUREMENT_PROTOCOL = 1  # of the numbers (docs/measurement.md, Protocol): another version is another measurement
CHUNK_BYTES = 1 << 20  # a result may exceed the 4 MB that gRPC takes in one message
LONGEST_TEXT = 256  # characters; hosts send hashes, names of files and what they call themselves
MOST_ITEMS = 1024  # of one list
PRECISIONS = ("fp32", "fp16", "int8")
MAXIMUM_CANDIDATES = 5  # beside the anchor (docs/measurement.md, The batch)

_PURPOSES = {
    pb.PURPOSE_SEARCH: Purpose.SEARCH,
    pb.PURPOSE_REMEASURE: Purpose.REMEASURE,
    pb.PURPOSE_VERIFY: Purpose.VERIFY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What stands in every answer of this agent. meter None: the board has none."""

    info: DeviceInfo
    meter: MeterDescription | None


def check_bounds(message: Message) -> None:
    """Text from outside is short and printable, lists are short, before anyone sees them. Raises RequestError."""
    for field, value in message.ListFields():
        items = value if field.is_repeated else (value,)
        if len(items) > MOST_ITEMS:
            raise RequestError(f"{field.name} holds {len(items)} entries, wanted at most {MOST_ITEMS}")
        for item in items:
            if isinstance(item, Message):
                check_bounds(item)
            elif isinstance(item, str) and (len(item) > LONGEST_TEXT or not item.isprintable()):
                raise RequestError(
                    f"{field.name} must be printable and at most {LONGEST_TEXT} characters long; "
                    f"seen {len(item)} characters, {item[:40]!r}"
                )


def spoken_version(message: pb.GetDeviceInfoRequest) -> int:
    """The newest version of the wire that both sides know. Raises ProtocolMismatch."""
    if message.protocol_version < 1:
        raise ProtocolMismatch(
            f"the host speaks protocol version {message.protocol_version}, this agent speaks 1 to {PROTOCOL_VERSION}; "
            "install the same edgepareto release on both"
        )
    return min(message.protocol_version, PROTOCOL_VERSION)


def device_info(device: Device, *, version: int, holder: Holder | None) -> pb.DeviceInfo:
    """version: of the wire, as both speak it. holder: None: the board is free."""
    info = device.info
    return pb.DeviceInfo(
        protocol_version=version,
        agent_version=info.agent_version,
        board_id=info.board_id,
        boot_id=info.boot_id,
        board=info.board,
        simulated=info.simulated,
        architecture=info.architecture,
        os=info.os,
        cpu_count=info.cpu_count,
        memory_bytes=info.memory_bytes,
        runtimes=[
            pb.RuntimeInfo(
                name=r.name,
                version=r.version,
                providers=r.providers,
                figures=[pb.Figures(provider=name, precisions=known) for name, known in r.figures.items()],
            )
            for r in info.runtimes
        ],
        meter=None if device.meter is None else _meter(device.meter),
        default_threads=info.default_threads,
        shares_host_cores=info.shares_host_cores,
        profile_note=info.profile_note,
        host_boot_id=info.host_boot_id,
        fixes_clocks=info.fixes_clocks,
        clock_modes=info.clock_modes,
        holder=None if holder is None else _holder(holder),
    )


def lease(grant: Grant) -> pb.Lease:
    owner = grant.owner
    return pb.Lease(
        granted=grant.granted,
        lease_id=grant.lease_id,
        owner="" if owner is None else owner.name,
        owner_fingerprint="" if owner is None else owner.fingerprint,
        expires_in_s=grant.expires_in_s,
        queue_position=grant.queue_position,
        unlocked_by=grant.unlocked_by,
    )


def unlocked(ended: Holder | None) -> pb.UnlockResponse:
    return pb.UnlockResponse(ended=None if ended is None else _holder(ended))


def fingerprint(message: pb.ProfileRequest) -> str:
    """What is asked for, whoever asks: the request without its lease."""
    asked = pb.ProfileRequest()
    asked.CopyFrom(message)
    asked.ClearField("lease_id")
    return hashlib.sha256(asked.SerializeToString(deterministic=True)).hexdigest()


def blob_names(message: pb.ProfileRequest) -> frozenset[str]:
    """Every blob that the batch needs on the board."""
    names: set[str] = set()
    for candidate in (message.anchor, *message.candidates):
        names |= {candidate.model_sha256, candidate.expected_outputs_sha256, _inputs_of(candidate, message)}
    return frozenset(names)


def candidate_count(message: pb.ProfileRequest) -> int:
    """Results that the batch must give, the anchor's among them."""
    return 1 + len(message.candidates)


def check_threads(message: pb.ProfileRequest | pb.ComputeOutputsRequest, device: Device) -> None:
    """Raises RequestError where the board has fewer cores: more threads than these measure the scheduler."""
    cores = device.info.cpu_count
    if isinstance(message, pb.ProfileRequest):
        threads = max(_runtime_of(candidate, message).threads for candidate in (message.anchor, *message.candidates))
    else:
        threads = message.runtime.threads
    if threads > cores:
        raise RequestError(f"{threads} threads were asked for, this board has {cores} cores")


def check_clock_mode(message: pb.ProfileRequest, device: Device) -> None:
    """Raises RequestError for one that the board does not offer."""
    offered = device.info.clock_modes
    if message.clock_mode and message.clock_mode not in offered:
        raise RequestError(
            f"clock mode {message.clock_mode!r} was asked for, this board offers {', '.join(offered) or 'none'}; its "
            "owner sets them ([clocks] modes of agent.toml, clock_modes under [devices.NAME])"
        )


def batch_request(message: pb.ProfileRequest, blobs: Mapping[str, Path]) -> BatchRequest:
    """`blobs`: the file of every name in `blob_names`. Raises RequestError."""
    if not message.request_key:
        raise RequestError("a batch needs a request key; seen an empty one")
    if not message.HasField("anchor"):
        raise RequestError("a batch needs an anchor; none was sent")
    if len(message.candidates) > MAXIMUM_CANDIDATES:
        raise RequestError(
            f"a batch holds at most {MAXIMUM_CANDIDATES} candidates; {len(message.candidates)} were sent"
        )
    return BatchRequest(
        request_key=message.request_key,
        preset=message.preset,
        order_seed=message.order_seed,
        anchor=_spec(message.anchor, message, blobs),
        candidates=tuple(_spec(candidate, message, blobs) for candidate in message.candidates),
        measure_energy=message.measure_energy,
        anchor_baseline=_anchor_baseline(message.anchor_baseline) if message.HasField("anchor_baseline") else None,
        time_operators=message.time_operators,
        clock_mode=message.clock_mode,
    )


def outputs_blob_names(message: pb.ComputeOutputsRequest) -> frozenset[str]:
    return frozenset((message.model_sha256, message.inputs_sha256))


def outputs_request(message: pb.ComputeOutputsRequest, blobs: Mapping[str, Path]) -> OutputsRequest:
    """`blobs`: the file of every name in `outputs_blob_names`."""
    return OutputsRequest(
        model_sha256=message.model_sha256,
        model=blobs[message.model_sha256],
        inputs=blobs[message.inputs_sha256],
        runtime=_runtime_options(message.runtime),
    )


def outputs_event(event: OutputsProgress | OutputsPiece | OutputsDone) -> pb.ComputeOutputsEvent:
    if isinstance(event, OutputsProgress):
        return pb.ComputeOutputsEvent(progress=pb.ComputeOutputsProgress(rows=event.rows))
    if isinstance(event, OutputsPiece):
        return pb.ComputeOutputsEvent(outputs=event.data)
    return pb.ComputeOutputsEvent(
        done=pb.ComputeOutputsDone(
            status=event.status.value,
            message=event.message,
            runtime=None if event.runtime is None else _runtime_used(event.runtime),
        )
    )


def progress(step: Progress) -> pb.ProfileEvent:
    return pb.ProfileEvent(
        progress=pb.Progress(stage=step.stage, candidate_id=step.candidate_id, round=step.round, rounds=step.rounds)
    )


def result_chunks(candidate_id: str, data: bytes) -> Iterator[pb.ProfileEvent]:
    """One serialised CandidateResult in pieces, in order; at least one piece."""
    for start in range(0, max(len(data), 1), CHUNK_BYTES):
        piece = data[start : start + CHUNK_BYTES]
        last = start + CHUNK_BYTES >= len(data)
        yield pb.ProfileEvent(result_chunk=pb.ResultChunk(candidate_id=candidate_id, data=piece, last=last))


def result(trace: CandidateTrace, device: Device) -> pb.CandidateResult:
    spec = trace.spec
    return pb.CandidateResult(
        candidate_id=spec.candidate_id,
        purpose=f"PURPOSE_{spec.purpose.name}",
        attempt=spec.attempt,
        model_sha256=spec.model_sha256,
        status=trace.status.value,
        message=trace.message,
        tags=sorted(trace.tags),
        preset=trace.preset,
        protocol_version=MEASUREMENT_PROTOCOL,
        job_id=trace.job_id,
        runtime=None if trace.runtime is None else _runtime_used(trace.runtime),
        load_ns=trace.load_ns,
        first_run_ns=trace.first_run_ns,
        output_error=trace.output_error,
        blocks=[_block(block) for block in trace.blocks],
        meter_status=trace.meter_status.value,
        meter=None if trace.meter is None else _meter(trace.meter),
        windows=[_window(window) for window in trace.windows],
        before=_conditions(trace.before),
        after=_conditions(trace.after),
        peak_rss_bytes=trace.peak_rss_bytes,
        order_seed=trace.order_seed,
        board_id=device.info.board_id,
        boot_id=device.info.boot_id,
        agent_version=device.info.agent_version,
        anchor=trace.is_anchor,
        simulated=device.info.simulated,
        operators=[_operator(operator) for operator in trace.operators],
        anchor_ratio=trace.anchor_ratio,
        voided=trace.voided,
        build_ns=trace.build_ns,
        clock_mode=trace.clock_mode,
    )


def _spec(message: pb.CandidateRequest, batch: pb.ProfileRequest, blobs: Mapping[str, Path]) -> CandidateSpec:
    if message.purpose not in _PURPOSES:
        raise RequestError(f"candidate {message.candidate_id}: unknown purpose {message.purpose}")
    own_tolerance = message.HasField("relative_tolerance")
    tolerance = message.relative_tolerance if own_tolerance else batch.relative_tolerance
    if not 0 < tolerance < math.inf:
        raise RequestError(f"relative_tolerance must be above 0 and finite; seen {tolerance:g}")
    return CandidateSpec(
        candidate_id=message.candidate_id,
        purpose=_PURPOSES[message.purpose],
        attempt=message.attempt,
        model_sha256=message.model_sha256,
        model=blobs[message.model_sha256],
        expected_outputs=blobs[message.expected_outputs_sha256],
        runtime=_runtime_options(_runtime_of(message, batch)),
        inputs=blobs[_inputs_of(message, batch)],
        relative_tolerance=tolerance,
    )


def _runtime_of(message: pb.CandidateRequest, batch: pb.ProfileRequest) -> pb.RuntimeOptions:
    return message.runtime if message.HasField("runtime") else batch.runtime


def _inputs_of(message: pb.CandidateRequest, batch: pb.ProfileRequest) -> str:
    return message.inputs_sha256 if message.HasField("inputs_sha256") else batch.inputs_sha256


def _runtime_options(message: pb.RuntimeOptions) -> RuntimeOptions:
    """Raises RequestError for a precision that it does not know: another one's numbers would pass for it."""
    precision = message.precision or PRECISIONS[0]
    if precision not in PRECISIONS:
        raise RequestError(f"precision {precision!r} was asked for, this agent knows {', '.join(PRECISIONS)}")
    return RuntimeOptions(name=message.name, threads=message.threads, provider=message.provider, precision=precision)


def _holder(holder: Holder) -> pb.LeaseHolder:
    return pb.LeaseHolder(
        owner=holder.owner.name,
        fingerprint=holder.owner.fingerprint,
        expires_in_s=holder.expires_in_s,
        waiting=holder.waiting,
    )


def _meter(meter: MeterDescription) -> pb.MeterInfo:
    return pb.MeterInfo(
        kind=meter.kind,
        quality=f"QUALITY_{meter.quality.name}",
        address=meter.address,
        shunt_ohm=meter.shunt_ohm,
        config=meter.config,
        calibration=meter.calibration,
        rail=meter.rail,
        fault=meter.fault,
    )


def _runtime_used(runtime: RuntimeUsed) -> pb.RuntimeUsed:
    return pb.RuntimeUsed(
        name=runtime.name,
        version=runtime.version,
        provider=runtime.provider,
        threads=runtime.threads,
        options=runtime.options,
    )


def _block(block: LatencyBlock) -> pb.LatencyBlock:
    return pb.LatencyBlock(round=block.round, position=block.position, start_ns=block.start_ns, run_ns=block.run_ns)


def _window(window: PowerWindow) -> pb.PowerWindow:
    before = (window.start_ns, *window.timestamp_ns)
    return pb.PowerWindow(
        kind="KIND_BUSY" if window.busy else "KIND_IDLE",
        round=window.round,
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        inferences=window.inferences,
        timestamp_delta_ns=[now - earlier for earlier, now in zip(before, window.timestamp_ns, strict=False)],
        power_uw=window.power_uw,
        bus_uv=window.bus_uv,
        i2c_errors=window.i2c_errors,
        dropped=window.dropped,
        clipped=window.clipped,
    )


def _conditions(conditions: Conditions) -> pb.Conditions:
    message = pb.Conditions(
        temperature_c=conditions.temperature_c,
        frequency_hz=conditions.frequency_hz,
        governor=conditions.governor,
        throttle_bits=conditions.throttle_bits,
        contention=conditions.contention,
        free_memory_bytes=conditions.free_memory_bytes,
        power_mode=conditions.power_mode,
        fan_level=conditions.fan_level,
        time_in_state=[pb.FrequencyTime(frequency_hz=hz, duration_ms=ms) for hz, ms in conditions.time_in_state],
        gpu_frequency_hz=conditions.gpu_frequency_hz,
        memory_frequency_hz=conditions.memory_frequency_hz,
    )
    if conditions.clocks_fixed is not None:  # the stub takes no None for a bool
        message.clocks_fixed = conditions.clocks_fixed
    return message


def _operator(operator: OperatorTime) -> pb.OperatorTime:
    return pb.OperatorTime(name=operator.name, op_type=operator.op_type, total_ns=operator.total_ns, runs=operator.runs)


def _anchor_baseline(message: pb.AnchorBaseline) -> AnchorBaseline:
    return AnchorBaseline(
        latency_ns=message.latency_ns,
        boot_id=message.boot_id,
        governor=message.governor if message.HasField("governor") else None,
    )
