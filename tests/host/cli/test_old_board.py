"""An agent where LiteRT is tflite-runtime beside numpy 1: what a host sees of it, really measured on this machine."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.fleet import probe
from fakes.old_board import ABSENT, can_be_made, programs_of_old_board

pytestmark = pytest.mark.skipif(not can_be_made(), reason=ABSENT)
OLD = """
[devices.old]
address = "{address}"
runtime = "litert"
"""


@pytest.fixture
def old_board(project: Path) -> Iterator[DeviceConfig]:
    """Its agent runs, and the project names it `old`."""
    programs = programs_of_old_board()
    with tempfile.TemporaryDirectory(prefix="ep-old-") as folder:  # short: a socket's path holds 107 bytes
        command = [programs / "edgepareto-agent", "--listen", f"unix:{folder}/agent.sock", "--shared"]
        agent = subprocess.Popen([*command, "--state", f"{folder}/state"], stdout=subprocess.PIPE, text=True)
        assert agent.stdout is not None
        address = json.loads(agent.stdout.readline())["listening"]
        settings = project / "edgepareto.toml"
        settings.write_text(settings.read_text() + OLD.format(address=address))
        yield DeviceConfig(name="old", address=address)
        agent.kill()
        agent.communicate()


def test_a_host_measures_on_it_and_is_told_the_library(host, old_board: DeviceConfig):
    result = host("profile", "net.onnx", "--devices", "old", "--preset", "quick", "--json", "--quiet")
    assert result.code == 0, result.err
    [measured] = json.loads(result.out)["results"]
    assert (measured["status"], measured["runtime"], measured["provider"]) == ("OK", "litert", "XNNPACK")
    assert measured["runtime_version"].endswith(" (tflite-runtime)")
    [runtime] = probe(old_board).runtimes
    assert (runtime.name, runtime.version) == ("litert", measured["runtime_version"])
