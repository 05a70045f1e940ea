"""Old and new numbers side by side show the energy that was minimised, and call an estimate one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgepareto.host.domain import EnergyObjective, Interval, Measurement, Meter, MeterQuality
from edgepareto.host.domain.remeasured import Remeasured, RemeasuredDevice
from edgepareto.host.views import remeasured_tables
from edgepareto.host.views.figures import latency_text
from fakes.fronts import study_fronts
from rich.console import Console


def energy(value_j: float) -> Interval:
    return Interval(value=value_j, low=0.99 * value_j, high=1.01 * value_j)


def device(objective: EnergyObjective, quality: MeterQuality) -> RemeasuredDevice:
    """All of the energy came out as before, what is above idle did not."""
    front = study_fronts().devices[0]
    info = replace(front.device, meter=Meter(kind="pi5_pmic", quality=quality))
    front = replace(front, device=info, energy_objective=objective)
    point = front.front[0]

    def measured(dynamic_j: float) -> Measurement:
        return replace(point.measurement, energy_j=energy(0.0333), dynamic_energy_j=energy(dynamic_j))

    one = Remeasured(
        candidate=point.candidate.id,
        before=measured(0.0111),
        again=measured(0.0222),
        after=measured(0.0166),
        message="",
        energy_objective=objective,
    )
    return RemeasuredDevice(before=front, after=front, candidates=(one,), lost=None)


def text_of(found: RemeasuredDevice, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    with console.file:
        for part in remeasured_tables([found]):
            console.print(part)
    return console.export_text()


@pytest.mark.parametrize(
    ("objective", "shown", "held"),
    [
        (EnergyObjective.TOTAL, ("33.3", "33.3", "33.3"), "yes"),
        (EnergyObjective.DYNAMIC, ("11.1", "22.2", "16.6"), "NO"),
    ],
)
def test_the_energy_compared_is_the_one_that_was_minimised(
    objective: EnergyObjective, shown: tuple[str, ...], held: str
) -> None:
    text = text_of(device(objective, MeterQuality.MEASURED))
    row = next(line for line in text.splitlines() if "mJ" in line)
    assert all(number in row for number in shown)
    assert row.split()[-1] == held
    assert ("above idle" in text) is (objective is EnergyObjective.DYNAMIC)
    assert "mJ est." not in text
    assert "ESTIMATE" not in text


def test_an_estimated_energy_is_called_one() -> None:
    text = text_of(device(EnergyObjective.TOTAL, MeterQuality.ESTIMATE))
    assert "mJ est." in text
    assert "ESTIMATE: pi5_pmic does not see all that the board draws" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_number_is_cut_at_any_width(width: int) -> None:
    found = device(EnergyObjective.TOTAL, MeterQuality.ESTIMATE)
    text = text_of(found, width)
    one = found.candidates[0]
    assert "…" not in text
    assert one.candidate in text
    shown = 2 if width < 80 else 3
    assert text.count(latency_text(one.before.latency_s).removesuffix(" ms")) == shown
    assert text.count("33.3 ± 0.3") == shown
    assert max(map(len, text.splitlines())) <= width


def test_one_member_is_no_members() -> None:
    found = device(EnergyObjective.TOTAL, MeterQuality.MEASURED)
    alone = replace(found.before, front=found.before.front[:1])
    assert "the front keeps its 1 member\n" in text_of(replace(found, before=alone, after=alone))
