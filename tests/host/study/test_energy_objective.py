"""Which energy a search minimises, and what happens where it cannot be measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.domain import Batch, Constraints, EnergyObjective, Meter, MeterQuality, MeterStatus, StudyFronts
from edgepareto.host.errors import StudyError, WrongUse
from edgepareto.host.study import read_fronts, remeasure, run_study
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


def stuck() -> FakeDevice:
    return FakeDevice(name="pi1", trouble=lambda entry: MeterStatus.STUCK)


FALLEN_BACK = "METER_STUCK: as the test says: energy is no objective on this device, latency and accuracy are"


def test_a_meter_that_fails_in_generation_0_leaves_a_front_of_latency_and_accuracy(bench: Bench) -> None:
    device = stuck()
    front = searched(bench, device).devices[0]
    assert not front.has_energy
    assert front.complete
    assert front.hypervolume > 0
    assert front.front
    assert front.measured == 8
    assert bench.warnings().count(f"pi1: {FALLEN_BACK}") == 1
    assert FALLEN_BACK in front.notes
    assert not any("cannot be on the front" in text for text in bench.warnings())
    assert not any("cannot be on the front" in text or "within the limits" in text for text in front.notes)
    wanted = [batch.measure_energy for batch in device.asked]
    assert wanted == sorted(wanted, reverse=True), "once given up it is not measured again"
    assert wanted.count(True) == 2, "one try and one retry of the anchor"


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_search_whose_meter_failed_resumes_to_the_same_front(bench: Bench, batches: int) -> None:
    whole = replace(bench.but(measurements=12), study=bench.config.study.with_name("whole"))
    expected = run_study(whole, resume=False, listener=bench.events.append, connect=connecting(stuck())).devices

    def stop(batch: Batch) -> None:
        if len(device.asked) > batches:
            raise KeyboardInterrupt

    device = stuck()
    device.on_batch = stop
    with pytest.raises(KeyboardInterrupt):
        run_study(bench.but(measurements=12), resume=False, listener=bench.events.append, connect=connecting(device))
    resumed = run_study(
        bench.but(measurements=12), resume=True, listener=bench.events.append, connect=connecting(stuck())
    )
    assert resumed.devices == expected


def test_a_meter_that_was_mended_since_changes_nothing_in_a_study_that_gave_energy_up(bench: Bench) -> None:
    run_study(bench.but(measurements=12), resume=False, listener=bench.events.append, connect=connecting(stuck()))
    mended = FakeDevice(name="pi1")
    (front,) = run_study(
        bench.but(measurements=16), resume=True, listener=bench.events.append, connect=connecting(mended)
    ).devices
    assert mended.asked
    assert not any(batch.measure_energy for batch in mended.asked)
    assert not front.has_energy
    assert front.measured == 16


@pytest.mark.parametrize(
    ("flag", "search"),
    [("--energy total", {"energy": "total"}), ("--max-energy-mj", {"constraints": Constraints(max_energy_j=1.0)})],
)
def test_energy_that_is_asked_for_stops_the_search_when_the_meter_fails_on_the_way(
    bench: Bench, flag: str, search: dict[str, object]
) -> None:
    device = stuck()
    with pytest.raises(WrongUse, match=rf"pi1: {flag} cannot be kept.*METER_STUCK: as the test says"):
        searched(bench, device, **search)
    assert len(device.asked) == 2


def test_a_candidate_without_energy_is_told_with_the_meters_words_until_it_has_energy(bench: Bench) -> None:
    unlucky: list[str] = []
    device = FakeDevice(name="pi1")
    device.trouble = lambda entry: MeterStatus.STUCK if entry.candidate in unlucky else None
    device.on_batch = lambda batch: unlucky.append(batch.entries[0].candidate) if not unlucky else None
    (front,) = searched(bench, device).devices
    line = f"{unlucky[0]} has no energy (METER_STUCK: as the test says) and cannot be on the front"
    assert f"pi1: {line}" in bench.warnings()
    assert front.has_energy
    assert line in front.notes
    assert unlucky[0] in {point.candidate.id for point in front.others}
    remeasure(
        bench.config.study,
        device=None,
        candidates=(unlucky[0],),
        preset=None,
        known=(),
        folder=bench.config.folder,
        listener=bench.events.append,
        connect=connecting(FakeDevice(name="pi1")),
    )
    assert not any("has no energy" in text for text in read_fronts(bench.config.study).devices[0].notes)


def test_an_empty_front_blames_limits_only_where_limits_were_set(bench: Bench) -> None:
    (front,) = searched(bench, FakeDevice(name="pi1"), constraints=Constraints(max_latency_s=1e-9)).devices
    assert front.front == ()
    assert "no measured candidate is within the limits that were set" in front.notes

    def stop(batch: Batch) -> None:
        if len(device.asked) > 1:
            raise KeyboardInterrupt

    device = stuck()
    device.on_batch = stop
    stopped = replace(bench.but(measurements=8), study=bench.config.study.with_name("stopped"))
    with pytest.raises(KeyboardInterrupt):
        run_study(stopped, resume=False, listener=bench.events.append, connect=connecting(device))
    (front,) = read_fronts(stopped.study).devices
    assert front.front == ()
    assert not any("limits" in text for text in front.notes)
    assert "no measured candidate has both an accuracy and the energy that is an objective" in front.notes
