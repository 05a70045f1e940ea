"""Every field of the contract survives the way from the agent's dataclasses to the host's."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path

import pytest
from edgepareto.agent import wire as agent_wire
from edgepareto.agent.conditions.linux import Conditions
from edgepareto.agent.errors import MeterStatus, RequestError, Status
from edgepareto.agent.lease import Holder, Owner
from edgepareto.agent.power.power_meter import MeterDescription
from edgepareto.agent.profiling.trace import CandidateSpec, CandidateTrace, Purpose
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.wire import Device
from edgepareto.host.domain import AnchorBaseline, Batch, BatchEntry, CandidateId, Deployment, DeviceName
from edgepareto.host.domain import Purpose as HostPurpose
from edgepareto.host.fleet import wire as host_wire
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.fake_agent import DEVICE
from fakes.measuring import trace_of

PI1 = DeviceName("pi1")
HOLDER = Holder(owner=Owner(name="ann@desk study", fingerprint="ab" * 32), expires_in_s=12.5, waiting=2)
OF_THE_BOARD = {"tags", "averaging_s"}  # of a meter: its tags travel with every trace, its averaging sets the guards
BY_IDENTITY = {"spec"}  # flattened on the host's side
OF_THE_DEVICE = {"device", "candidate", "purpose", "attempt", "model_sha256", "protocol"}
OF_THE_DEVICE |= {"board_id", "boot_id", "agent_version", "simulated"}


def full_trace() -> CandidateTrace:
    spec = CandidateSpec(
        candidate_id="c0",
        purpose=Purpose.REMEASURE,
        attempt=2,
        model_sha256="ab" * 32,
        model=Path("m"),
        expected_outputs=Path("o"),
        runtime=RuntimeOptions(name="onnxruntime", threads=3, provider="CPUExecutionProvider"),
        inputs=Path("i"),
        relative_tolerance=1e-3,
    )
    request = pb.ProfileRequest(
        request_key="k",
        preset="standard",
        order_seed=2**64 - 1,
        anchor=request_of(spec),
        candidates=[request_of(spec)],
        runtime=pb.RuntimeOptions(name="onnxruntime", threads=3, provider="CPUExecutionProvider"),
        inputs_sha256="cd" * 32,
        relative_tolerance=1e-3,
        measure_energy=True,
    )
    blobs = {"ab" * 32: Path("m"), "ef" * 32: Path("o"), "cd" * 32: Path("i")}
    return trace_of(spec, agent_wire.batch_request(request, blobs), is_anchor=True)


def request_of(spec: CandidateSpec) -> pb.CandidateRequest:
    return pb.CandidateRequest(
        candidate_id=spec.candidate_id,
        purpose="PURPOSE_REMEASURE",
        attempt=spec.attempt,
        model_sha256=spec.model_sha256,
        expected_outputs_sha256="ef" * 32,
    )


def device_info(device: Device) -> pb.DeviceInfo:
    return agent_wire.device_info(device, version=2, holder=HOLDER)


def sent(trace: CandidateTrace):
    return host_wire.profile_trace(agent_wire.result(trace, DEVICE).SerializeToString(), PI1)


def plain(value: object) -> object:
    """Both sides' dataclasses and enums as the same plain values."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        left_out = OF_THE_BOARD if isinstance(value, MeterDescription) else set()
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name not in left_out}
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, (tuple, list)):
        if value and all(isinstance(item, tuple) for item in value):
            return sorted(value)
        return [plain(item) for item in value]
    return value


def test_every_field_of_a_trace_reaches_the_host_unchanged():
    trace = full_trace()
    arrived = sent(trace)
    left = {f.name: plain(getattr(trace, f.name)) for f in fields(trace) if f.name not in BY_IDENTITY}
    right = {f.name: plain(getattr(arrived, f.name)) for f in fields(arrived) if f.name not in OF_THE_DEVICE}
    assert right == left
    assert (arrived.candidate, arrived.purpose.value, arrived.attempt) == ("c0", "remeasure", 2)
    assert (arrived.model_sha256, arrived.device, arrived.simulated) == ("ab" * 32, "pi1", True)
    assert (arrived.board_id, arrived.boot_id, arrived.agent_version) == ("b0a4d", "boot-1", "1.2.3")
    assert arrived.protocol == agent_wire.MEASUREMENT_PROTOCOL


