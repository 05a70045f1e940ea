"""Who a board is, read from a fake tree."""

from __future__ import annotations

from pathlib import Path

from edgepareto.agent.device_info import read_device_info


def pi(root: Path) -> Path:
    files = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/device-tree/serial-number": "10000000abcdef01\0",
        "proc/sys/kernel/random/boot_id": "6d4a6e0e-1111-2222-3333-444455556666\n",
        "proc/meminfo": "MemTotal:        3884372 kB\nMemFree:          100000 kB\n",
        "etc/os-release": 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "etc/machine-id": "another identity\n",
        "sys/class/dmi/id/product_name": "not on a Pi\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_raspberry_pi_is_named_by_its_device_tree(tmp_path: Path):
    info = read_device_info(pi(tmp_path), default_threads=4, shares_host_cores=False)
    assert info.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert info.os == "Debian GNU/Linux 12 (bookworm)"
    assert info.memory_bytes == 3_884_372 * 1024
    assert info.boot_id == info.host_boot_id == "6d4a6e0e-1111-2222-3333-444455556666"


def test_a_boards_id_is_its_serial_number_but_does_not_tell_it(tmp_path: Path):
    first = read_device_info(pi(tmp_path), default_threads=1, shares_host_cores=False).board_id
    (tmp_path / "etc/machine-id").write_text("installed anew\n")
    assert read_device_info(tmp_path, default_threads=1, shares_host_cores=False).board_id == first
    (tmp_path / "proc/device-tree/serial-number").write_text("10000000abcdef02\0")
    assert read_device_info(tmp_path, default_threads=1, shares_host_cores=False).board_id != first
    assert "abcdef" not in first


def test_a_box_that_tells_nothing_is_still_described(tmp_path: Path):
    info = read_device_info(tmp_path, default_threads=1, shares_host_cores=True)
    assert (info.board != "", info.host_boot_id, info.boot_id) == (True, None, "unknown")
