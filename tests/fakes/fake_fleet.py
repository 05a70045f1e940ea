"""Devices that behave, without processes or sockets: latency and energy follow the model's weights, noise its job.

Like a board: a request key is never measured twice, noise depends on candidate, purpose and attempt alone, the answer
comes in order. Faults are what a test says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import (
    Batch,
    BatchEntry,
    Conditions,
    Deployment,
    DeviceInfo,
    DeviceName,
    LatencyBlock,
    Meter,
    MeterQuality,
    MeterStatus,
    PowerWindow,
    ProfileTrace,
    Purpose,
    RuntimeUsed,
    RuntimeVersion,
    Status,
)
from edgepareto.host.domain.incident import Incident
from edgepareto.host.errors import DeviceLost
from edgepareto.host.export.parity import onnx_outputs
from edgepareto.host.pruning.inference import open_lite
from numpy.typing import NDArray

ORT = RuntimeVersion(name="onnxruntime", version="1", providers=("CPUExecutionProvider",))
LITERT = RuntimeVersion(name="litert", version="2.3.0", providers=("XNNPACK", "CPU"))
METER = Meter(kind="fake", quality=MeterQuality.SIMULATED)
NOISE = 0.01
ROUNDS = 3
Trouble = Callable[[BatchEntry], "Status | MeterStatus | None"]


@dataclass(kw_only=True)
class FakeDevice:
    """trouble: the status a job ends with, None for a good one. batches_until_lost: then every `profile` fails.

    runtimes, clock_modes, protocol: what its agent has. way: a run's time over that of ONNX Runtime on one thread in 32
    bits. boots: its boot id and agent's version, by how many batches it was asked for. is_looked_for: it does not
    answer. incidents: told in the batch of this number, the first is 0. cost_s: seconds of one run of a model file,
    without noise; None: follows the model's weights. arithmetic: what its processor makes of a model's right outputs.
    """

    name: str
    meter: Meter | None = METER
    shares_host_cores: bool = False
    simulated: bool = True
    batches_until_lost: int | None = None
    trouble: Trouble = lambda entry: None
    speed: float = 1e6
    cost_s: Callable[[Path], float] | None = None
    noise: float = NOISE
    runtimes: tuple[RuntimeVersion, ...] = (ORT,)
    clock_modes: tuple[str, ...] = ()
    protocol: int = 2
    way: Callable[[Deployment], float] = lambda way: 1.0
    asked: list[Batch] = field(default_factory=list)
    on_batch: Callable[[Batch], None] = lambda batch: None
    boots: Callable[[int], tuple[str, str]] = lambda asked: ("boot", "0")
    arithmetic: Callable[[Path, NDArray[np.generic]], NDArray[np.generic]] = lambda model, outputs: outputs
    is_looked_for: bool = False
    incidents: dict[int, tuple[Incident, ...]] = field(default_factory=dict)

    @property
    def info(self) -> DeviceInfo:
        boot_id, agent_version = self.boots(len(self.asked))
        return DeviceInfo(
            name=DeviceName(self.name),
            agent_version=agent_version,
            board_id=f"board-{self.name}",
            boot_id=boot_id,
            board="fake board",
            simulated=self.simulated and not self.shares_host_cores,
            architecture="x86_64",
            os="none",
            cpu_count=4,
            memory_bytes=1 << 30,
            runtimes=self.runtimes,
            clock_modes=self.clock_modes,
            protocol=self.protocol,
            meter=self.meter,
            default_threads=1,
            shares_host_cores=self.shares_host_cores,
        )

    def profile(
        self,
        batch: Batch,
        on_progress: Callable[[str], None],
        on_incident: Callable[[Incident], None] = lambda incident: None,
    ) -> tuple[ProfileTrace, ...]:
        for incident in self.incidents.pop(len(self.asked), ()):
            on_incident(incident)
        if self.batches_until_lost is not None and len(self.asked) >= self.batches_until_lost:
            raise DeviceLost(f"{self.name}: no answer for 15 s")
        assert batch.request_key not in {known.request_key for known in self.asked}, "measured twice"
        self.asked.append(batch)
        self.on_batch(batch)
        on_progress("latency")
        return tuple(self._trace(batch, entry) for entry in (batch.anchor, *batch.entries))

    def outputs(
        self,
        model: Path,
        inputs: Path,
        deployment: Deployment,
        on_progress: Callable[[str], None] = lambda text: None,
    ) -> Mapping[str, NDArray[np.generic]]:
        """Run here, by the file's own runtime."""
        with np.load(inputs) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        rows = len(next(iter(arrays.values())))
        feeds = [{name: array[row] for name, array in arrays.items()} for row in range(rows)]
        seen = lite_file_outputs(model, feeds) if model.suffix == ".tflite" else onnx_outputs(model.read_bytes(), feeds)
        on_progress(f"outputs of {rows} runs")
        return {name: self.arithmetic(model, np.stack([run[name] for run in seen])) for name in seen[0]}

    def _trace(self, batch: Batch, entry: BatchEntry) -> ProfileTrace:
        assert hashlib.sha256(entry.model.read_bytes()).hexdigest() == entry.model_sha256
        assert entry.expected_outputs.is_file()
        way = batch.deployment if entry.deployment is None else entry.deployment
        assert way.clock_mode == batch.deployment.clock_mode, "one clock mode per batch"
        assert (entry.model.suffix == ".tflite") == (way.runtime == "litert")
        with np.load(batch.inputs if entry.inputs is None else entry.inputs) as inputs:
            assert len(inputs.files)
        trouble = self.trouble(entry)
        status = trouble if isinstance(trouble, Status) else Status.OK
        meter = trouble if isinstance(trouble, MeterStatus) else MeterStatus.OK if self.meter else MeterStatus.ABSENT
        has_energy = status is Status.OK and meter is MeterStatus.OK and batch.measure_energy
        random = np.random.default_rng(list(f"{self.name}/{entry.candidate}/{entry.purpose}/{entry.attempt}".encode()))
        run_s = seconds(entry.model) / self.speed if self.cost_s is None else self.cost_s(entry.model)
        run_s *= self.way(way)
        run_ns = int(run_s * 1e9 * (1 + self.noise * random.standard_normal()))
        blocks = [
            LatencyBlock(round=i, position=0, start_ns=i * 10**9, run_ns=(run_ns + i, run_ns + 1, run_ns))
            for i in range(ROUNDS)
        ]
        window = PowerWindow(
            busy=True,
            round=0,
            start_ns=0,
            end_ns=100 * run_ns,
            inferences=100,
            timestamp_ns=(run_ns, 50 * run_ns),
            power_uw=(3_000_000, 3_000_000),
            bus_uv=(5_000_000, 5_000_000),
        )
        idle = replace(window, busy=False, inferences=0, power_uw=(1_000_000, 1_000_000))
        return ProfileTrace(
            candidate=entry.candidate,
            device=DeviceName(self.name),
            job_id=f"{entry.candidate}/{entry.purpose.value}/{entry.attempt}",
            purpose=Purpose(entry.purpose),
            attempt=entry.attempt,
            is_anchor=entry is batch.anchor,
            model_sha256=entry.model_sha256,
            status=status,
            message="" if trouble is None else "as the test says",
            tags=frozenset(),
            preset=batch.preset,
            board_id=f"board-{self.name}",
            boot_id=self.info.boot_id,
            agent_version=self.info.agent_version,
            simulated=self.simulated and not self.shares_host_cores,
            order_seed=batch.order_seed,
            runtime=RuntimeUsed(
                name="onnxruntime", version="1", provider="CPUExecutionProvider", threads=1, options=(("a", "b"),)
            ),
            load_ns=1,
            first_run_ns=1,
            output_error=0.0,
            blocks=tuple(blocks) if status is Status.OK else (),
            meter_status=meter,
            meter=self.meter,
            windows=(idle, window) if has_energy else (),
            before=Conditions(),
            after=Conditions(),
            peak_rss_bytes=None,
            clock_mode=way.clock_mode,
        )


def lite_file_outputs(model: Path, feeds: Sequence[Mapping[str, NDArray[np.generic]]]):
    """In the file's own order of axes, as an agent gives them."""
    signature = open_lite(model.read_bytes()).get_signature_runner()
    return [signature(**feed) for feed in feeds]


def seconds(model: Path) -> float:
    """In weights of the .onnx file that it was made from: what a model costs grows with what it holds."""
    pruned = model.with_name(f"{model.name.partition('.')[0]}.onnx")
    weights = onnx.load(str(pruned)).graph.initializer
    return 100 + sum(float(np.prod(weight.dims)) for weight in weights)


def connecting(*devices: FakeDevice):
    """A `connect` that finds these devices."""
    by_name = {device.name: device for device in devices}

    @contextmanager
    def connect(
        configs: Sequence[DeviceConfig], *, owner: str, state: Path, **waiting: object
    ) -> Iterator[Mapping[DeviceName, FakeDevice]]:
        assert "@" in owner
        yield {DeviceName(config.name): by_name[config.name] for config in configs}

    return connect
