"""Stands in for `profile_batch`: the same promises, but the numbers are drawn from the model's hash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from edgepareto.agent.conditions.linux import Conditions
from edgepareto.agent.errors import MeterStatus, Status
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.trace import (
    BatchRequest,
    CandidateSpec,
    CandidateTrace,
    LatencyBlock,
    OperatorTime,
    PowerWindow,
    Progress,
)
from edgepareto.agent.runtime.runtime import RuntimeUsed

STEP_S = 0.01


class FakeMeasuring:
    """measured: request keys in the order in which they were begun; `log` keeps them also through a kill.

    While `held()` it does not get past the anchor. meter_status: other than OK there is no energy.
    """

    def __init__(
        self, held: Callable[[], bool] = lambda: False, runs_per_block: int = 3, log: Path | None = None
    ) -> None:
        self.meter_status = MeterStatus.OK
        self._log = log
        self.measured: list[str] = []
        self.began = threading.Event()
        self.cut_short = threading.Event()
        self.held = held
        self._runs_per_block = runs_per_block

    def __call__(
        self,
        request: BatchRequest,
        board: Board,
        *,
        on_progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[CandidateTrace]:
        self.measured.append(request.request_key)
        if self._log is not None:
            with self._log.open("a") as log:
                log.write(f"{request.request_key}\n")
        for place, spec in enumerate((request.anchor, *request.candidates)):
            on_progress(Progress(stage="latency", candidate_id=spec.candidate_id, round=place + 1, rounds=5))
            trace = trace_of(spec, request, is_anchor=place == 0, runs_per_block=self._runs_per_block)
            if self.meter_status is not MeterStatus.OK:
                trace = replace(trace, meter_status=self.meter_status, windows=())
            yield trace
            self.began.set()
            while self.held() and not cancelled():
                time.sleep(STEP_S)
            if cancelled():
                self.cut_short.set()
                return


def hold_while(path: Path) -> Callable[[], bool]:
    """For an agent in another process: it is held as long as this file exists."""
    return path.exists


def trace_of(spec: CandidateSpec, request: BatchRequest, *, is_anchor: bool, runs_per_block: int = 3) -> CandidateTrace:
    """Every field is set, and set to something else than its default."""
    latency_ns = 1_000_000 + int(spec.model_sha256[:4], 16)
    return CandidateTrace(
        spec=spec,
        is_anchor=is_anchor,
        job_id=f"{request.request_key}/{spec.candidate_id}",
        status=Status.OK,
        message="measured by a fake",
        tags=frozenset({"QUICK", "NOT_CONVERGED"}),
        preset=request.preset,
        order_seed=request.order_seed,
        runtime=RuntimeUsed(
            name="onnxruntime",
            version="1.23",
            provider=spec.runtime.provider,
            threads=1,
            options={"a": "0", "b": "1"},
        ),
        load_ns=5_000_000,
        first_run_ns=3 * latency_ns,
        output_error=1e-7,
        blocks=(
            LatencyBlock(round=1, position=0, start_ns=10**12, run_ns=(latency_ns,) * runs_per_block),
            LatencyBlock(round=2, position=1, start_ns=2 * 10**12, run_ns=(latency_ns + 1,) * runs_per_block),
        ),
        meter_status=MeterStatus.OK,
        meter=METER,
        windows=(
            PowerWindow(
                busy=False,
                round=1,
                start_ns=3 * 10**12,
                end_ns=3 * 10**12 + 20_000_000,
                inferences=0,
                # The first conversion may end before the window starts.
                timestamp_ns=(3 * 10**12 - 1_000, 3 * 10**12 + 4_790_000, 3 * 10**12 + 9_570_000),
                power_uw=(2_000_000, -5, 2_100_000),
                bus_uv=(5_100_000, 5_096_000, 5_100_000),
                i2c_errors=1,
                dropped=2,
                clipped=3,
            ),
            PowerWindow(
                busy=True,
                round=1,
                start_ns=4 * 10**12,
                end_ns=4 * 10**12 + 10_000_000,
                inferences=7,
                timestamp_ns=(4 * 10**12 + 5,),
                power_uw=(4_000_000,),
                bus_uv=(),
            ),
        ),
        before=Conditions(
            temperature_c=41.5,
            frequency_hz=1.5e9,
            governor="performance",
            throttle_bits=0,
            contention=0.0,
            free_memory_bytes=3 << 30,
            power_mode="MAXN",
            fan_level=2,
            time_in_state=((600_000_000, 70), (1_500_000_000, 12_340)),
            clocks_fixed=True,
            gpu_frequency_hz=6.12e8,
            memory_frequency_hz=2.133e9,
        ),
        after=Conditions(temperature_c=0.0, governor="performance", throttle_bits=1 << 18, contention=0.01),
        peak_rss_bytes=61 << 20,
        operators=(OperatorTime(name="conv1", op_type="Conv", total_ns=12_000, runs=10),),
        anchor_ratio=1.01,
        voided=2,
        build_ns=3_000_000,
        clock_mode="15W",
    )


METER = MeterDescription(
    kind="ina219",
    quality=MeterQuality.SIMULATED,
    address=0x40,
    shunt_ohm=0.1,
    config=0x19DF,
    calibration=4096,
    rail="5V",
    fault="none, but the field is set",
)
