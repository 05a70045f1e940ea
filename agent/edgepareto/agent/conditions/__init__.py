"""The state of the board around a measurement: temperature, clocks, contention, memory."""

from edgepareto.agent.conditions.linux import (
    Conditions,
    CpuTime,
    contention,
    read_conditions,
    read_cpu_time,
    read_process_ticks,
)

__all__ = ["Conditions", "CpuTime", "contention", "read_conditions", "read_cpu_time", "read_process_ticks"]
