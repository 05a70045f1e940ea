"""The state of the board around a measurement: temperature, throttling, clocks, contention, memory."""

from edgepareto.agent.conditions.clock_modes import MODE_NAME, ClockModes, offered_modes
from edgepareto.agent.conditions.clock_setters import OwnSetter, ServiceSetter
from edgepareto.agent.conditions.clocks import ClockFixer
from edgepareto.agent.conditions.cpufreq import mean_frequency_hz
from edgepareto.agent.conditions.linux import (
    Conditions,
    CpuTime,
    contention,
    read_conditions,
    read_cpu_time,
    read_process_ticks,
)
from edgepareto.agent.conditions.raspberry_pi import read_throttle_bits
from edgepareto.agent.conditions.thermal import throttle_temperature_c

__all__ = [
    "MODE_NAME",
    "ClockFixer",
    "ClockModes",
    "Conditions",
    "CpuTime",
    "OwnSetter",
    "ServiceSetter",
    "contention",
    "mean_frequency_hz",
    "offered_modes",
    "read_conditions",
    "read_cpu_time",
    "read_process_ticks",
    "read_throttle_bits",
    "throttle_temperature_c",
]
