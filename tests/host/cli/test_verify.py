"""host verify on a simulated board, whose outputs are real, and on this machine with LiteRT."""

from __future__ import annotations

import json
from pathlib import Path

LITE = """
[devices.lite]
local = true
runtime = "litert"
shared = true
step = 2
"""


def test_a_study_is_verified_on_its_boards_and_in_json(host, project: Path):
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text() + LITE)
    assert host("search", "--devices", "pi1,lite", "--measurements", "4", "--population", "4").code == 0
    for device, runtime in (("pi1", "onnxruntime"), ("lite", "litert")):
        result = host("verify", "--device", device, "--json")
        assert result.code == 0, result.err
        found = json.loads(result.out)
        front = json.loads(host("front", "--device", device, "--format", "json").out)["devices"][0]["front"]
        assert (found["device"], found["split"], found["samples"]) == (device, "validation", 60)
        assert [one["candidate"] for one in found["candidates"]] == [point["candidate"] for point in front]
        for one in found["candidates"]:
            assert one["runtime"] == runtime
            assert one["differs"] is False
            assert abs(one["difference"]) <= 1 / 60
    table = host("verify", "--device", "pi1", "--pick", "fastest", "--samples", "10")
    assert table.code == 0
    assert "pi1 · raspberry-pi-4b · simulated · top-1 accuracy" in table.out
    assert "10 samples of the validation split" in table.out
    for words, said in (
        (("--device", "pi9"), "device pi9 is not in"),
        (("--device", "pi1", "--pick", "none"), "none is no candidate measured there"),
        (("--device", "pi1", "--samples", "61"), "validation.npz has 60, wanted 1 to 60"),
        (("--device", "pi1", "--samples", "-1"), "--samples -1: wanted 1 or more"),
        (("--device", "pi1", "--study", "nowhere"), "nowhere: "),
        ((), "Missing option '--device'"),
    ):
        result = host("verify", *words)
        assert (result.code, result.out) == (2, ""), words
        assert said in result.err
        assert result.err.strip().count("\n") == 0, result.err


def test_a_candidate_that_crashes_the_board_is_a_row_and_exit_code_1(host, project: Path):
    assert host("search", "--devices", "pi1", "--measurements", "4", "--population", "4").code == 0
    settings = project / "edgepareto.toml"
    every = "0123456789abcdef"
    settings.write_text(settings.read_text().replace("step = 2", f'step = 2\nfaults = ["crash={every}"]'))
    result = host("verify", "--device", "pi1", "--pick", "knee")
    assert result.code == 1
    assert "failed" in result.out
    assert "WORKER_CRASHED" in result.out
