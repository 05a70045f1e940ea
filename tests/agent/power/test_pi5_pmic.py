from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power import MeterQuality
from edgepareto.agent.power.pi5_pmic import Pi5Pmic
from fakes.power_trees import TreeClock, vcgencmd

SAID = """\
     3V7_WL_SW_A current(0)=0.08490000A
       3V3_SYS_A current(1)=0.10000000A
      VDD_CORE_A current(7)=1.50000000A
     3V7_WL_SW_V volt(8)=3.70000000V
       3V3_SYS_V volt(9)=3.30000000V
      VDD_CORE_V volt(15)=0.80000000V
       3V3_DAC_V volt(20)=3.31000000V
        EXT5V_V volt(24)=5.15766000V
         BATT_V volt(25)=0.00000000V"""


def test_volts_times_amperes_of_the_rails_that_tell_both_are_added_up(tmp_path: Path):
    vcgencmd(tmp_path, SAID)
    meter = Pi5Pmic(tmp_path, TreeClock())
    sample = meter.read()
    assert sample.power_w == pytest.approx(0.0849 * 3.7 + 0.1 * 3.3 + 1.5 * 0.8)
    assert sample.bus_v == 5.15766
    assert meter.description.quality is MeterQuality.ESTIMATE


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ('error=1 error_msg="Command not registered"', 0, "only a Raspberry Pi 5 has this meter"),
        ("EXT5V_V volt(24)=5.1V", 0, "tells no currents"),
        ("Can't open device file: /dev/vcio", 255, "group video"),
    ],
)
def test_a_board_that_has_none_or_hides_it_says_what_to_do(said: str, code: int, message: str, tmp_path: Path):
    vcgencmd(tmp_path, said, code=code)
    with pytest.raises(MeterError, match=message) as caught:
        Pi5Pmic(tmp_path, TreeClock())
    assert caught.value.status is MeterStatus.ABSENT


def test_without_vcgencmd_there_is_no_such_meter(tmp_path: Path):
    with pytest.raises(MeterError, match="usr/bin/vcgencmd does not exist: this is no Raspberry Pi 5"):
        Pi5Pmic(tmp_path, TreeClock())
