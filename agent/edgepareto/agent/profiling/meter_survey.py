"""Does a meter work: its self-test, and two seconds of reading, each by the sampler that a batch would use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.discovery import MeterCandidate
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, MeterSetting
from edgepareto.agent.power.registry import describe_fault
from edgepareto.agent.profiling.sampler_client import PowerSamples, SamplerClient, sampler_command
from edgepareto.agent.profiling.worker_client import DEADLINE
from edgepareto.agent.worker.spawner import spawn

__all__ = ["MeterReading", "best_of", "check_meter", "none_works", "survey", "survey_text", "tested"]

READ_S = 2.0
# Where `host deploy` puts them.
_METERS = "/opt/edgepareto/current/bin/edgepareto-agent meters --config /etc/edgepareto/agent.toml"
# A counter adds up every conversion; RAPL, which sees the processor alone, comes last whatever its quality.
_PREFERENCE = (MeterQuality.COUNTER, MeterQuality.MEASURED, MeterQuality.ESTIMATE, MeterQuality.SIMULATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """power_w and samples_per_s None: not read, or it has a fault, which the description tells. is_absent: that it is
    not there at all.
    """

    setting: MeterSetting
    description: MeterDescription
    power_w: float | None = None
    samples_per_s: float | None = None
    is_absent: bool = False


def check_meter(setting: MeterSetting, *, sys_root: Path, simulation: Path | None) -> MeterDescription:
    """What a sampler says of the meter after its self-test. One that cannot be used carries its fault."""
    sampler = _start(setting, sys_root, simulation)
    try:
        sampler.wait_until_ready()
    except MeterError as error:
        return _with_fault(setting, sampler, error, simulated=simulation is not None)
    finally:
        sampler.kill()
    assert sampler.description is not None, "it is ready"
    return sampler.description


def survey(candidates: Iterable[MeterCandidate], *, clock: Clock, sys_root: Path) -> list[MeterReading]:
    """Each is read for two seconds, one after the other."""
    return [
        _read(candidate.setting, clock, sys_root)
        if candidate.fault is None
        else MeterReading(
            setting=candidate.setting,
            description=describe_fault(candidate.setting, simulated=False, fault=candidate.fault),
            is_absent=candidate.is_absent,
        )
        for candidate in candidates
    ]


def tested(candidates: Iterable[MeterCandidate], *, sys_root: Path) -> list[MeterReading]:
    """Each after its self-test alone: a machine that is busy at the start has its meter all the same."""
    return [
        MeterReading(
            setting=candidate.setting,
            description=check_meter(candidate.setting, sys_root=sys_root, simulation=None)
            if candidate.fault is None
            else describe_fault(candidate.setting, simulated=False, fault=candidate.fault),
        )
        for candidate in candidates
    ]


def best_of(readings: Sequence[MeterReading]) -> MeterReading | None:
    """The most trustworthy that works: of the whole board before the processor alone, measured before estimated.

    None: none works, or only a stub without a chip behind it.
    """
    working = [
        reading
        for reading in readings
        if reading.description.fault is None and reading.description.quality is not MeterQuality.SIMULATED
    ]
    return min(working, key=_rank, default=None)


def none_works(readings: Sequence[MeterReading]) -> str:
    """What "auto" says where `best_of` has none. NAME: the host's for this board, which it puts there."""
    stub = next((one.setting for one in readings if one.description.fault is None), None)
    by_name = ""
    if stub is not None and stub.kind == "ina219":
        where = f"/dev/i2c-{stub.bus} {stub.address:#04x}"
        by_name = f" (a stub answers as INA219 at {where}: host deploy NAME --meter ina219 --shunt-ohm 0.1)"
    return f'kind = "auto" found no meter that works{by_name}; what each says, on the board: {_METERS}'