@pytest.mark.parametrize("message", [agent_wire.result(full_trace(), DEVICE), device_info(DEVICE)])
def test_the_agent_forgets_no_field_of_the_contract(message):
    forgotten = {f.name for f in message.DESCRIPTOR.fields} - {f.name for f, _ in message.ListFields()}
    assert forgotten == set()


@pytest.mark.parametrize("governor", ["performance", None])
def test_what_a_batch_asks_beside_its_models_reaches_the_agent(tmp_path: Path, governor: str | None):
    entry = BatchEntry(
        candidate=CandidateId("c0"),
        purpose=HostPurpose.SEARCH,
        attempt=0,
        model=tmp_path / "m",
        model_sha256="ab" * 32,
        expected_outputs=tmp_path / "o",
    )
    batch = Batch(
        request_key="k",
        preset="audit",
        order_seed=7,
        anchor=entry,
        entries=(),
        inputs=tmp_path / "i",
        anchor_baseline=AnchorBaseline(latency_ns=12_345, boot_id="boot-1", governor=governor),
        time_operators=True,
    )
    names = {tmp_path / "o": "ef" * 32, tmp_path / "i": "cd" * 32}
    blobs = {"ab" * 32: tmp_path / "m", **{sha256: path for path, sha256 in names.items()}}
    asked = agent_wire.batch_request(host_wire.profile_request(batch, names, "lease"), blobs)
    assert plain(asked.anchor_baseline) == plain(batch.anchor_baseline)
    assert (asked.time_operators, asked.preset, asked.order_seed) == (True, "audit", 7)
    without = replace(batch, anchor_baseline=None)
    assert agent_wire.batch_request(host_wire.profile_request(without, names, ""), blobs).anchor_baseline is None


def test_each_candidate_runs_as_its_own_deployment_says_and_else_as_the_batchs(tmp_path: Path):
    anchor = BatchEntry(
        candidate=CandidateId("c0"),
        purpose=HostPurpose.SEARCH,
        attempt=0,
        model=tmp_path / "m",
        model_sha256="ab" * 32,
        expected_outputs=tmp_path / "o",
    )
    lite = replace(
        anchor,
        candidate=CandidateId("c1"),
        deployment=Deployment(runtime="litert", precision="int8", threads=3),
        inputs=tmp_path / "lite",
        relative_tolerance=0.1,
    )
    batch = Batch(
        request_key="k",
        preset="quick",
        order_seed=7,
        anchor=anchor,
        entries=(lite,),
        inputs=tmp_path / "i",
        deployment=Deployment(threads=2, clock_mode="15W"),
    )
    names = {tmp_path / "o": "ef" * 32, tmp_path / "i": "cd" * 32, tmp_path / "lite": "12" * 32}
    message = host_wire.profile_request(batch, names, "lease")
    wanted = agent_wire.blob_names(message)
    assert wanted == {"ab" * 32, "ef" * 32, "cd" * 32, "12" * 32}
    asked = agent_wire.batch_request(message, {name: Path(name) for name in wanted})
    assert asked.clock_mode == "15W"
    dense, candidate = asked.anchor, asked.candidates[0]
    assert dense.runtime == RuntimeOptions(name="onnxruntime", threads=2, provider="CPUExecutionProvider")
    assert (dense.inputs, dense.relative_tolerance) == (Path("cd" * 32), 1e-3)
    assert candidate.runtime == RuntimeOptions(name="litert", threads=3, provider="XNNPACK", precision="int8")
    assert (candidate.inputs, candidate.relative_tolerance) == (Path("12" * 32), 0.1)


def test_what_is_unknown_is_absent_and_not_zero():
    trace = replace(
        full_trace(),
        status=Status.WORKER_CRASHED,
        runtime=None,
        load_ns=None,
        first_run_ns=None,
        output_error=None,
        blocks=(),
        meter=None,
        meter_status=MeterStatus.ABSENT,
        windows=(),
        before=Conditions(),
        after=Conditions(),
        peak_rss_bytes=None,
        tags=frozenset(),
    )
    arrived = sent(trace)
    assert plain(arrived.before) == plain(Conditions())
    unknown = ("runtime", "load_ns", "first_run_ns", "output_error", "meter", "peak_rss_bytes")
    assert [getattr(arrived, name) for name in unknown] == [None] * len(unknown)


