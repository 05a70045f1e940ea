"""Which energy a search minimises, and what happens where it cannot be measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.domain import Constraints, EnergyObjective, Meter, MeterQuality, StudyFronts
from edgepareto.host.errors import StudyError, WrongUse
from edgepareto.host.study import run_study
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench

SILENT = Meter(kind="ina219", quality=MeterQuality.MEASURED, fault="INA219 at 0x40: Remote I/O error, check wiring")


def searched(bench: Bench, device: FakeDevice, **search: object) -> StudyFronts:
    return run_study(
        bench.but(measurements=8, **search), resume=False, listener=bench.events.append, connect=connecting(device)
    )


@pytest.mark.parametrize("energy", ["total", "dynamic"])
def test_energy_that_is_asked_for_stops_the_search_with_the_line_of_the_silent_meter(bench: Bench, energy: str) -> None:
    device = FakeDevice(name="pi1", meter=SILENT)
    with pytest.raises(WrongUse, match=rf"pi1: --energy {energy} cannot be kept.*INA219 at 0x40: Remote I/O error"):
        searched(bench, device, energy=energy)
    with pytest.raises(WrongUse, match=rf"--energy {energy} and --max-energy-mj cannot be kept"):
        searched(bench, device, energy=energy, constraints=Constraints(max_energy_j=1.0))
    assert device.asked == []
    assert not searched(bench, device).devices[0].has_energy  # not asked for: goes on without, and says so
    assert any("NO POWER METER" in text and "Remote I/O error" in text for text in bench.warnings())


def test_dynamic_energy_is_the_objective_the_limit_and_what_is_reported(bench: Bench) -> None:
    """The fake board draws 3 W, 1 W of it idle: two thirds of every energy are dynamic."""
    total = searched(bench, FakeDevice(name="pi1")).devices[0]
    assert total.energy_objective is EnergyObjective.TOTAL
    most_j = max(point.measurement.energy_j.value for point in total.front if point.measurement.energy_j)
    limit_j = 0.8 * most_j  # who draws the most breaks it in total and keeps it above idle
    dynamic = run_study(
        replace(
            bench.but(measurements=8, energy="dynamic", constraints=Constraints(max_energy_j=limit_j)),
            study=bench.config.study.with_name("dynamic"),
        ),
        resume=False,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1")),
    ).devices[0]
    assert dynamic.energy_objective is EnergyObjective.DYNAMIC
    for point in dynamic.front:
        energy, above_idle = point.measurement.energy_j, dynamic.energy(point)
        assert energy is not None
        assert above_idle is not None
        assert above_idle.value == pytest.approx(energy.value * 2 / 3)
        assert above_idle.value <= limit_j
    assert any(p.measurement.energy_j and p.measurement.energy_j.value > limit_j for p in dynamic.front)


def test_a_study_keeps_its_objective(bench: Bench) -> None:
    searched(bench, FakeDevice(name="pi1"), energy="total")
    with pytest.raises(StudyError, match="energy: total, dynamic"):
        run_study(
            bench.but(measurements=9, energy="dynamic"),
            resume=True,
            listener=bench.events.append,
            connect=connecting(FakeDevice(name="pi1")),
        )
