"""Power meters, and the process of its own that samples one."""

from __future__ import annotations

from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, MeterSetting, PowerMeter, PowerSample
from edgepareto.agent.power.registry import METER_KINDS, checked_kind, open_meter

__all__ = [
    "METER_KINDS",
    "MeterDescription",
    "MeterQuality",
    "MeterSetting",
    "PowerMeter",
    "PowerSample",
    "checked_kind",
    "open_meter",
]
