"""Numbers drawn again from traces: the same ones, from the one file, with a damaged trace named and left out."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.domain import StudyFronts
from edgepareto.host.errors import WrongUse
from edgepareto.host.study import keep_shown, recompute, run_study
from edgepareto.host.views import recomputed_lines
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


@pytest.fixture
def shown(bench: Bench) -> StudyFronts:
    fronts = run_study(
        bench.config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1"))
    )
    keep_shown(bench.config.study, fronts)
    return fronts


def change(study: Path, statement: str) -> None:
    with sqlite3.connect(study / "study.sqlite") as file:
        assert file.execute(statement).rowcount > 0
    file.close()


def test_a_copy_of_the_one_file_gives_the_same_numbers_without_any_board(
    bench: Bench, shown: StudyFronts, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / bench.config.study.name
    copy.mkdir(parents=True)
    shutil.copy(bench.config.study / "study.sqlite", copy)
    found = recompute(copy)
    assert (found.fronts, found.damaged, found.changes) == (shown, (), ())
    assert found.compared > len(shown.devices[0].front)
    assert "are the same" in next(iter(recomputed_lines(found)))


def test_what_was_never_shown_is_not_compared(bench: Bench, shown: StudyFronts) -> None:
    change(bench.config.study, "DELETE FROM meta WHERE key = 'shown'")
    found = recompute(bench.config.study)
    assert (found.shown_by, found.changes) == (None, ())
    assert "nothing to compare" in next(iter(recomputed_lines(found)))
    assert recompute(bench.config.study).shown_by is not None


def test_a_damaged_trace_is_named_left_out_and_the_others_tell_what_changed(bench: Bench, shown: StudyFronts) -> None:
    fastest = shown.devices[0].front[0]
    study = bench.config.study
    change(
        study,
        "UPDATE traces SET data = substr(data, 1, 30) WHERE rowid = "
        f"(SELECT max(rowid) FROM traces WHERE candidate = '{fastest.candidate.id}')",
    )
    found = recompute(study)
    assert len(found.damaged) == 1
    assert "pi1, end batch" in found.damaged[0]
    assert fastest.candidate.id in found.damaged[0]
    now = {p.candidate.id: p.measurement for d in found.fronts.devices for p in (*d.front, *d.others)}
    assert now[fastest.candidate.id].jobs == fastest.measurement.jobs - 1
    changed = {(c.candidate, c.number) for c in found.changes}
    assert (fastest.candidate.id, "latency_s") in changed
    lines = list(recomputed_lines(found))
    assert lines[0].startswith(f"{len(found.changes)} of {found.compared} numbers shown before")
    assert len(lines) <= 14
    # What was seen with a hole in it does not count as shown.
    assert recompute(study).changes == found.changes


def test_an_earlier_version_s_other_arithmetic_shows_as_changes(bench: Bench, shown: StudyFronts) -> None:
    member = shown.devices[0].front[0]
    value = member.measurement.latency_s.value
    change(
        bench.config.study,
        'UPDATE meta SET value = replace(value, \'"latency_s": '
        f"{value!r}', '\"latency_s\": {value * 1.01!r}') WHERE key = 'shown'",
    )
    (one,) = recompute(bench.config.study).changes
    assert (one.candidate, one.number, one.after) == (member.candidate.id, "latency_s", value)
    assert one.before == pytest.approx(value * 1.01)
    assert recompute(bench.config.study).changes == ()


def test_a_device_that_the_study_has_not_costs_no_comparison(bench: Bench, shown: StudyFronts) -> None:
    change(
        bench.config.study, "UPDATE meta SET value = replace(value, '\"latency_s\"', '\"older\"') WHERE key = 'shown'"
    )
    with pytest.raises(WrongUse, match="device pi9 is not in"):
        recompute(bench.config.study, device="pi9")
    assert recompute(bench.config.study, device="pi1").changes