def survey_text(readings: Sequence[MeterReading]) -> str:
    """A table, what to do about each fault, and the lines for agent.toml."""
    rows = [("kind", "where", "watts", "samples/s", "quality"), *map(_row, readings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    faults = [f"{_place(one)}: {one.description.fault}" for one in readings if one.description.fault is not None]
    best = best_of(readings)
    stub = next((one for one in readings if one.power_w is not None), None)
    if best is not None:
        advice = ["for agent.toml:", *_toml(best.setting)]
    elif stub is not None:
        advice = ['only a stub without a chip answers, which kind = "auto" never takes; for agent.toml all the same:']
        advice += _toml(stub.setting)
    else:
        advice = ["no meter works: the host measures latency alone until one does"]
    return "\n".join([*lines, "", *faults, *([""] if faults else []), *advice]) + "\n"


def _read(setting: MeterSetting, clock: Clock, sys_root: Path) -> MeterReading:
    sampler = _start(setting, sys_root, None)
    try:
        sampler.wait_until_ready()
        assert sampler.description is not None, "it is ready"
        sampler.begin(clock.now_ns())
        clock.sleep(READ_S)
        samples = sampler.end(clock.now_ns())
    except MeterError as error:
        return MeterReading(
            setting=setting,
            description=_with_fault(setting, sampler, error, simulated=False),
            is_absent=error.status is MeterStatus.ABSENT,
        )
    finally:
        sampler.kill()
    return MeterReading(
        setting=setting,
        description=sampler.description,
        power_w=_mean_w(samples),
        samples_per_s=len(samples.timestamp_ns) / READ_S,
    )


def _start(setting: MeterSetting, sys_root: Path, simulation: Path | None) -> SamplerClient:
    command = sampler_command(setting, simulation=simulation, cpu=None, sys_root=sys_root)
    return SamplerClient(command, spawn=spawn, deadline=DEADLINE, cancelled=lambda: False)


def _with_fault(
    setting: MeterSetting, sampler: SamplerClient, error: MeterError, *, simulated: bool
) -> MeterDescription:
    """The sampler's own words where it had any: it may also have died, or failed in the window."""
    if sampler.description is not None and sampler.description.fault is not None:
        return sampler.description
    return describe_fault(setting, simulated=simulated, fault=f"{error.status.value}: {error}")


def _mean_w(samples: PowerSamples) -> float:
    return sum(samples.power_uw) / len(samples.power_uw) / 1e6


def _rank(reading: MeterReading) -> tuple[bool, int]:
    return reading.setting.kind == "rapl", _PREFERENCE.index(reading.description.quality)


def _row(reading: MeterReading) -> tuple[str, str, str, str, str]:
    setting, description = reading.setting, reading.description
    if reading.power_w is None or reading.samples_per_s is None:
        return setting.kind, _where(reading), "-", "-", "absent" if reading.is_absent else "fault"
    return (
        setting.kind,
        _where(reading),
        f"{reading.power_w:.3f}",
        f"{reading.samples_per_s:.1f}",
        description.quality.value,
    )


def _place(reading: MeterReading) -> str:
    where = _where(reading)
    return reading.setting.kind if where == "-" else f"{reading.setting.kind} {where}"


def _where(reading: MeterReading) -> str:
    setting = reading.setting
    if setting.kind == "ina219":
        return f"/dev/i2c-{setting.bus} {setting.address:#04x}"
    return reading.description.rail or " ".join(filter(None, (setting.chip, setting.rail))) or "-"


def _toml(setting: MeterSetting) -> list[str]:
    lines = ["[meter]", f'kind = "{setting.kind}"']
    if setting.chip is not None:
        lines.append(f'chip = "{setting.chip}"')
    if setting.rail is not None:
        lines.append(f'rail = "{setting.rail}"')
    if setting.kind in ("ina219", "hwmon"):
        lines += [f"bus = {setting.bus}", f"address = {setting.address:#04x}"]
        lines.append(f"shunt_ohm = {setting.shunt_ohm:g}  # correct it to what is printed on the shunt: R100 is 0.1")
    return lines