def test_a_zero_that_was_measured_stays_a_zero():
    arrived = sent(replace(full_trace(), output_error=0.0, load_ns=0))
    assert (arrived.output_error, arrived.load_ns) == (0.0, 0)
    assert arrived.before.contention == 0.0
    assert arrived.before.throttle_bits == 0
    assert arrived.after.frequency_hz is None


@pytest.mark.parametrize("status", list(Status))
def test_every_verdict_has_the_same_name_on_both_sides(status: Status):
    assert sent(replace(full_trace(), status=status)).status.value == status.value


@pytest.mark.parametrize("status", list(MeterStatus))
def test_every_verdict_on_the_meter_has_the_same_name_on_both_sides(status: MeterStatus):
    assert sent(replace(full_trace(), meter_status=status)).meter_status.value == status.value


def test_every_field_of_the_device_reaches_the_host():
    arrived = host_wire.device_info(device_info(DEVICE), PI1, host_boot_id="another")
    info = DEVICE.info
    common = {f.name for f in fields(arrived)} & {f.name for f in fields(info)}
    assert len(common) == len(fields(arrived)) - 3  # but for its name, its meter and the version that is spoken
    assert arrived.protocol == 2
    for name in common - {"runtimes"}:
        assert getattr(arrived, name) == getattr(info, name), name
    assert plain(arrived.runtimes) == plain(info.runtimes)
    assert plain(arrived.meter) == plain(DEVICE.meter)


def test_a_real_board_whose_agent_runs_on_this_machine_shares_its_cores_and_a_simulated_one_does_not():
    real = replace(DEVICE, info=replace(DEVICE.info, simulated=False, shares_host_cores=False))
    here, elsewhere = "boot-of-the-host", "another"
    assert host_wire.device_info(device_info(real), PI1, host_boot_id=here).shares_host_cores
    assert not host_wire.device_info(device_info(real), PI1, host_boot_id=elsewhere).shares_host_cores
    simulated = replace(real, info=replace(real.info, simulated=True))
    assert not host_wire.device_info(device_info(simulated), PI1, host_boot_id=here).shares_host_cores


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_the_pieces_of_a_result_are_the_result(size: int):
    data = bytes(size % 251 for _ in range(size))
    chunks = [event.result_chunk for event in agent_wire.result_chunks("c0", data)]
    assert b"".join(chunk.data for chunk in chunks) == data
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert max(len(chunk.data) for chunk in chunks) <= 1 << 20


@pytest.mark.parametrize("data", [b"\xff\xff\xff", pb.CandidateResult(status=99).SerializeToString()])
def test_bytes_that_are_no_result_of_this_release_are_a_value_error(data: bytes):
    with pytest.raises(ValueError, match="the agent sent"):
        host_wire.profile_trace(data, PI1)


def test_a_request_for_more_threads_than_the_board_has_cores_is_refused():
    for threads in (0, 4):
        agent_wire.check_threads(pb.ProfileRequest(runtime=pb.RuntimeOptions(threads=threads)), DEVICE)
    with pytest.raises(RequestError, match=r"^5 threads were asked for, this board has 4 cores$"):
        agent_wire.check_threads(pb.ProfileRequest(runtime=pb.RuntimeOptions(threads=5)), DEVICE)


def test_a_request_for_a_clock_mode_that_the_board_does_not_offer_is_refused_with_those_that_it_does():
    for mode in ("", "15W"):
        agent_wire.check_clock_mode(pb.ProfileRequest(clock_mode=mode), DEVICE)
    refusal = (
        r"^clock mode '7W' was asked for, this board offers 15W, 25W; its owner sets them \(\[clocks\] modes of agent"
    )
    with pytest.raises(RequestError, match=refusal):
        agent_wire.check_clock_mode(pb.ProfileRequest(clock_mode="7W"), DEVICE)


def test_a_precision_that_the_agent_does_not_know_is_refused_and_not_run_as_another():
    message = pb.ComputeOutputsRequest(model_sha256="a", inputs_sha256="b", runtime=pb.RuntimeOptions(name="litert"))
    blobs = {"a": Path("a"), "b": Path("b")}
    assert agent_wire.outputs_request(message, blobs).runtime.precision == "fp32"
    message.runtime.precision = "INT8"
    with pytest.raises(RequestError, match=r"^precision 'INT8' was asked for, this agent knows fp32, fp16, int8$"):
        agent_wire.outputs_request(message, blobs)
