"""What `edgepareto-agent meters` says of readings."""

from __future__ import annotations

from dataclasses import replace

from edgepareto.agent.power import MeterDescription, MeterQuality, MeterSetting
from edgepareto.agent.profiling.meter_survey import MeterReading, best_of, none_works, survey_text


def reading(kind: str, quality: MeterQuality, *, fault: str | None = None, power_w: float = 3.0) -> MeterReading:
    return MeterReading(
        setting=MeterSetting(kind=kind),
        description=MeterDescription(kind=kind, quality=quality, fault=fault),
        power_w=None if fault else power_w,
        samples_per_s=None if fault else 208.5,
    )


INA219 = reading("ina219", MeterQuality.MEASURED)
INA228 = reading("hwmon", MeterQuality.COUNTER)
PMIC = reading("pi5_pmic", MeterQuality.ESTIMATE)
RAPL = reading("rapl", MeterQuality.COUNTER)
BROKEN = reading("ina219", MeterQuality.MEASURED, fault="METER_STUCK: no conversion became ready")
STUB = reading("ina219", MeterQuality.SIMULATED)


def test_the_whole_board_measured_is_better_than_estimated_and_that_than_the_processor_alone():
    assert best_of([RAPL, PMIC, INA219, INA228, BROKEN]) is INA228
    assert best_of([RAPL, PMIC, INA219]) is INA219
    assert best_of([RAPL, PMIC]) is PMIC
    assert best_of([BROKEN, RAPL]) is RAPL


def test_what_does_not_work_and_what_has_no_chip_is_never_chosen():
    assert best_of([BROKEN, STUB]) is None
    assert survey_text([BROKEN]).endswith("no meter works: the host measures latency alone until one does\n")
    assert 'only a stub without a chip answers, which kind = "auto" never takes' in survey_text([BROKEN, STUB])


def test_what_is_not_there_is_no_fault():
    nothing = reading("jetson", MeterQuality.MEASURED, fault="no rail of the whole board")
    (row,) = [line.split() for line in survey_text([replace(nothing, is_absent=True)]).splitlines() if "- " in line]
    assert row == ["jetson", "-", "-", "-", "absent"]


def test_the_table_has_a_row_each_the_faults_in_full_and_the_lines_to_paste():
    assert survey_text([INA219, BROKEN]).splitlines() == [
        "kind    where            watts  samples/s  quality",
        "ina219  /dev/i2c-1 0x40  3.000  208.5      measured",
        "ina219  /dev/i2c-1 0x40  -      -          fault",
        "",
        "ina219 /dev/i2c-1 0x40: METER_STUCK: no conversion became ready",
        "",
        "for agent.toml:",
        "[meter]",
        'kind = "ina219"',
        "bus = 1",
        "address = 0x40",
        "shunt_ohm = 0.1  # correct it to what is printed on the shunt: R100 is 0.1",
    ]


def test_auto_that_finds_a_stub_alone_names_the_command_that_takes_it():
    told = none_works([BROKEN, STUB])
    assert "a stub answers as INA219 at /dev/i2c-1 0x40: host deploy NAME --meter ina219 --shunt-ohm 0.1" in told
    assert told.endswith("/opt/edgepareto/current/bin/edgepareto-agent meters --config /etc/edgepareto/agent.toml")
    assert "host deploy" not in none_works([BROKEN])
