from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.host.api import Study
from edgepareto.host.domain import Conditions, EnergyObjective, Interval, circumstances, reduce_trace
from edgepareto.host.errors import WrongUse
from edgepareto.host.export import export_candidate, pick
from fakes.fronts import study_fronts
from fakes.jobs import TRACE
from fakes.rights import rights_of_nobody

STUDY = study_fronts()
PI1, BENCH = STUDY.devices


def test_each_pick_is_the_best_of_the_front_at_what_it_names():
    assert pick(PI1, "fastest") == min(PI1.front, key=lambda p: p.measurement.latency_s.value)
    assert pick(PI1, "most-accurate").accuracy == max(p.accuracy for p in PI1.front)
    assert pick(PI1, "least-energy") == min(PI1.front, key=lambda p: p.measurement.energy_j.value)
    assert pick(PI1, "knee").is_knee


def test_limits_narrow_the_choice_and_the_knee_is_that_of_what_is_left():
    slow = PI1.front[-1].measurement.latency_s.value * 1e3
    assert pick(PI1, "knee", max_latency_ms=slow).is_knee
    bound = pick(PI1, "knee").measurement.latency_s.value * 0.9e3
    chosen = pick(PI1, "knee", max_latency_ms=bound)
    assert chosen.measurement.latency_s.value * 1e3 <= bound
    accurate = pick(PI1, "fastest", min_accuracy=0.9)
    assert accurate.accuracy >= 0.9
    assert all(
        p.accuracy < 0.9 for p in PI1.front if p.measurement.latency_s.value < accurate.measurement.latency_s.value
    )


def test_any_measured_candidate_is_picked_by_its_id_or_an_unambiguous_start_of_it():
    other = PI1.others[0]
    assert pick(PI1, other.candidate.id) == other
    assert pick(PI1, other.candidate.id[:5]) == other
    with pytest.raises(WrongUse, match="fits several candidates"):
        pick(PI1, "0")
    with pytest.raises(WrongUse, match="nee is no candidate measured there; choose knee, fastest"):
        pick(PI1, "nee")


def test_what_cannot_be_picked_is_told_with_what_the_front_has():
    with pytest.raises(WrongUse, match=r"no front member is within 0.1 ms and accuracy 0.99; the front reaches from"):
        pick(PI1, "knee", max_latency_ms=0.1, min_accuracy=0.99)
    with pytest.raises(WrongUse, match="bench: it has no meter"):
        pick(BENCH, "least-energy")
    with pytest.raises(WrongUse, match="its front is empty"):
        pick(replace(PI1, front=()), "knee")


def test_an_export_is_the_stored_file_and_a_card_that_tells_everything(tmp_path: Path):
    (tmp_path / "stored.onnx").write_bytes(b"model")
    point = pick(PI1, "knee")
    written = export_candidate(point, PI1, tmp_path / "stored.onnx", tmp_path / "out.onnx", STUDY)
    assert (tmp_path / "out.onnx").read_bytes() == b"model"
    assert written.card == tmp_path / "out.onnx.json"
    card = json.loads(written.card.read_text())
    assert card["schema"] == 1
    assert card["sha256"] == hashlib.sha256(b"model").hexdigest()
    assert (card["device"], card["board"], card["simulated"], card["preset"]) == (
        "pi1",
        "raspberry-pi-4b",
        True,
        "quick",
    )
    assert card["candidate"] == point.candidate.id
    assert card["latency_low_s"] < card["latency_s"] < card["latency_high_s"]
    assert card["energy_low_j"] < card["energy_j"] < card["energy_high_j"]
    assert card["speed_up_over_dense"] == pytest.approx(12e-3 / card["latency_s"])
    assert card["made"]["channels_kept_per_group"] == list(point.candidate.genome.widths)
    assert card["conditions"]["meter"] == "ina219"


