"""One candidate on its way through a batch: what was measured so far, or why nothing more will be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from edgepareto.agent.conditions.linux import Conditions
from edgepareto.agent.engine_store import EngineStore
from edgepareto.agent.errors import MeterError, MeterStatus, Status, WorkerError
from edgepareto.agent.power.power_meter import MeterDescription
from edgepareto.agent.profiling.engine_build import build_engine
from edgepareto.agent.profiling.schedule import Preset
from edgepareto.agent.profiling.trace import (
    BatchRequest,
    CandidateSpec,
    CandidateTrace,
    LatencyBlock,
    OperatorTime,
    PowerWindow,
)
from edgepareto.agent.profiling.worker_client import WorkerClient
from edgepareto.agent.runtime.runtime import RuntimeUsed
from edgepareto.agent.worker.protocol import Block, Check, Load, MemoryUsed, TimeOperators, WarmUp

__all__ = ["Job", "shown_line"]

OPERATOR_RUNS = 40  # half of them count; the latency itself comes from the blocks
_Result = TypeVar("_Result")
LONGEST_MESSAGE = 2000  # characters
NO_OPERATOR_TIMES = "NO_OPERATOR_TIMES"  # they were asked for and the runtime could not tell them


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """The one mutable record of this room. Once `status` is not OK the worker is gone and nothing is added, until
    `renew`.

    index: place in the request, 0 for the anchor. worker None: not started, or ended.
    """

    spec: CandidateSpec
    index: int
    worker: WorkerClient | None = None
    status: Status = Status.OK
    message: str = ""
    tags: set[str] = field(default_factory=set)
    runtime: RuntimeUsed | None = None
    build_ns: int | None = None
    load_ns: int | None = None
    first_run_ns: int | None = None
    output_error: float | None = None
    blocks: list[LatencyBlock] = field(default_factory=list)
    meter_status: MeterStatus = MeterStatus.OK
    windows: list[PowerWindow] = field(default_factory=list)
    peak_rss_bytes: int | None = None
    operators: tuple[OperatorTime, ...] = ()
    voided: int = 0

    @property
    def is_anchor(self) -> bool:
        return self.index == 0

    @property
    def is_measurable(self) -> bool:
        return self.status is Status.OK and self.worker is not None

    @property
    def key(self) -> str:
        """CANDIDATE/PURPOSE/ATTEMPT: what a simulated board's noise depends on."""
        return f"{self.spec.candidate_id}/{self.spec.purpose.value}/{self.spec.attempt}"

    def wait_until_ready(self) -> None:
        self.ask(lambda worker: worker.wait_until_ready())

    def make_engine(self, engines: EngineStore | None) -> None:
        """Where the provider needs one. engines: where it is kept."""
        spec = self.spec
        built_ns = self.ask(
            lambda worker: build_engine(
                worker, model=spec.model, sha256=spec.model_sha256, inputs=spec.inputs, engines=engines
            )
        )
        self.build_ns = built_ns or self.build_ns  # a job that begins anew finds it kept

    def validate(self, *, pinned: Mapping[str, str]) -> None:
        """Load, run once, compare the outputs. pinned: what the worker was bound to, reported with the options."""

        def steps(worker: WorkerClient) -> None:
            inputs = str(self.spec.inputs.absolute())
            loaded = worker.load(Load(model=str(self.spec.model.absolute()), inputs=inputs))
            self.runtime = replace(loaded.runtime, options={**loaded.runtime.options, **pinned})
            self.load_ns = loaded.load_ns or None  # a simulated board's clock stands still meanwhile: not known
            self.first_run_ns = loaded.first_run_ns
            expected = str(self.spec.expected_outputs.absolute())
            check = Check(expected=expected, relative_tolerance=self.spec.relative_tolerance)
            self.output_error = worker.check(check).output_error

        self.ask(steps)

    def timed_block(self, preset: Preset, *, round: int, position: int) -> LatencyBlock | None:
        """Warmed up before. Not kept: the caller knows whether the board was disturbed meanwhile. None: see `ask`."""

        def steps(worker: WorkerClient) -> LatencyBlock:
            worker.warm_up(WarmUp(seconds=preset.warm_up_s, runs=preset.warm_up_runs))
            done = worker.block(Block(seconds=preset.block_s, runs=preset.block_runs))
            return LatencyBlock(round=round, position=position, start_ns=done.start_ns, run_ns=done.run_ns)

        return self.ask(steps)

    def time_operators(self) -> None:
        """Last of all: a worker that fails here, such as for memory, costs these times alone."""
        if not self.is_measurable or self.operators:
            return
        assert self.worker is not None
        try:
            timed = self.worker.time_operators(TimeOperators(runs=OPERATOR_RUNS))
        except WorkerError:
            self.tags.add(NO_OPERATOR_TIMES)
            self.stop()  # it may be gone already, and nothing more is asked of it
            return
        self.operators = tuple(
            OperatorTime(name=cost.name, op_type=cost.op_type, total_ns=cost.total_ns, runs=timed.runs)
            for cost in timed.operators
        )

    def lose_energy(self, error: MeterError) -> None:
        if self.status is Status.OK and self.meter_status is MeterStatus.OK:
            self.meter_status, self.message = error.status, str(error)

    def ask(self, steps: Callable[[WorkerClient], _Result]) -> _Result | None:
        """What the worker gives; None where there is none any more, also because it fails now. Meters' faults pass."""
        if not self.is_measurable:
            return None
        assert self.worker is not None
        try:
            return steps(self.worker)
        except WorkerError as error:
            self.end(error.status, str(error))
            return None

    def memory(self) -> MemoryUsed:
        """Nothing known where the worker cannot tell any more: the measurement is as good without it."""
        if self.worker is not None:
            with contextlib.suppress(WorkerError):
                return self.worker.memory()
        return MemoryUsed(peak_rss_bytes=None, private_bytes=None)

    def end(self, status: Status, message: str) -> None:
        self.status = status
        self.message = shown_line(message)
        self.stop()

    def renew(self) -> None:
        """As if it had not been started, so that it can be measured later in the batch. A meter's fault stays."""
        self.stop()
        self.status, self.message = Status.OK, ""
        self.runtime = self.load_ns = self.first_run_ns = self.output_error = None
        self.blocks.clear()
        self.windows.clear()

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker = None

    def trace(
        self,
        request: BatchRequest,
        *,
        meter: MeterDescription | None,
        before: Conditions,
        after: Conditions,
        anchor_ratio: float | None,
    ) -> CandidateTrace:
        return CandidateTrace(
            spec=self.spec,
            is_anchor=self.is_anchor,
            job_id=f"{request.request_key}/{self.index}",
            status=self.status,
            message=self.message,
            tags=frozenset(self.tags),
            preset=request.preset,
            order_seed=request.order_seed,
            runtime=self.runtime,
            load_ns=self.load_ns,
            first_run_ns=self.first_run_ns,
            output_error=self.output_error,
            build_ns=self.build_ns,
            blocks=tuple(self.blocks),
            meter_status=self.meter_status,
            meter=meter,
            windows=tuple(self.windows),
            before=before,
            after=after,
            peak_rss_bytes=self.peak_rss_bytes,
            operators=self.operators,
            anchor_ratio=anchor_ratio,
            voided=self.voided,
            clock_mode=request.clock_mode,
        )


def shown_line(message: str) -> str:
    """A message in one line that a terminal can show: libraries quote what stands in a model."""
    line = " ".join(message.split())[:LONGEST_MESSAGE]
    return "".join(character if character.isprintable() else "?" for character in line)
