"""The agent's end of the power sampler: one process per batch that reads the meter between two instants."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, MeterSetting
from edgepareto.agent.profiling.worker_client import START_S, Deadline
from edgepareto.agent.worker.child import ChildGone, ChildSilent
from edgepareto.agent.worker.json_fields import JsonFields, MalformedMessage
from edgepareto.agent.worker.spawner import Spawn

__all__ = ["PowerSamples", "SamplerClient", "sampler_command"]

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSamples:
    """One entry per conversion; bus_uv is empty where the meter does not tell."""

    timestamp_ns: tuple[int, ...]
    power_uw: tuple[int, ...]
    bus_uv: tuple[int, ...]
    i2c_errors: int
    dropped: int
    clipped: int


def sampler_command(
    meter: MeterSetting, *, simulation: Path | None, cpu: int | None, sys_root: Path = Path("/")
) -> tuple[str, ...]:
    """sys_root: above sys/ and usr/ of a real board."""
    command = [sys.executable, "-m", "edgepareto.agent.power.sampler", "--meter", meter.kind]
    command += ["--bus", str(meter.bus), "--address", str(meter.address), "--shunt-ohm", str(meter.shunt_ohm)]
    for name, value in (("--rail", meter.rail), ("--chip", meter.chip)):
        if value is not None:
            command += [name, value]
    if simulation is None:
        command += ["--sys-root", str(sys_root.absolute())]
    else:
        command += ["--board", str(simulation.absolute())]
    if cpu is not None:
        command += ["--cpu", str(cpu)]
    return tuple(command)


class SamplerClient:
    """A sampler that is starting from now on. Raises MeterError with its verdict; Cancelled passes through.

    description: the meter with the settings that are in force, None until it is ready.
    """

    def __init__(
        self, command: Sequence[str], *, spawn: Spawn, deadline: Deadline, cancelled: Callable[[], bool]
    ) -> None:
        self._child = spawn(command)
        self._deadline = deadline
        self._cancelled = cancelled
        self._alive = True
        self.description: MeterDescription | None = None

    @property
    def pid(self) -> int | None:
        """None: not told yet; see Child."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._alive

    @property
    def tags(self) -> frozenset[str]:
        """What every number made with this meter must carry; empty until it is ready."""
        return frozenset() if self.description is None else frozenset(self.description.tags)

    @property
    def averaging_s(self) -> float:
        """What lies less than this before a window is in its first sample; 0 until it is ready."""
        return 0.0 if self.description is None else self.description.averaging_s

    def wait_until_ready(self) -> None:
        """Raises MeterError also where the meter's self-test failed; `description` is known then all the same."""
        answer = self._receive()
        self.description = self._talk(lambda: _description(answer.fields("meter")))
        if not self._talk(lambda: answer.boolean("ready")):
            raise self._talk(lambda: MeterError(answer.member("status", MeterStatus), answer.text("message")))

    def begin(self, at_ns: int) -> None:
        self._send({"start_at_ns": at_ns})

    def end(self, at_ns: int) -> PowerSamples:
        """at_ns: an instant that the measurement clock has already passed."""
        self._send({"stop_at_ns": at_ns})
        answer = self._window_answer()
        return self._talk(lambda: _samples(answer))

    def fix_range(self, at_ns: int) -> None:
        """End the window begun before, whose load is the highest there will be, and fix the meter's range by it.

        Every later window is measured in that range, which `description` tells; a meter with one range keeps it.
        at_ns: as for `end`. Raises MeterError(CLIPPED) where not even the widest range holds the load.
        """
        self._send({"stop_at_ns": at_ns, "fix_range": True})
        answer = self._window_answer()
        self.description = self._talk(lambda: _description(answer.fields("meter")))

    def kill(self) -> None:
        self._alive = False
        self._child.kill()

    def _window_answer(self) -> JsonFields:
        answer = self._receive()
        status = self._talk(lambda: answer.member("status", MeterStatus))
        if status is not MeterStatus.OK:
            raise MeterError(status, self._talk(lambda: answer.text("message")))
        return answer

    def _send(self, message: dict[str, int]) -> None:
        self._talk(lambda: self._child.send(json.dumps(message)))

    def _receive(self) -> JsonFields:
        timeout_s = self._deadline.of(START_S)
        return self._talk(lambda: JsonFields.parse(self._child.receive(timeout_s, self._cancelled)))

    def _talk(self, exchange: Callable[[], _Result]) -> _Result:
        """A sampler that died, hangs or talks nonsense is a meter that cannot be read, and is not asked again."""
        if not self._alive:
            raise MeterError(MeterStatus.IO, "the power sampler is gone")
        try:
            return exchange()
        except (ChildGone, ChildSilent, MalformedMessage) as error:
            self.kill()
            raise MeterError(MeterStatus.IO, f"the power sampler failed: {error}") from error


def _description(fields: JsonFields) -> MeterDescription:
    return MeterDescription(
        kind=fields.text("kind"),
        quality=fields.member("quality", MeterQuality),
        address=fields.optional_natural("address"),
        shunt_ohm=fields.optional_number("shunt_ohm"),
        config=fields.optional_natural("config"),
        calibration=fields.optional_natural("calibration"),
        rail=fields.optional_text("rail"),
        fault=fields.optional_text("fault"),
        tags=fields.optional_texts("tags"),
        averaging_s=fields.optional_number("averaging_s") or 0.0,
    )


def _samples(fields: JsonFields) -> PowerSamples:
    timestamp_ns, power_uw, bus_uv = (fields.integers(name) for name in ("timestamp_ns", "power_uw", "bus_uv"))
    if len(power_uw) != len(timestamp_ns) or len(bus_uv) not in (0, len(timestamp_ns)):
        raise MalformedMessage(f"{len(timestamp_ns)} instants, {len(power_uw)} powers, {len(bus_uv)} voltages")
    return PowerSamples(
        timestamp_ns=timestamp_ns,
        power_uw=power_uw,
        bus_uv=bus_uv,
        i2c_errors=fields.integer("i2c_errors"),
        dropped=fields.integer("dropped"),
        clipped=fields.integer("clipped"),
    )
