"""The command on the board: one clear line and exit code 2 for wrong use, an orderly end on a signal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest
from edgepareto.agent.errors import ConfigError
from edgepareto.agent.power import MeterSetting
from edgepareto.agent.server import checked_address
from edgepareto.agent.settings import read_settings
from edgepareto.profiler.v1 import profiler_pb2, profiler_pb2_grpc
from fakes.power_trees import hwmon, rapl

DEADLINE_S = 30


def agent(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgepareto.agent", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)


def test_without_credentials_the_agent_refuses_to_listen_to_a_network(tmp_path: Path):
    done = agent("--listen", "0.0.0.0:50051", "--state", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "edgepareto-agent: refusing to listen on 0.0.0.0:50051: without credentials anyone who reaches it could use "
        "this board; use 127.0.0.1:50051\n"
    )


@pytest.mark.parametrize(
    ("obstacle", "said"), [("state", "File exists"), ("state/lock/x", "Is a directory"), ("state/blobs", "File exists")]
)
def test_a_state_folder_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, obstacle: str, said: str):
    (tmp_path / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / obstacle).touch()
    done = agent("--simulate", "raspberry-pi-4b", "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"edgepareto-agent: {tmp_path}/state")
    assert f"cannot be used: {said}; the agent's user must be able to write there" in done.stderr


@pytest.mark.parametrize(
    "address", ["0.0.0.0:1", "[::]:1", "192.168.1.5:1", "pi1.local:1", ":1", "127.0.0.1", "unix:a"]
)
def test_addresses_that_are_refused(address: str):
    with pytest.raises(ConfigError, match="listen on"):
        checked_address(address, secured=False)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:50051", "192.168.1.5:1", "pi1.local:1"])
def test_with_credentials_every_address_is_taken(address: str):
    assert checked_address(address, secured=True) == address


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.9.9.9:50051", "localhost:1", "[::1]:1"])
def test_addresses_of_this_machine_are_taken(address: str):
    assert checked_address(address, secured=False) == address


def test_a_socket_in_a_folder_that_others_may_enter_is_refused(tmp_path: Path):
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=f"chmod 700 {tmp_path}"):
        checked_address(f"unix:{tmp_path}/agent.sock", secured=False)
    tmp_path.chmod(0o700)
    checked_address(f"unix:{tmp_path}/agent.sock", secured=False)


def test_every_line_of_the_example_can_be_used(tmp_path: Path):
    """Uncommented in pieces: each table as it stands there."""
    text = (Path(__file__).parents[2] / "deploy" / "agent.toml.example").read_text()
    config = tmp_path / "agent.toml"
    for table in ("credentials", "workers", "clocks"):
        (lines,) = re.findall(rf"^# \[{table}\]\n(?:# \w+ = .*\n)+", text, re.MULTILINE)
        config.write_text(lines.replace("# ", "", 1).replace("\n# ", "\n"))
        read_settings(["--config", str(config)])
    config.write_text(text)
    assert read_settings(["--config", str(config)]).credentials is None


def test_agent_toml_is_read_and_flags_win_over_it(tmp_path: Path):
    config = tmp_path / "agent.toml"
    config.write_text(
        f'listen = "127.0.0.1:1"\nstate = "{tmp_path}"\nthreads = 4\n[meter]\nkind = "ina219"\nshunt_ohm = 0.01\n'
    )
    settings = read_settings(["--config", str(config), "--listen", "127.0.0.1:2"])
    assert (settings.listen, settings.state, settings.threads, settings.shared) == ("127.0.0.1:2", tmp_path, 4, False)
    assert settings.meter is not None
    assert (settings.meter.kind, settings.meter.address, settings.meter.shunt_ohm) == ("ina219", 0x40, 0.01)


def test_a_meter_is_chosen_by_chip_and_rail(tmp_path: Path):
    config = tmp_path / "agent.toml"
    config.write_text('[meter]\nkind = "hwmon"\nchip = "ina226"\nrail = "VDD_BOARD"\nshunt_ohm = 0.002\n')
    meter = read_settings(["--config", str(config)]).meter
    assert meter == MeterSetting(kind="hwmon", chip="ina226", rail="VDD_BOARD", shunt_ohm=0.002)


def test_meters_lists_what_it_finds_with_a_reading_and_what_to_do_about_the_rest(tmp_path: Path):
    """The fake tree has an INA226, set up for the shunt of another module in agent.toml."""
    files = {"power1_input": 2_612_000, "in1_input": 5021, "update_interval": 35, "shunt_resistor": 100_000}
    hwmon(tmp_path, 3, "ina226", files, device="1-0044")
    config = tmp_path / "agent.toml"
    config.write_text(f'sys_root = "{tmp_path}"\n')
    done = agent("meters", "--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["kind", "where", "watts", "samples/s", "quality"]
    kind, *where, watts, rate, quality = next(line for line in lines if line.startswith("hwmon")).split()
    assert (kind, where, watts, quality) == ("hwmon", ["ina226", "1-0044"], "2.612", "measured")
    assert 15 < float(rate) <= 26.5, "one in 38.5 ms, less where this machine is busy"
    assert [line.split()[0] for line in lines if line.endswith("absent")] == ["ina219", "jetson", "pi5_pmic", "rapl"]
    assert any("does not exist: this is no Raspberry Pi 5" in line for line in lines)
    assert lines[lines.index("for agent.toml:") + 1 :] == [
        "[meter]",
        'kind = "hwmon"',
        'chip = "ina226"',
        "bus = 1",
        "address = 0x44",
        "shunt_ohm = 0.1  # correct it to what is printed on the shunt: R100 is 0.1",
    ]


def test_a_shunt_that_the_kernel_only_assumes_is_not_taken_for_the_boards(tmp_path: Path):
    """ina2xx takes 10 mohm for the usual module's 100: ten times the power."""
    tree = {"power1_input": 2_612_000, "shunt_resistor": 10_000}
    hwmon(tmp_path, 3, "ina226", tree, device="1-0044")
    config = tmp_path / "agent.toml"
    config.write_text(f'sys_root = "{tmp_path}"\n[meter]\nkind = "auto"\n')
    told = agent("meters", "--config", str(config)).stdout
    assert "the kernel calculates with a shunt of 0.01 ohm, shunt_ohm in agent.toml is 0.1" in told
    assert "no meter works" in told
    config.write_text(f'sys_root = "{tmp_path}"\n[meter]\nkind = "auto"\nshunt_ohm = 0.01\n')
    assert "\nshunt_ohm = 0.01 " in agent("meters", "--config", str(config)).stdout