def test_a_card_says_under_what_its_numbers_were_measured_and_how_it_compares_with_dense(tmp_path: Path):
    (tmp_path / "stored.onnx").write_bytes(b"model")
    before = Conditions(temperature_c=41.5, governor="performance", throttle_bits=0)
    job = reduce_trace(replace(TRACE, before=before, load_ns=5_000_000, anchor_ratio=1.01))
    point = replace(pick(PI1, "knee"), circumstances=circumstances([job]))
    written = export_candidate(point, PI1, tmp_path / "stored.onnx", tmp_path / "out.onnx", STUDY)
    card = json.loads(written.card.read_text())
    conditions = card["conditions"]
    assert conditions["temperature_high_c"] == 41.5
    assert conditions["governors"] == ["performance"]
    assert (conditions["throttle_bits"], conditions["load_s"], conditions["anchor_ratio_low"]) == (0, 0.005, 1.01)
    assert conditions["lowest_bus_v"] == pytest.approx(4.896)
    assert conditions["protocol"] == 1
    assert card["energy_objective"] == "total"
    assert (conditions["meter_config"], conditions["meter_shunt_ohm"]) == (0x19DF, 0.1)
    assert "peak_rss_bytes" not in conditions
    assert card["accuracy_difference_low"] < card["accuracy_difference"] < card["accuracy_difference_high"] < 0
    assert card["reproducible"] is True
    assert card["energy_systematic_j"] < card["energy_j"]


def test_the_least_energy_is_that_of_the_objective():
    """A device on which what is above idle ranks the other way round than all of it."""
    members = [
        replace(p, measurement=replace(p.measurement, dynamic_energy_j=Interval(value=1 / i, low=0, high=2 / i)))
        for i, p in enumerate(PI1.front, start=1)
    ]
    dynamic = replace(PI1, front=tuple(members), energy_objective=EnergyObjective.DYNAMIC)
    assert pick(dynamic, "least-energy") == members[-1]
    assert pick(PI1, "least-energy") != PI1.front[-1]


def test_a_card_of_a_real_board_says_nothing_of_simulation_or_energy_it_does_not_know(tmp_path: Path):
    (tmp_path / "stored.onnx").write_bytes(b"model")
    point = pick(BENCH, "fastest")
    card = json.loads(
        export_candidate(point, BENCH, tmp_path / "stored.onnx", tmp_path / "out.onnx", STUDY).card.read_text()
    )
    assert "simulated" not in card
    assert not [key for key in card if "energy" in key]


def test_an_export_goes_only_where_it_can_and_never_over_the_studys_own_file(tmp_path: Path):
    stored = tmp_path / "stored.onnx"
    stored.write_bytes(b"model")
    point = PI1.front[0]
    with pytest.raises(WrongUse, match="does not exist; create it first"):
        export_candidate(point, PI1, stored, tmp_path / "typo" / "out.onnx", STUDY)
    with pytest.raises(WrongUse, match="the study's own file"):
        export_candidate(point, PI1, stored, stored, STUDY)
    with pytest.raises(WrongUse, match="is gone"):
        export_candidate(point, PI1, tmp_path / "lost.onnx", tmp_path / "out.onnx", STUDY)


def test_a_place_that_may_not_be_written_is_refused_for_the_model_its_card_and_the_pictures(tmp_path: Path):
    (tmp_path / "stored.onnx").write_bytes(b"model")
    shut, opened = tmp_path / "shut", tmp_path / "open"
    shut.mkdir(0o555)
    opened.mkdir()
    opened.chmod(0o777)
    (opened / "out.onnx.json").touch(0o444)
    study = Study(path=tmp_path, fronts=STUDY)
    with rights_of_nobody(tmp_path):
        for write in (
            lambda: export_candidate(PI1.front[0], PI1, tmp_path / "stored.onnx", shut / "out.onnx", STUDY),
            lambda: export_candidate(PI1.front[0], PI1, tmp_path / "stored.onnx", opened / "out.onnx", STUDY),
            lambda: study.write_html(shut / "front.html"),
            lambda: study.write_png(shut / "front.png"),
        ):
            with pytest.raises(WrongUse, match="no permission to write to"):
                write()
    assert [path.name for path in (*shut.iterdir(), *opened.iterdir())] == ["out.onnx.json"]
