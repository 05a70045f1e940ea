from __future__ import annotations

from dataclasses import replace

import pytest
from edgepareto.agent.profiling import PRESETS
from edgepareto.agent.profiling.energy_window import idle_window
from edgepareto.agent.profiling.sampler_client import PowerSamples
from fakes.power_trees import TreeClock


class SlowMeter:
    """The sampler of a meter whose samples are means over averaging_s of a load that stops and starts again."""

    def __init__(self, averaging_s: float, on_from_s: float, on_until_s: float) -> None:
        self.averaging_s = averaging_s
        self._on = on_from_s, on_until_s

    def begin(self, at_ns: int) -> None:
        self._begun_ns = at_ns

    def end(self, at_ns: int) -> PowerSamples:
        step_ns = round(self.averaging_s * 1e9 / 4)
        stamps = tuple(range(self._begun_ns + step_ns, at_ns + 1, step_ns))
        return PowerSamples(
            timestamp_ns=stamps,
            power_uw=tuple(map(self._mean_uw, stamps)),
            bus_uv=(),
            i2c_errors=0,
            dropped=0,
            clipped=0,
        )

    def _mean_uw(self, end_ns: int) -> int:
        end_s = end_ns / 1e9
        start_s = end_s - self.averaging_s
        idle_s = max(0.0, min(end_s, self._on[1]) - max(start_s, self._on[0]))
        return round(2e6 * idle_s / self.averaging_s + 9e6 * (1 - idle_s / self.averaging_s))


@pytest.mark.parametrize("averaging_s", [0.005, 0.43])
def test_a_window_holds_nothing_from_outside_also_of_a_meter_that_averages_longer_than_the_usual_guard(
    averaging_s: float,
):
    """9 W until the window's first guard begins, 2 W after it."""
    preset = replace(PRESETS["quick"], guard_s=0.25, idle_s=1.0)
    clock = TreeClock()
    clock.sleep(3)
    window = idle_window(SlowMeter(averaging_s, 3.0, 99.0), clock, preset, round=0)
    assert set(window.power_uw) == {2_000_000}
    assert (window.end_ns - window.start_ns) / 1e9 == 1.0
