"""The systemd units say what we promise: what a worker cannot reach, and that nothing of it outlives the agent."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
AGENT, WORKER, SOCKET = "edgepareto-agent.service", "edgepareto-worker@.service", "edgepareto-worker.socket"
CLOCKS, CLOCK_SOCKET = "edgepareto-clocks@.service", "edgepareto-clocks.socket"
HIGHEST_EXPOSURE = 2.0  # of systemd-analyze security, 0 to 10

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(unit: str) -> Mapping[str, Sequence[str]]:
    """Every value by its key; no key stands in two sections of ours."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / unit).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_a_worker_has_no_network_no_credentials_no_device_and_nothing_to_write_to():
    worker = settings(WORKER)
    assert worker["PrivateNetwork"] == worker["PrivateDevices"] == worker["PrivateTmp"] == ["yes"]
    assert worker["InaccessiblePaths"] == ["-/etc/edgepareto"]
    assert worker["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in worker
    assert "/var:ro" in worker["TemporaryFileSystem"][0]
    assert worker["BindReadOnlyPaths"] == ["/var/lib/edgepareto-agent/blobs"]
    assert worker["CapabilityBoundingSet"] == [""]


def test_a_worker_ends_with_the_agent_with_all_that_it_started_and_before_anything_else_for_memory():
    worker = settings(WORKER)
    assert worker["BindsTo"] == worker["PartOf"] == [AGENT]
    assert worker["KillMode"] == ["control-group"]
    assert worker["OOMScoreAdjust"] == ["1000"]
    assert worker["MemoryMax"][0].endswith("%"), "a share of the board, whatever it has"
    assert {"TasksMax", "RuntimeMaxSec"} <= worker.keys()
    assert worker["CollectMode"] == ["inactive-or-failed"], "thousands of workers leave no unit behind"


def test_agent_and_worker_are_the_same_user_which_alone_may_start_workers():
    agent, worker, socket = settings(AGENT), settings(WORKER), settings(SOCKET)
    assert agent["User"] == worker["User"] == socket["SocketUser"] == ["edgepareto"]
    assert socket["SocketMode"] == ["0600"]
    assert socket["Accept"] == ["yes"]
    assert worker["StandardInput"] == worker["StandardOutput"] == ["socket"]


def test_a_worker_opens_models_of_the_agents_own_folder_alone():
    (start,) = settings(WORKER)["ExecStart"]
    (agent_start,) = settings(AGENT)["ExecStart"]
    store = re.search(r"--store (\S+)$", start)
    assert store is not None
    state = store[1].removesuffix("/blobs")
    assert f"--state {state}" in agent_start
    assert state == f"/var/lib/{settings(AGENT)['StateDirectory'][0]}"
    assert store[1] == settings(WORKER)["BindReadOnlyPaths"][0], "and of the rest of it, as results, nothing is there"


def test_the_agent_survives_a_worker_is_watched_and_is_not_restarted_for_a_mistake_in_its_settings():
    agent = settings(AGENT)
    assert agent["Type"] == ["notify"]
    assert agent["OOMPolicy"] == ["continue"]
    assert agent["Restart"] == ["on-failure"]
    assert agent["RestartPreventExitStatus"] == ["2"]
    assert {"WatchdogSec", "StartLimitIntervalSec", "StartLimitBurst"} <= agent.keys()
    assert agent["DevicePolicy"] == ["closed"]
    assert "DeviceAllow" not in agent, "the installer writes what this board has"


@pytest.mark.parametrize("unit", [AGENT, WORKER])
def test_what_the_measurement_needs_stays_open(unit: str):
    """/proc/stat and boot_id (ProcSubset=pid hides them); sched_setaffinity and setrlimit (@resources)."""
    found = settings(unit)
    assert "ProcSubset" not in found
    assert not any("@resources" in value for value in found["SystemCallFilter"])
    assert "PrivateUsers" not in found, "another user namespace hides a worker from the agent that watches its memory"


def test_what_sets_the_clocks_as_root_writes_nothing_else_and_is_the_agents_alone():
    clocks, socket = settings(CLOCKS), settings(CLOCK_SOCKET)
    assert clocks["User"] == ["root"]
    assert clocks["CapabilityBoundingSet"] == [""]
    assert clocks["PrivateDevices"] == clocks["NoNewPrivileges"] == ["yes"]
    assert (clocks["RestrictAddressFamilies"], clocks["IPAddressDeny"]) == (["none"], ["any"])
    assert clocks["ProtectSystem"] == ["strict"]
    assert clocks["ReadOnlyPaths"] == ["/sys", "/proc/sys"]
    assert clocks["ReadWritePaths"] == ["/sys/devices/system/cpu"]
    assert clocks["StateDirectoryMode"] == ["0700"], "what is put back as root is told by root alone"
    assert (socket["SocketUser"], socket["SocketMode"]) == (["edgepareto"], ["0600"])
    assert settings(WORKER)["RestrictAddressFamilies"] == ["none"], "a worker, the same user, can connect to nothing"


def test_what_sets_the_clocks_runs_roots_own_program_and_list_and_puts_back_after_a_kill():
    (start,), (stop) = settings(CLOCKS)["ExecStart"], settings(CLOCKS)["ExecStopPost"]
    assert start.startswith("/opt/edgepareto/current/bin/python -I -m edgepareto.agent.conditions.clock_service ")
    assert "--allowed /etc/edgepareto/clock-modes " in start
    (state,) = settings(CLOCKS)["StateDirectory"]
    assert f"--saved /var/lib/{state}/" in start
    assert stop == [start.replace("clock_service ", "clock_service --restore ")]


@needs_systemd
@pytest.mark.parametrize("unit", [AGENT, WORKER, CLOCKS])
def test_the_exposure_of_a_unit_is_at_most_two(unit: str, tmp_path: Path):
    shutil.copy(DEPLOY / unit, tmp_path)
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={int(HIGHEST_EXPOSURE * 10)}"]
    told = subprocess.run([*command, str(tmp_path / unit)], capture_output=True, text=True)
    overall = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    if overall is None:
        pytest.skip(f"this systemd-analyze rates no unit offline: {told.stderr.strip()[:200]}")
    assert float(overall[1]) <= HIGHEST_EXPOSURE, told.stdout


@needs_systemd
def test_systemd_knows_every_line_of_the_units(tmp_path: Path):
    for unit in (AGENT, WORKER, SOCKET, CLOCKS, CLOCK_SOCKET):
        text = (DEPLOY / unit).read_text().replace("/opt/edgepareto/current/bin/edgepareto-agent", "/bin/true")
        text = text.replace("/opt/edgepareto/current/bin/python", "/bin/true").replace("network-online.target", "")
        (tmp_path / unit).write_text(re.sub(r"^(Wants|After)=$", "", text, flags=re.MULTILINE))
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_LOG_COLOR": "0", "PATH": "/usr/bin:/bin"},
    )
    ours = [line for line in told.stderr.splitlines() if "edgepareto" in line]
    assert not [line for line in ours if "Unknown" in line or "Failed to parse" in line or "ignoring" in line], ours
