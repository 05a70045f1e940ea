from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from edgepareto.host.deploy import wheel_download, wheelhouse
from edgepareto.host.deploy.agent_wheel import agent_requirements, build_agent_wheel
from edgepareto.host.deploy.board_platform import BoardPlatform
from edgepareto.host.deploy.wheelhouse import gather_wheelhouse
from edgepareto.host.errors import DeployError
from fakes.tiny_wheels import write_wheel as wheel

PI = BoardPlatform(architecture="aarch64", python=(3, 11), glibc=(2, 36))
JETSON = BoardPlatform(architecture="aarch64", python=(3, 10), glibc=(2, 35))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can find; no network."""
    folder = tmp_path / "index"
    wheel(folder, "pip", "26.0")
    wheel(folder, "runtime", "2.0", "native>=1", "only_old; python_version < '3.11'", "extra_thing; extra == 'all'")
    wheel(folder, "native", "1.0", tags="cp311-cp311-manylinux_2_36_aarch64")
    wheel(folder, "native", "1.0", tags="cp310-cp310-manylinux_2_28_aarch64")
    wheel(folder, "native", "1.5", tags="cp311-cp311-manylinux_2_39_aarch64")  # the board's C library is older
    wheel(folder, "only_old", "1.0")
    wheel(folder, "extra_thing", "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(wheelhouse, "agent_requirements", lambda: ("runtime>=1", "only_old; python_version < '3.11'"))
    return folder


def names(found: wheelhouse.Wheelhouse) -> set[str]:
    return {wheel.name for wheel in found.wheels if not wheel.name.startswith("edgepareto-")}


def test_only_what_fits_the_board_and_what_it_needs_is_gathered(index: Path, tmp_path: Path):
    found = gather_wheelhouse(PI, cache=tmp_path / "cache")
    assert names(found) == {"runtime-2.0-py3-none-any.whl", "native-1.0-cp311-cp311-manylinux_2_36_aarch64.whl"}
    assert found.installer.name == "pip-26.0-py3-none-any.whl"


def test_markers_are_judged_for_the_board_and_not_for_this_machine(index: Path, tmp_path: Path):
    assert "only_old-1.0-py3-none-any.whl" in names(gather_wheelhouse(JETSON, cache=tmp_path / "cache"))


def test_a_second_board_of_the_kind_needs_no_index(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = gather_wheelhouse(PI, cache=tmp_path / "cache")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    again = gather_wheelhouse(PI, cache=tmp_path / "cache")
    assert again.release == first.release
    assert names(again) == names(first)


def test_a_cached_wheel_that_was_changed_is_fetched_anew(index: Path, tmp_path: Path):
    first = gather_wheelhouse(PI, cache=tmp_path / "cache")
    victim = next(wheel.file for wheel in first.wheels if wheel.name.startswith("native"))
    victim.write_bytes(b"spoiled")
    assert gather_wheelhouse(PI, cache=tmp_path / "cache").release == first.release


def test_every_wheel_is_pinned_by_its_hash(index: Path, tmp_path: Path):
    found = gather_wheelhouse(PI, cache=tmp_path / "cache")
    lines = dict(line.split(" --hash=sha256:") for line in found.requirements_text.splitlines())
    assert lines["runtime==2.0"] == hashlib.sha256((index / "runtime-2.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert len(lines) == len(found.wheels)


def test_a_given_wheel_wins_and_a_complete_folder_needs_no_index(index: Path, tmp_path: Path, monkeypatch):
    given = tmp_path / "given"
    wheel(given, "pip", "25.0")
    wheel(given, "runtime", "1.0", "native")
    wheel(given, "native", "0.9", tags="cp311-cp311-linux_aarch64")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    found = gather_wheelhouse(PI, given=given, cache=tmp_path / "cache")
    assert names(found) == {"runtime-1.0-py3-none-any.whl", "native-0.9-cp311-cp311-linux_aarch64.whl"}


def test_nvidias_wheel_stands_in_for_onnxruntime(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wheelhouse, "agent_requirements", lambda: ("runtime>=1", "onnxruntime>=1.23"))
    given = tmp_path / "given"
    wheel(given, "onnxruntime_gpu", "1.23.0", tags="cp310-cp310-linux_aarch64")
    found = names(gather_wheelhouse(JETSON, given=given, cache=tmp_path / "cache"))
    assert "onnxruntime_gpu-1.23.0-cp310-cp310-linux_aarch64.whl" in found


@pytest.mark.parametrize(
    ("tags", "words"),
    [("cp310-cp310-linux_aarch64", "does not fit the board"), ("cp311-cp311-linux_x86_64", "does not fit the board")],
)
def test_a_given_wheel_for_another_board_is_refused(index: Path, tmp_path: Path, tags: str, words: str):
    wheel(tmp_path / "given", "native", "1.0", tags=tags)
    with pytest.raises(DeployError, match=words):
        gather_wheelhouse(PI, given=tmp_path / "given", cache=tmp_path / "cache")


def test_a_given_file_that_is_no_wheel_is_refused(index: Path, tmp_path: Path):
    given = tmp_path / "given"
    given.mkdir()
    (given / "runtime-2.0-py3-none-any.whl").write_text("half a download")
    with pytest.raises(DeployError, match=r"runtime-2.0-py3-none-any.whl: is no wheel.*download it again"):
        gather_wheelhouse(PI, cache=tmp_path / "cache", given=given)


def test_a_given_wheel_that_goes_with_nothing_else_is_named(index: Path, tmp_path: Path):
    given = tmp_path / "given"
    wheel(given, "runtime", "0.5")
    with pytest.raises(DeployError, match=r"do not go together: runtime==0.5 and runtime>=1; .*--wheelhouse"):
        gather_wheelhouse(PI, cache=tmp_path / "cache", given=given)


def test_a_package_without_a_wheel_for_the_board_is_named(index: Path, tmp_path: Path):
    old = BoardPlatform(architecture="aarch64", python=(3, 12), glibc=(2, 36))
    with pytest.raises(DeployError, match=r"no wheel of .*native.*Python 3\.12"):
        gather_wheelhouse(old, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/*.json"))


def test_an_environment_without_pip_is_told_the_ways_out(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wheel_download.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(wheelhouse, "build_agent_wheel", build_agent_wheel)
    monkeypatch.setattr("edgepareto.host.deploy.agent_wheel._sources", lambda: iter([("a.py", b"")]))
    with pytest.raises(DeployError, match=r"has no pip.*--wheelhouse DIR"):
        gather_wheelhouse(PI, cache=tmp_path / "cache")


def test_the_agents_wheel_is_the_same_bytes_each_time_and_holds_no_host():
    one, two = build_agent_wheel(), build_agent_wheel()
    assert one.content == two.content
    with zipfile.ZipFile(io.BytesIO(one.content)) as archive:
        files = archive.namelist()
        about = archive.read(f"edgepareto-{one.version}.dist-info/METADATA").decode()
    assert "edgepareto/agent/__main__.py" in files
    assert "edgepareto/profiler/v1/profiler_pb2.py" in files
    assert not [name for name in files if name.startswith("edgepareto/host")]
    assert "Requires-Dist: grpcio" in about
    assert "paramiko" not in about


def test_the_agent_needs_its_own_extra_alone():
    lines = " ".join(agent_requirements())
    assert "onnxruntime" in lines
    assert "smbus2" in lines
    assert not [name for name in ("paramiko", "pymoo", "ruff", "tflite", "psutil") if name in lines]
    assert "extra" not in lines


def test_the_list_of_the_cache_names_hashes(index: Path, tmp_path: Path):
    gather_wheelhouse(PI, cache=tmp_path / "cache")
    (listed,) = (tmp_path / "cache").glob("aarch64-*/wheelhouse.json")
    assert all(len(digest) == 64 for digest in json.loads(listed.read_text()).values())
