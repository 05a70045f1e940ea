"""Each verb once, in the way a user types it; what programs read is compared with the promised names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgepareto.host.export import read_model, sha256_of
from edgepareto.host.pruning import analyse


def test_inspect_tells_groups_and_what_is_frozen_and_why(host):
    report = json.loads(host("inspect", "net.onnx", "--json").out)
    assert set(report) == {"schema", "inputs", "outputs", "parameters", "macs", "groups", "branches", "frozen"}
    assert report["schema"] == 1
    assert report["inputs"] == [{"name": "x", "shape": ["N", 1, 6, 6], "dtype": "float32"}]
    fields = {"name", "channels", "features", "step", "layers", "share_of_macs"}
    assert [set(group) for group in report["groups"]] == [fields] * 2
    assert [group["channels"] for group in report["groups"]] == [8, 8]
    assert all(set(frozen) == {"name", "channels", "reason"} for frozen in report["frozen"])
    table = host("inspect", "net.onnx").out
    for word in ("first", "second", "last", "parameters", *(frozen["reason"] for frozen in report["frozen"])):
        assert word in table


def test_prune_removes_the_share_of_every_group_and_repairs_with_calibration(host, project: Path):
    report = json.loads(
        host("prune", "net.onnx", "--ratio", "0.5", "--calibration", "calibration.npz", "-o", "half.onnx", "--json").out
    )
    assert set(report) == {
        "schema", "parameters", "macs", "groups", "frozen", "seconds", "step", "criterion", "recover", "recovered",
        "calibration_images", "file",
    }  # fmt: skip
    assert [(set(frozen), frozen["channels"]) for frozen in report["frozen"]] == [({"name", "channels", "reason"}, 3)]
    assert set(report["seconds"]) == {"analyse", "rank", "slice", "recover", "serialise"}
    assert [group["kept"] for group in report["groups"]] == [4, 4]
    assert report["recovered"] is True
    written = analyse(read_model(project / "half.onnx"))
    assert report["parameters"] == {"before": analyse(read_model(project / "net.onnx")).parameters,
                                    "after": written.parameters}  # fmt: skip
    assert [group.channels for group in written.groups] == [4, 4]
    assert report["file"] == "half.onnx"


def test_prune_gives_the_same_file_every_time_and_says_when_it_could_not_repair(host, project: Path):
    (project / "edgepareto.toml").unlink()
    result = host("prune", "net.onnx", "--ratio", "0.3", "-o", "a.onnx")
    assert "not repaired" in result.out
    host("prune", "net.onnx", "--ratio", "0.3", "-o", "b.onnx")
    assert sha256_of(project / "a.onnx") == sha256_of(project / "b.onnx")


def test_profile_measures_models_on_devices_and_says_that_a_board_is_simulated(host, project: Path):
    host("prune", "net.onnx", "--ratio", "0.5", "-o", "half.onnx")
    result = host("profile", "net.onnx", "half.onnx", "--devices", "pi1", "--preset", "quick", "--json", "--quiet")
    assert (result.code, result.err) == (0, "")
    results = json.loads(result.out)["results"]
    assert [(r["model"], r["device"], r["status"]) for r in results] == [
        ("net.onnx", "pi1", "OK"), ("half.onnx", "pi1", "OK")
    ]  # fmt: skip
    for one in results:
        assert one["simulated"] is True
        assert one["usable"] is True
        assert one["preset"] == "quick"
        assert one["inputs"] == "calibration"
        assert one["latency_low_s"] <= one["latency_s"] <= one["latency_high_s"]
        assert one["energy_j"] > 0
        assert None not in one.values()
    assert results[1]["latency_s"] < results[0]["latency_s"]


def test_a_search_ends_in_a_front_that_every_view_shows_and_export_takes_from(host, project: Path):
    searched = host("search", "--devices", "pi1", "--quiet")
    assert searched.code == 0, searched.err
    assert "simulated" in searched.out
    report = json.loads(host("front", "--format", "json").out)
    (device,) = report["devices"]
    assert device["measured"] == 8
    assert "test_accuracy" not in device["dense"]
    shown = host("front", "--device", "pi1", "--html", "f.html", "--png", "f.png")
    assert "f.html written" in shown.out
    assert (project / "f.png").read_bytes().startswith(b"\x89PNG")
    assert host("front", "--format", "csv").out.count("\n") >= 1 + len(device["front"])
    written = host("export", "--device", "pi1", "--pick", "fastest", "-o", "fast.onnx")
    assert "(simulated)" in written.out
    card = json.loads((project / "fast.onnx.json").read_text())
    assert card["simulated"] is True
    assert card["candidate"] == device["front"][0]["candidate"]
    assert sha256_of(project / "fast.onnx") == card["sha256"]
    # What is wrong with a finished study is wrong use, too.
    for words, told in (
        (("front", "--device", "pi2"), "device pi2 is not in"),
        (("export", "--device", "pi1", "--pick", "best", "-o", "x.onnx"), "choose knee, fastest"),
        (("export", "--device", "pi1", "-o", "no/x.onnx"), "the folder no does not exist"),
        (("front", "--png", "no/f.png"), "the folder no does not exist"),
        (("export", "--device", "pi1", "-o", "net.onnx"), "would be lost"),
        (("front", "--html", "study/study.sqlite"), "would be lost"),
        (("front", "--png", "net.onnx"), "would be lost"),
        (("export", "--device", "pi1", "-o", "study/study.sqlite"), "would be lost"),
        (("prune", "net.onnx", "--ratio", "0.5", "-o", "net.onnx"), "would be lost"),
        (("search", "--devices", "pi1"), "--resume"),
    ):
        result = host(*words)
        assert (result.code, result.err.count("\n")) == (2, 1), result.err
        assert told in result.err
    assert json.loads(host("front", "--format", "json").out) == report


def test_a_resumed_study_keeps_the_settings_that_are_not_given_again(host, project: Path):
    text = (project / "edgepareto.toml").read_text()
    (project / "edgepareto.toml").write_text(text.replace('measurements = 8\npopulation = 4\npreset = "quick"\n', ""))
    begun = host("search", "--devices", "pi1", "--measurements", "5", "--population", "5", "--preset", "quick")
    assert begun.code == 0, begun.err
    report = host("front", "--format", "json").out
    again = host("search", "--devices", "pi1", "--resume")
    assert again.code == 0, again.err
    assert host("front", "--format", "json").out == report
    other = host("search", "--devices", "pi1", "--resume", "--preset", "standard")
    assert (other.code, "preset" in other.err) == (2, True)


def test_init_writes_a_file_that_config_check_accepts(host, project: Path):
    (project / "edgepareto.toml").unlink()
    assert host("init", "--model", "net.onnx").code == 0
    text = (project / "edgepareto.toml").read_text()
    assert 'model = "net.onnx"' in text
    (project / "edgepareto.toml").write_text(text.replace('test = "test.npz"', "# no test"))
    checked = host("config", "check")
    assert (checked.code, checked.err) == (0, "")
    assert "is sound" in checked.out


def test_devices_are_listed_without_asking_and_checked_by_asking(host):
    listed = host("devices", "list").out
    for name in ("pi1", "gone", "local"):
        assert name in listed
    checked = host("devices", "check", "pi1", "gone")
    assert checked.code == 1
    assert "raspberry-pi-4b (SIMULATED)" in checked.out
    assert "pi1: clock modes 1800MHz, 1500MHz, 1000MHz, 600MHz" in checked.out
    assert "ina219" in checked.out
    assert "gone: no agent answers" in checked.out


VERBS = [
    (), ("init",), ("search",), ("front",), ("export",), ("profile",), ("prune",), ("inspect",), ("convert",),
    ("config",), ("config", "check"), ("devices",), ("devices", "list"), ("devices", "check"),
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_help_has_an_example(host, verb: tuple[str, ...]):
    result = host(*verb, "--help")
    assert (result.code, result.err) == (0, "")
    assert "Example: host " in result.out


def test_the_version_is_that_of_the_package(host):
    from edgepareto.host import __version__

    assert host("--version").out == f"edgepareto {__version__}\n"
