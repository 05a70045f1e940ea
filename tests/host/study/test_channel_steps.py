"""Which steps a study cuts to: the settings' before what was learned, and for its whole life those it began with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.config import StudyConfig, write_learned_steps
from edgepareto.host.domain import DeviceName
from edgepareto.host.domain.learned_steps import KernelKind, KindProbe, LearnedSteps
from edgepareto.host.domain.staircase import Staircase
from edgepareto.host.errors import StudyError
from edgepareto.host.store import StudyStore
from edgepareto.host.study import read_fronts, run_study
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


def learned(conv_3x3: int, *, sure: bool = True, board_id: str = "board-pi1", threads: int = 1) -> LearnedSteps:
    staircase = Staircase(step=conv_3x3, jump=0.1, noise=0.01, rivals=() if sure else (2,))
    return LearnedSteps(
        device=DeviceName("pi1"),
        board="fake board",
        board_id=board_id,
        simulated=True,
        runtime="onnxruntime",
        runtime_version="1",
        threads=threads,
        preset="quick",
        measured_at="2026-11-28T12:00:00+00:00",
        probes=(KindProbe(kind=KernelKind.CONV_3X3, staircase=staircase, widths=(8,), latencies_s=(1e-3,)),),
    )


def without_a_step(bench: Bench) -> StudyConfig:
    return replace(bench.config, devices=(replace(bench.config.devices[0], step=None),))


def kept_widths(bench: Bench) -> list[set[int]]:
    """Of the two groups of 12 and 16 channels, over all candidates."""
    with StudyStore.open_for_reading(bench.config.study) as store:
        genomes = [candidate.genome.widths for candidate in store.candidates().values()]
    return [set(widths) for widths in zip(*genomes, strict=True)]


def run(bench: Bench, config: StudyConfig, *, resume: bool = False) -> None:
    device = FakeDevice(name="pi1")
    run_study(config, resume=resume, listener=bench.events.append, connect=connecting(device))


def told(bench: Bench) -> list[str]:
    return [event.text for event in bench.events if hasattr(event, "text")]


def test_a_search_cuts_to_what_was_learned_and_says_so(bench: Bench) -> None:
    write_learned_steps(learned(4), bench.config.folder)
    run(bench, without_a_step(bench))
    assert kept_widths(bench) == [{4, 8, 12}, {4, 8, 12, 16}]
    assert "pi1: channel steps as learned on 2026-11-28: conv_3x3 4" in told(bench)
    assert read_fronts(bench.config.study).devices[0].hypervolume > 0


def test_the_default_is_8_without_a_probe_and_where_a_probe_was_not_sure(bench: Bench) -> None:
    write_learned_steps(learned(4, sure=False), bench.config.folder)
    run(bench, without_a_step(bench))
    assert kept_widths(bench) == [{8, 12}, {8, 16}]


def test_the_settings_own_step_wins(bench: Bench) -> None:
    write_learned_steps(learned(4), bench.config.folder)
    run(bench, bench.config)  # step = 2
    assert any(width % 4 for width in kept_widths(bench)[0])
    assert not any("learned" in text for text in told(bench))


@pytest.mark.parametrize("other", [{"board_id": "another"}, {"threads": 4}])
def test_steps_of_another_board_or_number_of_threads_are_ignored_with_one_warning(
    other: dict[str, object], bench: Bench
) -> None:
    write_learned_steps(learned(4, **other), bench.config.folder)  # type: ignore[arg-type]
    run(bench, without_a_step(bench))
    assert kept_widths(bench) == [{8, 12}, {8, 16}]
    ignored = [text for text in bench.warnings() if "is ignored" in text]
    assert len(ignored) == 1
    assert "host profile-steps --devices pi1" in ignored[0]


def test_a_probe_after_the_start_changes_no_study_that_goes_on(bench: Bench) -> None:
    write_learned_steps(learned(4), bench.config.folder)
    config = without_a_step(bench)
    run(bench, config)
    write_learned_steps(learned(1), bench.config.folder)
    more = replace(config, search=replace(config.search, measurements=24))
    run(bench, more, resume=True)
    assert kept_widths(bench) == [{4, 8, 12}, {4, 8, 12, 16}]
    longer = replace(more.search, measurements=30)
    other = replace(more, search=longer, devices=(replace(more.devices[0], step=2),))
    with pytest.raises(StudyError, match=r"pi1: step changed since this study began"):
        run(bench, other, resume=True)


def test_a_probe_after_the_start_is_no_change_to_a_study_with_the_default(bench: Bench) -> None:
    config = without_a_step(bench)
    run(bench, config)
    write_learned_steps(learned(4), bench.config.folder)
    run(bench, replace(config, search=replace(config.search, measurements=24)), resume=True)
    assert kept_widths(bench) == [{8, 12}, {8, 16}]
