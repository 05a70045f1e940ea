"""One device as the study sees it: what it is, `profile` of a batch and `outputs` of a model, which heal what can be
healed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np
from edgepareto.host.domain import Batch, Deployment, DeviceInfo, MeterStatus, ProfileTrace, Status
from edgepareto.host.domain.incident import Incident
from edgepareto.host.errors import ConfigError, DeviceError, DeviceLost, Refused, Unreachable, WrongProtocol
from edgepareto.host.fleet import wire
from edgepareto.host.fleet.batch_stream import Answer, follow
from edgepareto.host.fleet.blobs import sha256_of, upload_missing
from edgepareto.host.fleet.channel import ask_device_info, reason
from edgepareto.host.fleet.lease import WAIT_S, HeldLease
from edgepareto.host.fleet.line import Line
from edgepareto.host.fleet.local_agent import LocalAgent
from edgepareto.host.fleet.outputs_stream import OUTPUTS_DEADLINE_S, compute_outputs
from edgepareto.host.fleet.patience import PATIENCE_S, SYSTEM_TIME, ServiceTime, pauses
from edgepareto.host.fleet.troubles import IncidentKind, Troubles, now
from edgepareto.host.fleet.vanishing import is_transport, what_happened
from numpy.typing import NDArray

__all__ = ["ProfilerClient"]

# Of one step, such as a block or a window, and of waiting for another batch. The agent ends a step that hangs itself,
# and keepalive notices a board that is gone: this is for an agent that answers but does not get on.
STEP_DEADLINE_S = {"quick": 900.0, "standard": 3600.0, "audit": 4 * 3600.0}
BUSY_POLL_S = 0.5
ROOM_PAUSE_S = 5.0  # in which a board may make room on its disk
HEALINGS = 3  # per batch and kind; the same trouble again and again is a lost device
LATENCY_ALONE = "latency was measured, energy was not"
OUTPUTS_FROM = 3  # the wire's version that has ComputeOutputs
NO_ENERGY = frozenset(MeterStatus) - {MeterStatus.OK, MeterStatus.CLIPPED}  # what is clipped is the candidate's own

_Answered = TypeVar("_Answered")


class ProfilerClient:
    """A connected device whose lease is held. One `profile` or `outputs` at a time; `close` may come from another
    thread."""

    def __init__(
        self,
        *,
        info: DeviceInfo,
        target: str,
        line: Line,
        lease: HeldLease,
        agent: LocalAgent | None,
        host_boot_id: str | None,
        lease_wait_s: float = WAIT_S,
        time: ServiceTime = SYSTEM_TIME,
    ) -> None:
        self._info = info
        self._target = target
        self._line = line
        self._lease = lease
        self._agent = agent
        self._host_boot_id = host_boot_id
        self._lease_wait_s = lease_wait_s
        self._time = time
        self._closed = threading.Event()
        self._is_looked_for = False

    @property
    def is_looked_for(self) -> bool:
        return self._is_looked_for

    @property
    def info(self) -> DeviceInfo:
        """As the agent told last: after a reboot with another boot id."""
        return self._info

    def profile(
        self,
        batch: Batch,
        on_progress: Callable[[str], None],
        on_incident: Callable[[Incident], None] = lambda incident: None,
    ) -> tuple[ProfileTrace, ...]:
        """The anchor's trace first, then the entries' in order. Raises DeviceLost where the device has no more to give.

        Blobs that the agent forgot are sent again, a lost lease or connection is taken up again, a board that is gone
        is looked for PATIENCE_S long, also through a reboot, and the batch is asked for again under its key: where it
        was measured meanwhile it is answered from the agent's journal. Nothing is measured twice but a batch that was
        cut short before it was journalled, and that is an incident. A slow model may take any time as long as the batch
        gets on, a step within each STEP_DEADLINE_S.

        on_incident: each trouble of this batch, in order, before this returns or raises.
        """
        troubles = Troubles(self._info.name, on_incident)
        began = now()
        try:
            answer = self._profile_healed(batch, on_progress, troubles)
        except DeviceLost as error:
            if self._closed.is_set():  # we hung up ourselves
                troubles.stop()
            else:
                troubles.give_up(str(error).removeprefix(f"{self._info.name}: "), at=began)
            raise
        troubles.end(from_journal=answer.from_journal)
        self._tell_lost_meter(batch, answer.traces, troubles, began)
        return answer.traces

    def outputs(
        self,
        model: Path,
        inputs: Path,
        deployment: Deployment,
        on_progress: Callable[[str], None] = lambda text: None,
    ) -> Mapping[str, NDArray[np.generic]]:
        """What a model file gives on the device, by output: row i is what row i of the inputs gave (.npz, one key per
        input, a row is fed as it stands).

        Raises WrongProtocol where its agent cannot, EvaluationError where the model fails there, DeviceLost. Blobs,
        lease and connection are healed as `profile` does.
        """
        if self._info.protocol < OUTPUTS_FROM:
            raise WrongProtocol(
                f"{self._info.name}: its agent {self._info.agent_version} speaks protocol version "
                f"{self._info.protocol}, outputs are computed from version {OUTPUTS_FROM} on; "
                f"host deploy {self._info.name} --upgrade"
            )
        hashes = [sha256_of(path) for path in (model, inputs)]
        files = dict(zip(hashes, (model, inputs), strict=True))

        def ask(lease_id: str) -> Mapping[str, NDArray[np.generic]]:
            upload_missing(self._line.stub, lease_id, files)
            request = wire.outputs_request(deployment, *hashes, lease_id=lease_id)
            return compute_outputs(
                self._line, self._info.name, request, on_rows=lambda rows: on_progress(f"outputs of {rows} runs")
            )

        troubles = Troubles(self._info.name, lambda incident: None)  # no number depends on them
        return self._healed(ask, OUTPUTS_DEADLINE_S, on_progress, troubles)

    def close(self) -> None:
        """Give the lease back and hang up; a `profile` in another thread ends with DeviceLost. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._lease.release()
        self._line.close()

    def _profile_healed(self, batch: Batch, on_progress: Callable[[str], None], troubles: Troubles) -> Answer:
        """Raises DeviceLost."""
        hashes = {path: sha256_of(path) for path in _data_files(batch)}
        files = {digest: path for path, digest in hashes.items()}
        files |= {entry.model_sha256: entry.model for entry in (batch.anchor, *batch.entries)}
        step_s = STEP_DEADLINE_S[batch.preset]

        def on_step(words: str) -> None:
            troubles.step(words)
            on_progress(words)

        def ask(lease_id: str) -> Answer:
            upload_missing(self._line.stub, lease_id, files)
            request = wire.profile_request(batch, hashes, lease_id)
            troubles.send()
            return follow(self._line, self._info.name, batch, request, step_deadline_s=step_s, on_step=on_step)

        return self._healed(ask, step_s, on_progress, troubles)

    def _healed(
        self,
        ask: Callable[[str], _Answered],
        patience_s: float,
        on_progress: Callable[[str], None],
        troubles: Troubles,
    ) -> _Answered:
        """What `ask` gives, told the lease's id, again and again until nothing is in its way any more.

        patience_s: with a board that is busy with something else. Raises DeviceLost.
        """
        deadline_s = self._time.now_s() + patience_s
        met: Counter[str] = Counter()
        while True:
            if self._closed.is_set():
                raise DeviceLost(f"{self._info.name}: the connection was closed")
            lease_id = self._lease.id
            try:
                return ask(lease_id)
            except grpc.RpcError as error:
                code = error.code()
                if code is grpc.StatusCode.ABORTED:
                    self._wait_until_free(error, deadline_s, on_progress)
                    continue
                deadline_s = self._time.now_s() + patience_s
                kind = "connection" if is_transport(error) else code.name
                if met[kind] == HEALINGS:
                    raise DeviceLost(f"{self._info.name}: {reason(error)} ({HEALINGS + 1} times)") from error
                met[kind] += self._heal(error, lease_id, on_progress, troubles, is_first=not met[kind])
            except ValueError as error:
                if not self._closed.is_set():
                    raise
                raise DeviceLost(f"{self._info.name}: the connection was closed") from error  # between two calls

    def _wait_until_free(self, error: grpc.RpcError, deadline_s: float, on_progress: Callable[[str], None]) -> None:
        """While another batch is measured. Raises DeviceLost."""
        if self._closed.is_set() or self._time.now_s() >= deadline_s:
            raise DeviceLost(f"{self._info.name}: {reason(error)}") from error
        on_progress("waiting for the board")
        self._time.wait(self._closed, BUSY_POLL_S)

    def _heal(
        self,
        error: grpc.RpcError,
        lease_id: str,
        on_progress: Callable[[str], None],
        troubles: Troubles,
        *,
        is_first: bool,
    ) -> bool:
        """Returns when it is worth asking again: whether that counts, so that it has an end. Raises DeviceLost.

        lease_id: under which the agent was asked.
        """
        name = self._info.name
        code = error.code()
        at = now()
        if self._closed.is_set():
            raise DeviceLost(f"{name}: the connection was closed") from error
        if is_transport(error):
            self._is_looked_for = True
            try:
                return self._reconnect(error, lease_id, on_progress, troubles)
            finally:
                self._is_looked_for = False
        if code is grpc.StatusCode.NOT_FOUND:
            return True  # the agent makes room by forgetting; the next round uploads what it misses
        if code is grpc.StatusCode.DATA_LOSS:
            troubles.add(IncidentKind.UPLOAD_CORRUPT, reason(error), at=at)
        elif code is grpc.StatusCode.PERMISSION_DENIED:
            try:
                self._take_lease(on_progress)
            except Unreachable:
                return True  # the next round meets it too, and looks for the board
            troubles.add(IncidentKind.LEASE_LOST, reason(error), at=at)
        elif code is grpc.StatusCode.RESOURCE_EXHAUSTED and is_first:
            troubles.add(IncidentKind.DISK_FULL, reason(error), at=at)
            on_progress("waiting for room on the board")
            self._time.wait(self._closed, ROOM_PAUSE_S)
        else:
            raise DeviceLost(f"{name}: {reason(error)}") from error
        return True

    def _take_lease(self, on_progress: Callable[[str], None]) -> None:
        """Raises Unreachable, and DeviceLost where it is not to be had."""
        try:
            self._lease.acquire(cancelled=self._closed, wait_s=self._lease_wait_s, tell=on_progress)
        except Unreachable:
            raise
        except DeviceError as refusal:
            raise DeviceLost(str(refusal)) from refusal

    def _reconnect(
        self, cause: grpc.RpcError, lease_id: str, on_progress: Callable[[str], None], troubles: Troubles
    ) -> bool:
        """Find the same board again and hold its lease, within PATIENCE_S and one look. Raises DeviceLost.

        A cut through which the batch went on does not count where it has got on since the last: that has an end.
        """
        name = self._info.name
        at, began_s, pause = now(), self._time.now_s(), pauses()
        on_progress("does not answer")
        while True:
            last_words = None if self._agent is None else self._agent.last_words()
            if last_words is not None:
                raise DeviceLost(f"{name}: its agent ended: {last_words}") from cause
            try:
                before = self._info
                lease_kept = self._find_again(lease_id, on_progress)
                break
            except (Refused, WrongProtocol, ConfigError, DeviceLost) as error:
                raise DeviceLost(str(error)) from cause
            except (DeviceError, ValueError) as error:  # the latter: the line was closed meanwhile
                gone_s = self._time.now_s() - began_s
                if isinstance(error, ValueError) and not self._closed.is_set():
                    raise
                if gone_s >= PATIENCE_S:
                    raise DeviceLost(
                        f"{name}: lost in the middle of a batch: {reason(cause)}; looked for {gone_s:.0f} s in vain"
                    ) from error
                on_progress(f"gone for {gone_s:.0f} s, is looked for until {PATIENCE_S:.0f} s")
                if self._time.wait(self._closed, next(pause)):
                    words = f"{reason(cause)}; it had not answered again after {gone_s:.0f} s"
                    troubles.add(IncidentKind.CONNECTION_CUT, words, at=at)
                    raise DeviceLost(f"{name}: the connection was closed") from error
        gone_s = self._time.now_s() - began_s
        counts = not (lease_kept and troubles.got_on)
        troubles.add(*what_happened(before, self._info, cause, gone_s, lease_kept), at=at, lease_kept=lease_kept)
        return counts

    def _find_again(self, lease_id: str, on_progress: Callable[[str], None]) -> bool:
        """Whether this lease of ours outlasted it.

        Raises Unreachable, Refused, WrongProtocol, ConfigError, DeviceError,
        and DeviceLost where looking again is of no use."""
        name = self._info.name
        self._line.redial()
        found = ask_device_info(self._line.stub, name, self._target, host_boot_id=self._host_boot_id)
        if found.board_id != self._info.board_id:
            raise DeviceLost(
                f"{name}: another board answers at {self._target}, {found.board_id} instead of {self._info.board_id}; "
                "correct the address, then search again with --resume"
            )
        is_held = found.boot_id == self._info.boot_id and self._renewed()
        if not is_held:
            self._take_lease(on_progress)
        self._info = found
        # The lease's own thread may have been faster: then it is held, but the batch ended with the one before.
        return is_held and self._lease.id == lease_id

    def _renewed(self) -> bool:
        try:
            return self._lease.renew()
        except Unreachable:
            raise
        except DeviceError as refusal:
            raise DeviceLost(str(refusal)) from refusal

    def _tell_lost_meter(
        self, batch: Batch, traces: tuple[ProfileTrace, ...], troubles: Troubles, at: datetime
    ) -> None:
        """A meter that answered when the board was connected, and gave no candidate of this batch its energy."""
        meter = self._info.meter
        ran = [trace for trace in traces if trace.status is Status.OK]
        if not batch.measure_energy or meter is None or meter.fault is not None or not ran:
            return
        if all(trace.meter_status in NO_ENERGY for trace in ran):
            why = ran[0].meter_status.value
            troubles.note(IncidentKind.METER_LOST, f"its meter gave no energy: {why}", LATENCY_ALONE, at=at)


def _data_files(batch: Batch) -> set[Path]:
    """Files whose hash does not stand in the batch."""
    entries = (batch.anchor, *batch.entries)
    inputs = {batch.inputs if entry.inputs is None else entry.inputs for entry in entries}
    return {batch.inputs, *inputs, *(entry.expected_outputs for entry in entries)}
