from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.host.domain import Deployment, EnergyObjective, FrontPoint, Interval, Meter, MeterQuality, Repeatability
from edgepareto.host.views import write_front_plot, write_report
from edgepareto.host.views.figures import latency_text
from edgepareto.host.views.front_plot import envelope, formats_of
from edgepareto.host.views.report import hover_text
from edgepareto.host.views.table import MEDIUM, WIDE, front_tables
from fakes.fronts import study_fronts
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console, RenderableType

COST = st.floats(0.1, 10)


def printed(parts: list[RenderableType], width: int) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    with console.file:
        for part in parts:
            console.print(part)
    return console.export_text()


@pytest.mark.parametrize("width", [80, MEDIUM, WIDE, 200])
def test_a_table_shows_every_front_point_uncut_at_any_width(width: int):
    study = study_fronts()
    text = printed(list(front_tables(study, width=width)), width)
    assert "…" not in text
    for device in study.devices:
        for point in device.front:
            assert f"{point.accuracy * 100:.2f}" in text
            assert point.candidate.id in text
    assert text.count("◆") == 2 * 2  # once in each table, once in the line that explains it


def test_a_table_says_loudly_what_a_reader_must_not_miss():
    text = printed(list(front_tables(study_fronts(complete=False), width=200)), 200)
    assert "SIMULATED: no board was measured" in text
    assert "QUICK preset" in text
    assert "INCOMPLETE: the board stopped answering" in text
    assert "no meter: energy is unknown" in text


@pytest.mark.parametrize("anchors", [0, 2, 3])
def test_too_few_jobs_of_the_dense_model_make_the_intervals_provisional(anchors: int):
    study = study_fronts()
    limits = Repeatability(latency=0.0, energy=0.0, repeats=9, anchor_jobs=anchors)
    study = replace(study, devices=tuple(replace(device, limits=limits) for device in study.devices))
    text = printed(list(front_tables(study, width=200)), 200)
    warning = f"PROVISIONAL: the dense model was measured {anchors} times, wanted 3"
    assert text.count(warning) == (2 if anchors < 3 else 0)
    assert ("differ by up to 0.0 %" in text) == (anchors >= 3)
    assert ("reproducible (3 jobs of the dense model)" in text) == (anchors >= 3)


def test_differences_to_the_dense_model_and_the_winner_s_curse_are_printed():
    study = study_fronts()
    text = printed(list(front_tables(study, width=80)), 80)
    pi1 = study.devices[0]
    fastest = pi1.front[0]
    difference = pi1.accuracy_difference(fastest)
    assert difference is not None
    row = next(line for line in text.splitlines() if fastest.candidate.id in line)
    assert f"{100 * difference.value:+.1f} ±" in row
    assert "measured again, 7 of the search's front: 1.2 % more time, 0.4 % less energy" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_dynamic_energy_is_shown_where_it_is_the_objective_and_an_estimate_is_called_one():
    device = study_fronts().devices[0]
    meter = Meter(kind="pi5_pmic", quality=MeterQuality.ESTIMATE)
    changed = replace(device, device=replace(device.device, meter=meter), energy_objective=EnergyObjective.DYNAMIC)
    study = replace(study_fronts(), devices=(changed,))
    for width in (80, 120, 200):
        text = printed(list(front_tables(study, width=width)), width)
        assert "ESTIMATE: pi5_pmic" in text
        assert "dyn. est. mJ" in text or "dynamic (estimate)" in text
        row = next(line for line in text.splitlines() if device.front[0].candidate.id in line)
        energy = device.front[0].measurement.dynamic_energy_j
        assert energy is not None
        assert f"{energy.value * 1e3:.1f}" in row
        assert "…" not in text


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (12.0e-3, 0.12e-3, "12.00 ± 0.12 ms"),
        (12.0e-3, 0.3e-3, "12.0 ± 0.3 ms"),
        (0.0474e-3, 0.0004e-3, "0.0474 ± 0.0004 ms"),
        (1.234, 0.025, "1234 ± 25 ms"),
        (1.5e-3, 0.0, "1.5 ms"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_earns(value: float, half: float, text: str):
    assert latency_text(Interval(value=value, low=value - half, high=value + half)) == text


def test_speed_up_and_saving_are_over_the_dense_model():
    study = study_fronts()
    device = study.devices[0]
    fastest = device.front[0]
    row = next(line for line in printed(list(front_tables(study, width=200)), 200).splitlines()
               if fastest.candidate.id in line)  # fmt: skip
    energy = fastest.measurement.energy_j
    assert energy is not None
    assert f"{12e-3 / fastest.measurement.latency_s.value:.2f}×" in row
    assert f"{(1 - energy.value / 60e-3) * 100:.0f} %" in row


def test_the_page_needs_nothing_from_outside_and_names_every_device_and_point(tmp_path: Path):
    study = study_fronts()
    write_report(study, tmp_path / "fronts.html")
    page = (tmp_path / "fronts.html").read_text()
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page)
    assert "some boards simulated, quick preset" in page
    for device in study.devices:
        assert device.device.name in page
        for point in (*device.front, *device.others):
            assert point.candidate.id in page


