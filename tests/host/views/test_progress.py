from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from edgepareto.host.domain import Activity, DeviceName, DeviceProgress, StudyNotice
from edgepareto.host.views import print_changes, show_progress
from edgepareto.host.views.progress import _PlainLines
from rich.console import Console


def event(device: str, generation: int, measured: int, activity: Activity = Activity.MEASURING) -> DeviceProgress:
    return DeviceProgress(
        device=DeviceName(device),
        activity=activity,
        generation=generation,
        measured=measured,
        failed=0,
        budget=40,
        front=5,
        hypervolume=0.7,
    )


EVENTS = (
    event("pi1", 0, 0, Activity.PREPARING),
    event("pi1", 0, 5),
    event("pi1", 0, 10),
    StudyNotice(text="3 candidates of the ladder are equal", is_warning=False),
    event("pi1", 1, 15),
    StudyNotice(text="bench has no meter [none]", is_warning=True),
    event("bench", 1, 15),
    event("pi1", 1, 40, Activity.DONE),
)


def shown(*, terminal: bool, quiet: bool = False, events: Sequence[DeviceProgress | StudyNotice] = EVENTS) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=160, color_system=None, soft_wrap=True)
    with show_progress(quiet=quiet, console=console) as listener:
        for one in events:
            listener(one)
    return stream.getvalue()


def test_without_a_terminal_there_is_one_plain_line_per_generation():
    lines = shown(terminal=False).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "pi1: generation 0",
        "3 candidates of the ladder are equal",
        "pi1: generation 1",
        "warning: bench has no meter [none]",
        "bench: generation 1",
        "pi1: generation 1",
    ]
    assert "measured 40/40, front 5, hypervolume 0.7000, done" in lines[-1]
    assert "\x1b" not in shown(terminal=False)


def test_in_a_terminal_every_device_has_a_bar():
    text = shown(terminal=True)
    assert "40/40" in text
    assert "bench" in text
    assert "warning: bench has no meter [none]" in text


def test_quiet_leaves_the_warnings():
    assert shown(terminal=False, quiet=True).strip() == "warning: bench has no meter [none]"


def test_a_devices_stage_utilisation_and_time_left_are_shown_where_they_are_known():
    busy = replace(event("pi1", 1, 15), detail="latency 3/5", utilisation=0.937)
    left = {None: "", 42.0: "~42 s left", 100.0: "~2 min left", 9000.0: "~2.5 h left"}
    for seconds, words in left.items():
        for terminal in (True, False):
            text = shown(terminal=terminal, events=[replace(busy, left_s=seconds)])
            assert "measuring latency 3/5" in text
            assert "94 % busy" in text
            assert words in text
            assert ("left" in text) is (seconds is not None)
    assert "busy" not in shown(terminal=False)


def test_a_stage_that_every_model_of_a_batch_tells_is_one_line() -> None:
    stream = io.StringIO()
    tell = print_changes(Console(file=stream, width=160, color_system=None))
    for line in ("pi1: validate", "pi1: validate", "pi1: [latency] 1/3", "pi1: validate"):
        tell(line)
    assert stream.getvalue().splitlines() == ["pi1: validate", "pi1: [latency] 1/3", "pi1: validate"]


def test_a_board_that_is_long_in_one_step_is_told_ever_more_seldom_until_it_gets_on() -> None:
    stream, now_s = io.StringIO(), 0.0
    lines = _PlainLines(Console(file=stream, width=160, color_system=None), lambda: now_s)
    lines(replace(event("pi1", 0, 0), detail="latency [3]/5"))
    for seconds in range(0, 301, 5):
        now_s = float(seconds)
        lines.look()
    assert stream.getvalue().splitlines() == [
        f"pi1: measuring latency [3]/5 since {words}" for words in ("1 min", "2 min", "4 min")
    ]
    lines(replace(event("pi1", 0, 0), detail="latency 4/5"))
    now_s += 59
    lines.look()
    lines(event("pi1", 0, 0, Activity.WAITING))
    now_s += 600
    lines.look()
    assert len(stream.getvalue().splitlines()) == 3


def test_a_board_that_is_away_is_told_at_once_and_for_how_long_it_is_looked_for() -> None:
    stream, now_s = io.StringIO(), 0.0
    lines = _PlainLines(Console(file=stream, width=160, color_system=None), lambda: now_s)
    lines(replace(event("pi1", 1, 15, Activity.AWAY), detail="does not answer"))
    for seconds in range(0, 91, 5):
        now_s = float(seconds)
        lines(replace(event("pi1", 1, 15, Activity.AWAY), detail=f"gone for {seconds} s, is looked for until 600 s"))
        lines.look()
    lines(event("pi1", 1, 15))
    assert [line.rpartition(", ")[2] for line in stream.getvalue().splitlines()] == [
        "away: does not answer",
        "pi1: looked for since 1 min",
        "measuring",
    ]


def test_a_search_that_learns_says_how_much_it_foresees_and_when_nothing():
    known = replace(event("pi1", 3, 20), foreseen=(0.62, 0.974), spared=4)
    lines = shown(terminal=False, events=[known, replace(known, generation=4, foreseen=(-0.9, 0.1))]).splitlines()
    assert "4 spared, foresees error 62 %, latency 97 %" in lines[0]
    assert "the models foresee nothing, NSGA-II asks" in lines[1]
