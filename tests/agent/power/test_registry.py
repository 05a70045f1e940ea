from __future__ import annotations

import subprocess
import sys

import pytest
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.errors import ConfigError, MeterError, MeterStatus
from edgepareto.agent.power import MeterSetting, open_meter


def test_an_unknown_meter_is_named_with_the_known_ones():
    with pytest.raises(
        ConfigError, match="'ina3221': known are ina219, hwmon, jetson, pi5_pmic, rapl; did you mean 'ina219'"
    ):
        open_meter(MeterSetting(kind="ina3221"), clock=SystemClock())


def test_a_bus_that_is_not_there_is_an_absent_meter():
    with pytest.raises(MeterError, match="/dev/i2c-250 does not exist") as caught:
        open_meter(MeterSetting(kind="ina219", bus=250), clock=SystemClock())
    assert caught.value.status is MeterStatus.ABSENT


def test_meters_sampler_and_simulated_boards_load_no_heavy_library():
    """They live in the server and in a process of their own beside the measured one."""
    code = (
        "import sys, edgepareto.agent.power.sampler, edgepareto.agent.simulation.chip;"
        "print(sorted({'numpy', 'onnxruntime', 'grpc', 'smbus2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
