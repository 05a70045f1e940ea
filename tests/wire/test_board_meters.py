"""Energy of a real batch on this machine, by meters that stand in a fake /sys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from edgepareto.host.__main__ import main as host
from fakes.models import classifier, save
from fakes.power_trees import hwmon, ina3221_hwmon

DEADLINE_S = 30
# New values come slowly, so that a machine that is busy with other tests misses none.
ORIN = [("VDD_IN", 5000, 1000), ("VDD_CPU_GPU_CV", 5000, 300), ("VDD_SOC", 5000, 300)]
INA226 = {
    "power1_input": 2_612_000,
    "in0_input": 52,
    "in1_input": 5020,
    "shunt_resistor": 100_000,
    "update_interval": 300,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What stands below sys_root, agent.toml's [meter], and what the host must say of it. rate_hz: at most."""

    build: Callable[[Path], object]
    settings: str
    meter: dict[str, object]
    power_w: float
    bus_v: float
    rate_hz: float


CASES = {
    "lab": Case(
        build=lambda root: hwmon(root, 3, "ina226", INA226, device="1-0044"),
        settings='kind = "hwmon"',
        meter={"kind": "hwmon", "quality": "measured", "address": 0x44, "shunt_ohm": 0.1, "rail": "ina226 1-0044"},
        power_w=2.612,
        bus_v=5.02,
        rate_hz=1 / 0.33,
    ),
    "orin": Case(
        build=lambda root: ina3221_hwmon(root, 1, ORIN, interval_ms=300),
        settings='kind = "auto"',
        meter={"kind": "jetson", "quality": "measured", "rail": "VDD_IN"},
        power_w=5.0,
        bus_v=5.0,
        rate_hz=1 / 0.3,
    ),
}


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One agent per case, and settings of the host that call it by the case's name."""
    lines = []
    with ExitStack() as ending:
        for name, case in CASES.items():
            root = tmp_path / name / "root"
            root.mkdir(parents=True)
            case.build(root)
            config = tmp_path / name / "agent.toml"
            config.write_text(f'sys_root = "{root}"\nshared = true\n[meter]\n{case.settings}\n')
            words = ["--config", str(config), "--state", str(tmp_path / name / "state"), "--listen", "127.0.0.1:0"]
            process = subprocess.Popen(
                [sys.executable, "-m", "edgepareto.agent", *words], stdout=subprocess.PIPE, text=True
            )
            ending.callback(process.communicate, timeout=DEADLINE_S)
            ending.callback(process.terminate)
            assert process.stdout is not None
            lines += [f"[devices.{name}]", f'address = "{json.loads(process.stdout.readline())["listening"]}"']
        (tmp_path / "edgepareto.toml").write_text("\n".join(lines) + "\n")
        monkeypatch.chdir(tmp_path)
        yield


@pytest.mark.usefixtures("agents")
def test_a_batch_is_measured_with_the_meters_of_boards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(classifier(), tmp_path / "net.onnx")
    assert host(["profile", "net.onnx", "--devices", ",".join(CASES), "--preset", "quick", "--json"]) == 0
    results = {result["device"]: result for result in json.loads(capsys.readouterr().out)["results"]}
    assert set(results) == set(CASES)
    for name, case in CASES.items():
        result = results[name]
        assert result.get("meter_status") is None, result
        assert result["meter"] == case.meter
        assert [result[key] for key in ("power_w", "idle_power_w", "peak_power_w")] == pytest.approx([case.power_w] * 3)
        assert result["energy_j"] == pytest.approx(case.power_w * result["latency_in_windows_s"])
        assert result["dynamic_energy_j"] == pytest.approx(0.0, abs=1e-12)
        assert result["lowest_bus_v"] == case.bus_v
        assert case.rate_hz / 2 < result["sample_rate_hz"] <= case.rate_hz * 1.4  # whole samples in one second
        assert "CNVR_NOT_CLEARING" not in result.get("tags", [])
