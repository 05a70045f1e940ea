"""host profile-steps as a user types it, on a simulated board; and what happens where it cannot work."""

from __future__ import annotations

import json
from pathlib import Path


def test_a_simulated_boards_step_is_learned_stored_drawn_and_used(host, project: Path) -> None:
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text().replace("step = 2\n", ""))
    result = host("profile-steps", "--devices", "pi1", "--json", "-o", "steps.png", "--quiet")
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["schema"] == 1
    (device,) = report["devices"]
    assert set(device) == {
        "name", "board", "board_id", "simulated", "runtime", "runtime_version", "threads", "preset", "measured_at",
        "file", "kernels",
    }  # fmt: skip
    assert (device["name"], device["simulated"], device["preset"]) == ("pi1", True, "quick")
    for kernel in device["kernels"]:
        assert set(kernel) == {
            "kind", "step", "sure", "rivals", "used_step", "jump", "noise", "widths", "latencies_s",
        }  # fmt: skip
        assert (kernel["step"], kernel["sure"], kernel["used_step"]) == (8, True, 8)
        assert kernel["noise"] < 0.02 < kernel["jump"]
        assert len(kernel["widths"]) == len(kernel["latencies_s"])
    assert [kernel["kind"] for kernel in device["kernels"]] == ["conv_3x3", "pointwise", "depthwise"]
    assert (project / "steps.png").read_bytes().startswith(b"\x89PNG")
    assert Path(device["file"]) == project / ".edgepareto" / "steps" / "pi1.json"
    assert json.loads(Path(device["file"]).read_text())["board_id"] == device["board_id"]


def test_a_board_that_is_lost_is_one_line_and_stores_nothing(host, project: Path) -> None:
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text().replace("step = 2\n", 'faults = ["dies_after=1"]\n'))
    result = host("profile-steps", "--devices", "pi1", "--quiet")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("host: pi1: ")
    assert result.err.count("\n") == 1
    assert not (project / ".edgepareto").exists()


def test_what_is_typed_wrong_is_said_before_any_board_is_asked(host, project: Path) -> None:
    for words, told in (
        (("--devices", "pi7"), "did you mean pi1"),
        (("--devices", "pi1", "-o", "missing/steps.png"), "missing/steps.png: the folder missing does not exist"),
        (("--devices", "pi1", "-o", "steps.txt"), "steps.txt: the picture is a PNG; end its name with .png"),
        (("--devices", "pi1", "--preset", "fast"), "choose quick, standard, audit"),
    ):
        result = host("profile-steps", *words)
        assert (result.code, result.out) == (2, "")
        assert told in result.err
        assert result.err.count("\n") == 1


def test_learned_steps_that_cannot_be_read_stop_a_search_with_what_to_do(host, project: Path) -> None:
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text().replace("step = 2\n", ""))
    file = project / ".edgepareto" / "steps" / "pi1.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    result = host("search", "--devices", "pi1")
    assert result.code == 2
    assert "pi1.json: cannot be read as learned steps" in result.err
    assert "host profile-steps --devices pi1" in result.err
    assert not (project / "study").exists()