def test_the_page_s_saving_stands_beside_the_energy_that_it_is_of():
    """Half of the whole is saved and a tenth of what is above idle, which is the objective."""
    study = study_fronts()
    device = study.devices[0]

    def measuring(point: FrontPoint, total_j: float, dynamic_j: float) -> FrontPoint:
        of = {"energy_j": Interval(value=total_j, low=total_j, high=total_j)}
        of["dynamic_energy_j"] = Interval(value=dynamic_j, low=dynamic_j, high=dynamic_j)
        return replace(point, measurement=replace(point.measurement, **of))

    point = measuring(device.front[0], 0.030, 0.009)
    device = replace(device, dense=measuring(device.dense, 0.060, 0.010), front=(point,))
    for objective, line in (
        (EnergyObjective.TOTAL, "energy: 30 mJ (50 % saved)<br>of it above idle: 9 mJ<br>"),
        (EnergyObjective.DYNAMIC, "energy: 30 mJ<br>of it above idle: 9 mJ (10 % saved)<br>"),
    ):
        assert line in hover_text(study, replace(device, energy_objective=objective), point)


def test_the_page_shows_what_a_user_named_as_text(tmp_path: Path):
    study = replace(study_fronts(), model="<script>alert(1)</script>.onnx")
    write_report(study, tmp_path / "fronts.html")
    assert "<script>alert(1)" not in (tmp_path / "fronts.html").read_text()


@pytest.mark.parametrize("metered", [True, False])
def test_the_picture_has_a_column_per_device_and_a_second_row_for_energy(tmp_path: Path, metered: bool):
    study = study_fronts()
    if not metered:
        study = replace(study, devices=study.devices[1:])
    write_front_plot(study, tmp_path / "fronts.png")
    with Image.open(tmp_path / "fronts.png") as picture:
        width, height = picture.size
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    assert (width > height) is metered or not metered
    assert width == (1620 if metered else 810)


def test_the_title_of_a_narrow_picture_is_whole(tmp_path: Path):
    one = replace(study_fronts(), devices=study_fronts().devices[:1], model=f"{'w' * 30}.onnx")
    for study in (one, replace(one, model="net.onnx")):
        write_front_plot(study, tmp_path / "fronts.png")
        with Image.open(tmp_path / "fronts.png") as picture:
            width, _ = picture.size
            right_edge = picture.convert("L").crop((width - 5, 0, width, 100))
            assert right_edge.getextrema() == (255, 255), "letters run out of the picture"


def test_a_device_with_an_empty_front_is_still_drawn(tmp_path: Path):
    study = study_fronts()
    empty = replace(study.devices[0], front=(), others=(*study.devices[0].front, *study.devices[0].others))
    study = replace(study, devices=(empty,))
    write_front_plot(study, tmp_path / "fronts.png")
    write_report(study, tmp_path / "fronts.html")
    assert "the front is empty" in printed(list(front_tables(study, width=200)), 200)


@given(st.lists(st.tuples(COST, st.floats(0, 1)), min_size=1, max_size=30))
def test_the_line_through_a_front_passes_below_no_point(points: list[tuple[float, float]]):
    line = envelope(points)
    assert set(line) <= set(points)
    assert line == sorted(set(line))
    for cost, accuracy in points:
        assert max(y for x, y in line if x <= cost) >= accuracy


def test_formats_on_a_front_are_told_apart_in_picture_and_page_and_one_format_is_not_named(tmp_path: Path):
    study = study_fronts()
    assert formats_of(study) == ()
    write_report(study, tmp_path / "one.html")
    assert "front, " not in (tmp_path / "one.html").read_text()
    first, *rest = study.devices
    lite = Deployment(runtime="litert", precision="int8")
    fastest, *others = first.front
    genome = replace(fastest.candidate.genome, deployment=lite)
    mixed = (replace(fastest, candidate=replace(fastest.candidate, genome=genome)), *others)
    study = replace(study, devices=(replace(first, front=mixed), *rest))
    assert formats_of(study) == ("onnxruntime fp32", "litert int8")
    write_report(study, tmp_path / "two.html")
    page = (tmp_path / "two.html").read_text()
    assert "front, litert int8" in page
    assert "run as: litert int8" in page
    write_front_plot(study, tmp_path / "two.png")
    with Image.open(tmp_path / "two.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or ()}
    assert (0x2B, 0x8A, 0x3E) in colours, "the second format has a colour of its own"
