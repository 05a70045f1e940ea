"""What a search does with a board in trouble, told by the commands: real hosts, real agents, simulated boards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fakes.stored_studies import committed_batches, everything_measured

if TYPE_CHECKING:
    from conftest import Board, Project

READY_S = 60


def told(project: Project, study: str) -> dict[str, dict]:
    report = json.loads(project.host("front", "--study", study, "--format", "json").stdout)
    return {device["name"]: device for device in report["devices"]}


def test_a_search_whose_board_and_host_are_killed_ends_as_an_undisturbed_one_and_says_so(
    project: Project, boards: tuple[Board, Board]
):
    words = ("search", "--devices", "pi1", "--measurements", "10")
    project.host(*words, "--study", "whole", "--quiet")
    total = committed_batches(project.folder / "whole")
    study = project.folder / "broken"
    pi, _ = boards
    restarted = False

    def when_measured(share: float) -> Callable[[], bool]:
        def look() -> bool:
            nonlocal restarted
            if not restarted and committed_batches(study) > 0:
                pi.start()
                restarted = True
            return committed_batches(study) > share * total

        return look

    # A host that is told to end frees its boards at once; one that is killed is followed by itself without waiting.
    words = (*words, "--study", "broken")
    assert project.killed(*words, when=when_measured(1 / 3), with_signal=signal.SIGTERM) == 130
    project.host("profile", "mobilenet.onnx", "--devices", "pi1", "--preset", "quick", "--wait", "0")
    assert project.killed(*words, "--resume", when=when_measured(2 / 3)) == -signal.SIGKILL
    done = project.host(*words, "--resume", "--wait", "0")

    assert everything_measured(study) == everything_measured(project.folder / "whole")
    whole, broken = told(project, "whole"), told(project, "broken")
    incidents = broken["pi1"].pop("incidents")
    assert {incident["kind"] for incident in incidents} <= {"agent-restarted", "connection-cut"}
    assert broken == whole
    assert f"{len(incidents)} incident" in done.stdout


def test_a_board_that_reboots_is_found_again_and_quarantined_once_its_meter_has_failed_for_good(
    project: Project, boards: tuple[Board, Board]
):
    pi, _ = boards
    pi.start("reboot_after=3")
    study = project.folder / "study"
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepareto.host", "search", "--devices", "pi1"],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert pi.process is not None
    assert pi.process.wait(READY_S) == -signal.SIGKILL
    assert committed_batches(study) == 3
    pi.start("reboot_after=3", "meter_stuck")
    table, log = process.communicate(timeout=120)
    assert process.returncode == 1, log
    assert "the board was started anew" in log
    assert log.count("pi1: its meter gave no energy: METER_STUCK") == 5
    assert "5 batches in a row were in trouble" in log
    (front,) = told(project, "study").values()
    assert [incident["kind"] for incident in front["incidents"]] == ["rebooted", *["meter-lost"] * 5]
    assert front["front"]
    assert all("energy_j" in point for point in front["front"])
    assert table == ""

    # Its meter put right, the search goes on to a whole front.
    pi.start()
    done = project.host("search", "--devices", "pi1", "--resume")
    assert "6 incidents since " in done.stdout
    assert "INCOMPLETE" not in done.stdout


def test_a_board_that_is_lost_leaves_the_others_fronts_and_exit_code_1(project: Project):
    settings = project.folder / "edgepareto.toml"
    text = settings.read_text().replace("[devices.jetson2]", 'faults = ["dies_after=2"]\n\n[devices.jetson2]')
    settings.write_text(text)
    done = project.host("search", "--devices", "pi1,jetson2", "--measurements", "8", code=1)
    fronts = told(project, "study")
    assert [front["complete"] for front in fronts.values()] == [False, True]
    assert "its agent ended" in fronts["pi1"]["incomplete_reason"]
    assert [incident["outcome"] for incident in fronts["pi1"]["incidents"]] == ["given up"]
    assert "INCOMPLETE" in done.stdout
    assert "its front is kept, go on with --resume" in done.stderr