@pytest.mark.parametrize("tree", [{}, {"power1_input": 2_612_000, "shunt_resistor": 10_000}])
def test_auto_without_any_meter_starts_all_the_same_and_says_it_once(tmp_path: Path, tree: dict[str, int]):
    if tree:
        hwmon(tmp_path, 3, "ina226", tree, device="1-0044")
    config = tmp_path / "agent.toml"
    config.write_text(f'sys_root = "{tmp_path}"\n[meter]\nkind = "auto"\n')
    words = ["--config", str(config), "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")]
    command = [sys.executable, "-m", "edgepareto.agent", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert log.count('the power meter cannot be used: kind = "auto" found no meter that works') == 1


def test_auto_takes_the_best_that_works(tmp_path: Path):
    hwmon(tmp_path, 3, "ina226", {"power1_input": 2_612_000, "shunt_resistor": 2_000}, device="1-0044")
    rapl(tmp_path, 0)  # which stands still, as a broken one does
    config = tmp_path / "agent.toml"
    config.write_text(f'sys_root = "{tmp_path}"\n[meter]\nkind = "auto"\nshunt_ohm = 0.002\n')
    words = ["--config", str(config), "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")]
    command = [sys.executable, "-m", "edgepareto.agent", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["listening"]
        try:
            with grpc.insecure_channel(address) as channel:
                request = profiler_pb2.GetDeviceInfoRequest(protocol_version=1)
                meter = profiler_pb2_grpc.ProfilerStub(channel).GetDeviceInfo(request, timeout=DEADLINE_S).meter
        finally:
            process.terminate()
        _, log = process.communicate(timeout=DEADLINE_S)
    assert (meter.kind, meter.rail, meter.HasField("fault"), log) == ("hwmon", "ina226 1-0044", False, "")


@pytest.mark.parametrize(
    ("flags", "shared"),
    [([], False), (["--local"], True), (["--local", "--no-shared"], False), (["--shared"], True)],
)
def test_the_hosts_own_machine_is_shared_unless_told_otherwise(flags: list[str], shared: bool):
    assert read_settings(flags).shared is shared


def test_a_simulated_board_is_never_shared():
    with pytest.raises(ConfigError, match="--shared is for real boards"):
        read_settings(["--simulate", "raspberry-pi-4b", "--shared"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lissten = 'x'", "unknown key 'lissten'; known are listen, state"),
        ("threads = 'two'", "threads is 'two', wanted a whole number"),
        ("threads = true", "threads is True"),
        ("threads = 0", "threads is 0, wanted at least 1"),
        ("[meter]\nbus = 1", "kind is missing"),
        (
            "[meter]\nkind = 'ina212'",
            "[meter]: no meter is called 'ina212': known are ina219, hwmon, jetson, pi5_pmic, rapl, auto; "
            "did you mean 'ina219'?",
        ),
        ("[meter]\nkind = 'hwmon'\nrail = 3", "rail is 3, wanted text in quotes"),
        ("[meter]\nkind = 'ina219'\naddress = 0x99", "address is 0x99"),
        ("[meter]\nkind = 'ina219'\nshunt_ohm = 0.0", "shunt_ohm is 0.0"),
        ("[meter]\nkind = 'ina219'\nshunt_ohm = nan", "shunt_ohm is nan, wanted more than 0"),
        ("[meter]\nkind = 'ina219'\nshunt_ohm = inf", "shunt_ohm is inf, wanted more than 0"),
        ("[meter]\nkind = 'auto'\nchip = 'ina226'", "chip would be ignored; remove it, or name the kind"),
        ("[meter", "agent.toml: "),
        ("meter = 3", "meter is 3, wanted a table, as [meter]"),
        ("[credentials]\nfolder = ''", "[credentials]: folder is '', wanted an absolute path"),
        ("credentials = '/etc'", "credentials is '/etc', wanted a table, as [credentials]"),
        ("[workers]\nsocket = 'worker.sock'", "[workers]: socket is 'worker.sock', wanted an absolute path"),
        ("[workers]\nsockets = '/a'", "[workers]: unknown key 'sockets'; known are socket"),
        ("sys_root = ''", "sys_root is '', wanted a folder"),
    ],
)
def test_a_wrong_agent_toml_is_named_with_what_is_allowed(tmp_path: Path, text: str, said: str):
    config = tmp_path / "agent.toml"
    config.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_settings(["--config", str(config)])
    assert said in str(refusal.value)


def test_more_threads_than_the_board_has_cores_are_refused_at_the_start(tmp_path: Path):
    config = tmp_path / "agent.toml"
    config.write_text("threads = 9999\n")
    done = agent("--config", str(config), "--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (2, "")
    cores = os.cpu_count()
    assert done.stderr == f"edgepareto-agent: agent.toml: threads is 9999, wanted 1 to {cores}: this board's cores\n"


def test_meters_looks_at_this_machine_and_not_at_a_simulated_board():
    done = agent("meters", "--simulate", "raspberry-pi-4b")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "a simulated board has its own" in done.stderr


# A shell's background job, which a test run may be, ignores SIGINT, and so does all that it starts.
HEEDING_CTRL_C = """
import signal, sys
from edgepareto.agent.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def test_ctrl_c_while_meters_are_read_ends_it_quietly(tmp_path: Path):
    hwmon(tmp_path, 3, "ina226", {"power1_input": 2_612_000, "shunt_resistor": 100_000}, device="1-0044")
    config = tmp_path / "agent.toml"
    config.write_text(f'sys_root = "{tmp_path}"\n')
    command = [sys.executable, "-c", HEEDING_CTRL_C, "meters", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until_it_has_a_child(process.pid)  # a meter's sampler
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, *told) == (130, "", "")


def until_it_has_a_child(pid: int) -> None:
    waited = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        if Path(f"/proc/{pid}/task/{pid}/children").read_text():
            return
        waited.wait(0.02)
    pytest.fail(f"process {pid} has started nothing after {DEADLINE_S} s")


def test_the_agent_says_where_it_listens_and_ends_in_order_on_a_signal(tmp_path: Path):
    command = [sys.executable, "-m", "edgepareto.agent", "--listen", "127.0.0.1:0", "--state", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["listening"].startswith("127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, log) == (0, "")
