"""A meter that is misnamed, or configured and silent: what the agent's user and the host's user are told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent.server import METER_SERVICE
from edgepareto.host.__main__ import main as host
from edgepareto.host.config import DeviceConfig
from edgepareto.host.fleet import probe
from edgepareto.host.fleet.channel import open_channel
from fakes.models import classifier, save
from grpc_health.v1 import health_pb2, health_pb2_grpc

DEADLINE_S = 30
NO_SUCH_BUS = 99


def command(folder: Path, meter: str) -> list[str]:
    config = folder / "agent.toml"
    config.write_text(f"[meter]\n{meter}\n")
    words = [sys.executable, "-m", "edgepareto.agent", "--config", str(config), "--state", str(folder / "state")]
    return [*words, "--listen", "127.0.0.1:0", "--shared"]


def test_an_unknown_meter_is_refused_with_the_known_ones_and_the_nearest(tmp_path: Path):
    done = subprocess.run(command(tmp_path, 'kind = "ina29"'), capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert "[meter]: no meter is called 'ina29': known are ina219, hwmon" in done.stderr
    assert done.stderr.endswith("did you mean 'ina219'?\n")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceConfig]:
    """An agent on this machine with an INA219 on a bus that does not exist, and settings that call it pi1."""
    meter = f'kind = "ina219"\nbus = {NO_SUCH_BUS}'
    process = subprocess.Popen(command(tmp_path, meter), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    device = DeviceConfig(name="pi1", address=json.loads(process.stdout.readline())["listening"])
    (tmp_path / "edgepareto.toml").write_text(f'[devices.pi1]\naddress = "{device.address}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    yield device
    process.terminate()
    _, log = process.communicate(timeout=DEADLINE_S)
    assert f"the power meter cannot be used: /dev/i2c-{NO_SUCH_BUS} does not exist" in log


def test_a_meter_that_is_silent_at_the_start_is_told_by_device_info_health_and_the_host(silent: DeviceConfig, capsys):
    info = probe(silent)
    assert info.meter is not None
    assert info.meter.fault is not None
    assert f"/dev/i2c-{NO_SUCH_BUS} does not exist" in info.meter.fault
    with open_channel(silent.address) as dialled:
        stub = health_pb2_grpc.HealthStub(dialled)
        answers = {
            service: stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status
            for service in ("", METER_SERVICE)
        }
    status = health_pb2.HealthCheckResponse
    assert answers == {"": status.SERVING, METER_SERVICE: status.NOT_SERVING}
    assert host(["devices", "check", "pi1"]) == 0
    assert f"ina219 (/dev/i2c-{NO_SUCH_BUS} does not exist" in capsys.readouterr().out


def test_a_model_is_measured_without_energy_where_the_meter_is_silent_and_the_line_says_why(
    silent: DeviceConfig, tmp_path: Path, capsys
):
    save(classifier(), tmp_path / "net.onnx")
    assert host(["profile", "net.onnx", "--devices", "pi1", "--preset", "quick"]) == 0
    told = capsys.readouterr()
    assert f"  ! pi1: no energy, METER_ABSENT: /dev/i2c-{NO_SUCH_BUS} does not exist: switch I2C on" in told.out
    assert " ms" in told.out
    assert " mJ" not in told.out
