from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.host.accuracy import METRICS
from edgepareto.host.config import (
    AGREEMENT,
    METRIC_NAMES,
    DeviceConfig,
    Flags,
    read_settings,
    settings_file,
    starting_file,
)
from edgepareto.host.errors import ConfigError

COMPLETE = """\
model = "resnet.onnx"
study = "runs/first"

[data]
calibration = "calibration.npz"
validation = "photos"
test = "my_data:load_test"
scale = "1/255"
offset = -0.5
layout = "NHWC"

[data.shapes]
x = [1, 3, 224, 224]

[search]
devices = ["jetson2", "local"]
algorithm = "spea2"
generations = 7
min_accuracy = 0.9
max_latency_ms = 5
max_energy_mj = 20.5

[devices.pi1]
simulate = "raspberry-pi-4b"
seed = 4

[devices.jetson2]
address = "127.0.0.1:50051"
threads = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edgepareto.toml"
    path.write_text(COMPLETE)
    return path


def test_every_setting_arrives_in_its_unit_and_paths_are_relative_to_the_file(file: Path):
    settings = read_settings(file, Flags())
    folder = file.parent
    assert settings.model == folder / "resnet.onnx"
    assert settings.study == folder / "runs/first"
    assert settings.data.validation == str(folder / "photos")
    assert settings.data.test == "my_data:load_test"
    assert settings.data.scale == pytest.approx(1 / 255)
    assert settings.data.offset == -0.5
    assert settings.data.layout == "NHWC"
    assert settings.data.shapes == (("x", (1, 3, 224, 224)),)
    assert [device.name for device in settings.devices] == ["jetson2", "local"]
    assert settings.devices[0].threads == 2
    assert settings.search.algorithm == "spea2"
    assert settings.search.constraints.min_accuracy == 0.9
    assert settings.search.constraints.max_latency_s == pytest.approx(5e-3)
    assert settings.search.constraints.max_energy_j == pytest.approx(20.5e-3)


def test_flags_win_and_their_paths_are_relative_to_the_current_folder(file: Path, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    flags = Flags(model="b.onnx", devices=("pi1",), algorithm="random", scale=0.25, shapes=("x=1,3,32,32",))
    settings = read_settings(file, flags)
    assert settings.model == elsewhere / "b.onnx"
    assert [device.name for device in settings.devices] == ["pi1"]
    assert settings.search.algorithm == "random"
    assert settings.data.scale == 0.25
    assert settings.data.shapes == (("x", (1, 3, 32, 32)),)
    assert settings.data.validation == str(file.parent / "photos")


def test_a_budget_that_was_typed_is_not_cut_short_by_the_default_one(file: Path):
    assert read_settings(file, Flags()).search.measurements is None
    assert read_settings(file, Flags(measurements=30)).search.measurements == 30
    assert read_settings(None, Flags()).search.measurements == 200


def test_without_a_choice_every_device_of_the_file_is_searched_and_not_this_machine(tmp_path: Path):
    path = tmp_path / "edgepareto.toml"
    path.write_text('[devices.a]\nsimulate = "raspberry-pi-4b"\n[devices.b]\nsimulate = "jetson-orin-nano"\n')
    assert [device.name for device in read_settings(path, Flags()).devices] == ["a", "b"]
    assert [device.name for device in read_settings(path, Flags()).known] == ["a", "b", "local"]


def test_local_is_always_a_device_and_host_port_needs_no_entry():
    local, board = read_settings(None, Flags(devices=("local", "127.0.0.1:50051"))).devices
    assert local.local
    assert board.address == "127.0.0.1:50051"


def test_python_may_pass_whole_devices():
    device = DeviceConfig(name="pi1", simulate="raspberry-pi-4b")
    assert read_settings(None, Flags(devices=(device,))).devices == (device,)


def test_what_host_init_writes_passes_its_own_check(tmp_path: Path):
    path = tmp_path / "edgepareto.toml"
    path.write_text(starting_file('odd "name".onnx'))
    config = read_settings(path, Flags()).study_config()
    assert config.model == tmp_path / 'odd "name".onnx'
    assert [device.name for device in config.devices] == ["pi1", "jetson2"]


def test_only_the_current_folder_is_looked_into(file: Path, monkeypatch):
    inner = file.parent / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert settings_file() is None
    monkeypatch.chdir(file.parent)
    assert settings_file() == file


def test_the_names_that_a_user_may_choose_are_those_that_exist():
    assert (*METRICS, AGREEMENT) == METRIC_NAMES


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("generations", "generatoins", 18, "[search] generatoins is not a setting; did you mean generations?"),
        ("offset = -0.5", "ofset = 1", 9, "[data] ofset is not a setting; did you mean offset?"),
        ("[search]", "[serach]", 15, "serach is not a setting; did you mean search?"),
        ("seed = 4", "sede = 4", 25, "[devices.pi1] sede is not a setting; did you mean seed?"),
        ("spea2", "spae2", 17, "choose surrogate, nsga2, spea2, sms-emoa, random; did you mean spea2?"),
        ("generations = 7", "generations = 0", 18, "[search] generations = 0: must be a whole number, 1 or more"),
        ("generations = 7", "generations = 7.5", 18, "generations = 7.5: must be a whole number"),
        ("generations = 7", "generations = true", 18, "generations = true: must be a whole number"),
        ('"1/255"', '"1/0"', 8, '[data] scale = "1/0": must be a number'),
        ('"1/255"', "0", 8, "scale = 0: must not be 0"),
        ('"1/255"', "nan", 8, "scale = nan: must be a number"),
        ("NHWC", "HWC", 10, 'layout = "HWC": is not known; choose NCHW, NHWC'),
        ("0.9\n", "1.2\n", 19, "min_accuracy = 1.2: must be a number, more than 0 and at most 1"),
        ("[1, 3, 224, 224]", "[1, -3]", 13, "x = [1, -3]: must be a list of whole numbers, 1 or more"),
        (
            "127.0.0.1:50051",
            "192.168.1.7:50051",
            28,
            "is another machine's, and only boards with credentials are dialled there",
        ),
        ("127.0.0.1:50051", "127.0.0.1", 28, "must read HOST:PORT"),
        ("seed = 4", "local = true", 23, "needs exactly one of simulate"),
        ("raspberry-pi-4b", "raspberry-pi-4", 24, 'simulate = "raspberry-pi-4": is not known; choose jetson-nano'),
        ("seed = 4", 'faults = ["hott"]', 25, "hott is no fault; did you mean hot?"),
        ("seed = 4", 'runtime = "onnx"', 25, 'runtime = "onnx": is not known; choose onnxruntime'),
        ("seed = 4", "pace = -1", 25, "pace = -1: must be 0 (as fast as it goes) or more (1 is real time)"),
        ("threads = 2", 'meter = "ina291"', 29, 'meter = "ina291": is not known; choose auto, ina219'),
        ("threads = 2", "shunt_ohm = 0", 29, "shunt_ohm = 0: must be a number, more than 0"),
        ("threads = 2", "shunt_ohm = 0.1", 29, "is for boards that are installed from here; give ssh as well"),
        ("seed = 4", 'board_id = "0a1b"', 25, "is for boards alone, with ssh or address"),
        ("threads = 2", 'board_id = "Pi 1"', 29, "must be 1 to 48 lower-case letters, digits and -"),
        ("threads = 2", 'trust = "ca.pem"', 29, "give its board_id as well"),
        ("threads = 2", 'ssh = "pi@10.0.0.1:22"', 29, "the port of SSH stands apart"),
        ("threads = 2", 'group = "my pis"', 29, "a group's name is letters, digits, - and _"),
        ("threads = 2", 'ssh = "pi@b"\nport = 70000', 30, "port = 70000: must be 65535 or less"),
        ("threads = 2", 'ssh = "pi@b"\nhost_key = "SHA256:short"', 30, "must read SHA256: and 43 characters"),
        ("threads = 2", 'clock_modes = ["15W"]', 29, "installed from here; set it in the agent.toml of that board"),
        ("seed = 4", 'clock_modes = ["a b"]', 25, "'a b' is no name of a mode, as performance, 1500MHz and 15W are"),
        ("seed = 4", 'clock_modes = ["15W", "15W"]', 25, "must be at most 16 names, each once"),
        ("seed = 4", 'clock_modes = "15W"', 25, "must be a list of texts"),
        ("threads = 2", "pace = 1", 29, "pace = 1: is for simulated boards alone"),
        ("[devices.pi1]", '[devices."pi 1"]', 23, "letters, digits, - and _"),
        ("generations = 7", "generations = ", 18, "is no TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line_what_was_seen_and_what_is_allowed(file: Path, old, new, line, words):
    file.write_text(COMPLETE.replace(old, new))
    with pytest.raises(ConfigError) as told:
        read_settings(file, Flags())
    assert str(told.value).startswith(f"edgepareto.toml:{line}: ")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (Flags(algorithm="nsga3"), "--algorithm nsga3: is not known; choose surrogate, nsga2, spea2, sms-emoa, random"),
        (Flags(metric="top5"), "--metric top5: is not known; choose top1, precision, agreement, module:function"),
        (Flags(preset="fast"), "--preset fast: is not known; choose quick, standard, audit"),
        (Flags(population=1), "--population 1: must be a whole number, 4 or more"),
        (Flags(max_latency_ms=0), "--max-latency-ms 0: must be a number, more than 0"),
        (Flags(devices=("pi2",)), "device pi2 is not known; known are pi1, jetson2, local, or give HOST:PORT"),
        (Flags(devices=("pi1", "pi1")), "pi1 is named twice"),
        (Flags(devices=("example.org:1",)), "first host devices add NAME USER@example.org, then host deploy NAME"),
        (Flags(shapes=("x=1,a",)), "--shape x=1,a: must read INPUT=SIZE"),
    ],
)
def test_a_wrong_flag_is_named_with_what_is_allowed(file: Path, flags, words):
    with pytest.raises(ConfigError) as told:
        read_settings(file, flags)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (Flags(), "no model: give --model"),
        (Flags(model="m.onnx"), "no calibration data: give --calibration"),
        (Flags(model="m.onnx", calibration="c.npz"), "no validation data: give --validation"),
        (Flags(model="m.onnx", calibration="c.npz", validation="v.npz"), "no device: give --devices"),
    ],
)
def test_what_a_search_lacks_is_named_with_the_flag_that_gives_it(flags, words):
    with pytest.raises(ConfigError) as told:
        read_settings(None, flags).study_config()
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("device", "hint"),
    [('simulate = "raspberry-pi-4b"', "shares nothing"), ('address = "127.0.0.1:50051"', "agent.toml of that board")],
)
def test_shared_is_refused_where_nothing_would_come_of_it(tmp_path: Path, device: str, hint: str):
    path = tmp_path / "edgepareto.toml"
    path.write_text(f"{COMPLETE}[devices.pi2]\n{device}\nshared = false\n")
    with pytest.raises(ConfigError, match=f"shared = false: is for local = true and boards with ssh; .*{hint}"):
        read_settings(path, Flags())
