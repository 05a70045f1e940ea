"""Models measured on devices, outside of any search."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.domain.device import DeviceInfo, MeterQuality
from edgepareto.host.domain.job import Job
from edgepareto.host.domain.trace import MeterStatus, OperatorTime, RuntimeUsed, Status
from edgepareto.host.views.figures import UNKNOWN, energy_text, latency_text
from edgepareto.host.views.fitting import Fitting
from edgepareto.host.views.job_record import job_record
from edgepareto.host.views.operators_view import TimedModel, operator_record, operator_tables
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["ProfileResult", "profile_json", "profile_table"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileResult:
    """One model on one device. inputs: what it was fed, `calibration` or seeded `uniform` numbers.

    operators: None where their times were not asked for.
    """

    model: Path
    device: DeviceInfo
    job: Job
    runtime: RuntimeUsed | None
    inputs: str
    operators: tuple[OperatorTime, ...] | None = None

    @property
    def timed(self) -> TimedModel:
        latency = self.job.latency
        latency_s = None if latency is None else latency.median_s.value
        return TimedModel(name=self.model.name, latency_s=latency_s, operators=self.operators or ())


def profile_json(results: Sequence[ProfileResult]) -> str:
    return json.dumps({"schema": SCHEMA, "results": [_record(result) for result in results]}, indent=2)


def profile_table(results: Sequence[ProfileResult]) -> Iterator[RenderableType]:
    yield Fitting(
        [
            _table(results, board=True),
            _table(results),
            _table(results, stacked=True),
            _table(results, stacked=True, power=False),
            _table(results, stacked=True, power=False, status=False),
        ]
    )
    for result in results:
        if result.job.status is not Status.OK:
            yield Text(f"  ! {_where(result)}: {result.job.message}", style="bold yellow")
    for result in results:
        if said := _disturbed(result.job):
            yield Text(f"  ! {_where(result)}: {said}", style="bold yellow")
    for line in dict.fromkeys(_energy_lost(result) for result in results):
        if line is not None:
            yield Text(line, style="bold yellow")
    for device, board in dict.fromkeys((r.device.name, r.device.board) for r in results if r.job.simulated):
        model = f"a model of {board} gave the numbers of {device}"
        yield Text(f"  ! SIMULATED: no board was measured, {model}", style="bold yellow")
    if any(result.job.preset == "quick" for result in results):
        yield Text("  ! QUICK preset: few, short measurements", style="bold yellow")
    if any(result.inputs == "uniform" for result in results):
        yield Text("  inputs: seeded uniform numbers; give real ones with --calibration FILE", style="dim")
    for device in dict.fromkeys(result.device.name for result in results):
        asked = [result.timed for result in results if result.device.name == device and result.operators is not None]
        yield from operator_tables(device, asked)


def _table(
    results: Sequence[ProfileResult],
    *,
    board: bool = False,
    power: bool = True,
    status: bool = True,
    stacked: bool = False,
) -> Table:
    """stacked: the device stands below the model. Without status a failure stands in place of the latency."""
    names = ("model",) if stacked else ("model", "device")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1) if status else 0)
    for heading in (*names, *(["board"] if board else [])):
        table.add_column(heading, overflow="fold")
    if status:
        table.add_column("status", no_wrap=True)
    for heading in ("latency", "energy", *(["power"] if power else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        job, energy = result.job, result.job.energy
        model, device = result.model.name, str(result.device.name)
        cells = [f"{model}\non {device}"] if stacked else [model, device]
        if board:
            cells.append(f"{result.device.board}{' (SIMULATED)' if job.simulated else ''}")
        if status:
            cells.append(job.status.value)
        failed = UNKNOWN if status else job.status.value
        cells.append(failed if job.latency is None else latency_text(job.latency.median_s))
        joules = energy_text(None if energy is None else energy.total_j)
        if energy is not None and job.meter is not None and job.meter.quality is MeterQuality.ESTIMATE:
            joules += " est." if stacked else " (estimate)"
        cells.append(joules)
        if power:
            cells.append(UNKNOWN if energy is None else f"{energy.mean_power_w:.2f} W")
        table.add_row(*map(Text, cells))  # as they are: a file's name may hold brackets, which rich reads as a style
    return table


def _where(result: ProfileResult) -> str:
    return f"{result.model.name} on {result.device.name}"


def _disturbed(job: Job) -> str:
    """Empty where nothing was."""
    again = f"{job.voided} voided and measured again" if job.voided else ""
    return "; ".join(part for part in (", ".join(sorted(job.tags)), again) if part)


def _energy_lost(result: ProfileResult) -> str | None:
    """None where there is energy, or no meter from which it could have come."""
    job, meter = result.job, result.device.meter
    if meter is None or not job.usable or job.energy is not None or job.meter_status is MeterStatus.OK:
        return None
    return f"  ! {result.device.name}: no energy, {job.meter_status.value}: {job.message or meter.fault}"


def _record(result: ProfileResult) -> dict[str, object]:
    job, energy, runtime = result.job, result.job.energy, result.runtime
    record: dict[str, object | None] = {
        "model": str(result.model),
        "device": result.device.name,
        "board": result.device.board,
        "simulated": job.simulated,
        "preset": job.preset,
        "status": job.status.value,
        "usable": job.usable,
        "message": job.message or None,
        "inputs": result.inputs,
        "tags": sorted(job.tags) or None,
    }
    if runtime is not None:
        record |= {
            "runtime": runtime.name,
            "runtime_version": runtime.version,
            "provider": runtime.provider,
            "threads": runtime.threads,
            "runtime_options": dict(runtime.options) or None,
        }
    record |= job_record(job)
    if energy is None and (job.meter_status is not MeterStatus.ABSENT or result.device.meter is not None):
        record["meter_status"] = job.meter_status.value
    return {name: value for name, value in record.items() if value is not None} | operator_record(result.timed)
