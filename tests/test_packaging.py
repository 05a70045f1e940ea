"""What an installed package promises before it does anything: it starts fast, loads little, ships its types."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from importlib import metadata
from importlib.resources import files

import pytest

HEAVY = (
    "numpy",
    "grpc",
    "onnx",
    "onnxruntime",
    "pymoo",
    "scipy",
    "matplotlib",
    "plotly",
    "paramiko",
    "pandas",
    "PIL",
    "cryptography",
    "tomlkit",
)
HELP_S = 0.5
RUNS = 9


def host(*words: str) -> list[str]:
    return [sys.executable, "-m", "edgepareto.host", *words]


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["--version"], ["no-such-verb"]], ids=" ".join)
def test_no_heavy_library_is_loaded_to_show_help_or_an_error(words: list[str]):
    program = (
        "import json, sys\n"
        "from edgepareto.host.__main__ import main\n"
        f"main({words!r})\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "typer" in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_what_asks_no_board_loads_nothing_that_prunes_or_dials(tmp_path):
    program = (
        "import json, sys\n"
        "from edgepareto.host.__main__ import main\n"
        "main(['devices', 'list'])\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    environment = {**os.environ, "EDGEPARETO_CONFIG": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "edgepareto.host.api.devices" in loaded
    assert not [name for name in HEAVY if name in loaded and name not in ("numpy", "cryptography")]


def test_help_answers_in_half_a_second():
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(host("--help"), stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < HELP_S, seconds


def test_both_names_of_the_command_are_the_same_function():
    scripts = {script.name: script.value for script in metadata.entry_points(group="console_scripts")}
    assert scripts["host"] == scripts["edgepareto"] == "edgepareto.host.__main__:main"
    assert scripts["edgepareto-agent"] == "edgepareto.agent.__main__:main"


@pytest.mark.parametrize("package", ["edgepareto.host", "edgepareto.agent", "edgepareto.profiler"])
def test_every_package_ships_its_types(package: str):
    assert files(package).joinpath("py.typed").is_file()


def test_the_installed_version_is_that_of_the_package():
    from edgepareto.host import __version__

    assert metadata.version("edgepareto") == __version__


def test_the_public_python_functions_are_there_and_typed():
    from edgepareto.host import api

    assert {"search", "load_study", "prune", "inspect", "profile", "export"} <= set(api.__all__)
    for name in api.__all__:
        assert getattr(api, name).__doc__
    with pytest.raises(AttributeError, match=r"edgepareto\.host\.api' has no attribute 'serach'"):
        api.serach  # noqa: B018


def test_a_public_name_is_written_once():
    """It was written three times, so that one of them could be forgotten."""
    package = files("edgepareto.host.api")
    texts = [package.joinpath(name).read_text() for name in ("__init__.py", "__init__.pyi")]
    assert len([line for text in texts for line in text.splitlines() if "board_owners" in line]) == 1


def test_a_broken_pipe_is_no_traceback():
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m edgepareto.host search --help | head -c 1"],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
