"""A look at a board before anything is installed: its facts, and whether they will do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.deploy.ssh_shell import Shell
from edgepareto.host.domain.board_facts import (
    NEWEST_PYTHON,
    OLDEST_PYTHON,
    BoardFacts,
    Check,
    CheckState,
    Disk,
    I2cBus,
    PythonFound,
    Sudo,
)
from edgepareto.host.errors import DeployError

__all__ = ["AGENT_PORT", "SCRIPT", "Wanted", "judge", "look_over", "read_facts"]

SCRIPT = Path(__file__).with_name("preflight.sh")
AGENT_PORT = 50051
NEEDED_BYTES = {
    "/opt": 400 << 20,
    "/var/lib": 100 << 20,
    "/var/tmp": 150 << 20,
}  # programs; models; what is carried over
FEWEST_MEMORY_BYTES, ROOMY_MEMORY_BYTES = 400 << 20, 900 << 20  # a board of 512 MB says less, the kernel has its share
OLDEST_GLIBC = (2, 28)
ARCHITECTURES = {"aarch64": 64, "x86_64": 64}
MOST_SKEW_S = 120.0
AGENT_USER = "edgepareto"
SUDO_GROUPS = frozenset(("sudo", "wheel", "admin"))
I2C_METERS = ("ina219",)
PI_64 = "a Pi 3, 4, 5 or Zero 2 W runs the 64-bit Raspberry Pi OS: flash that"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be installed. meter: its kind, None: whatever is found."""

    agent_version: str | None = None
    meter: str | None = None
    port: int = AGENT_PORT
    clock_modes: tuple[str, ...] = ()


def look_over(shell: Shell, name: str, *, port: int = AGENT_PORT) -> BoardFacts:
    """Changes nothing on the board. name: the device's, for messages. Raises DeployError."""
    began = time.time()
    text = shell.check(f"sh -s -- '' {port}", stdin=SCRIPT.read_bytes(), timeout_s=120)
    # The script tells the time in its first lines; on a slow board it runs for seconds after that.
    return read_facts(text, name, asked_at_s=began, port=port)


def read_facts(text: str, name: str, *, asked_at_s: float, port: int = AGENT_PORT) -> BoardFacts:
    """text: what preflight.sh printed. Raises DeployError where it is not whole."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, is_fact, value = line.partition("=")
        if is_fact:
            found.setdefault(key, []).append(value.strip())
    if found.get("end") != ["yes"]:
        said = text.strip().splitlines()
        raise DeployError(f"{name}: cannot be looked over, its shell said: {said[-1] if said else 'nothing'}")
    one = {key: values[0] for key, values in found.items()}
    try:
        return _facts(one, found, asked_at_s, port)
    except (ValueError, KeyError, IndexError) as error:
        raise DeployError(
            f"{name}: what its programs tell of it makes no sense ({error}): do python3 --version, uname -m and df -k "
            "run there as usual? If so, please report this board"
        ) from error


def judge(facts: BoardFacts, wanted: Wanted) -> tuple[Check, ...]:
    """Every line of the table, in its order; a board with a FAIL is left as it is."""
    return (
        _board(facts),
        _architecture(facts),
        _libc(facts),
        _python(facts),
        *(_disk(facts, folder, need) for folder, need in NEEDED_BYTES.items()),
        *_root_folder(facts),
        _memory(facts),
        _memory_cgroup(facts),
        _clock(facts),
        _service(facts),
        _root(facts),
        *_i2c(facts, wanted),
        *_clocks(facts, wanted),
        _port(facts),
        _agent(facts, wanted),
    )


def _board(facts: BoardFacts) -> Check:
    return _ok("board", f"{facts.model or 'unknown model'}, {facts.os or 'unknown system'}, id {facts.board_id}")


def _architecture(facts: BoardFacts) -> Check:
    arch = facts.architecture
    seen = f"{arch}, {facts.bits or '?'}-bit system"
    if arch == "armv6l":
        return _fail(
            "processor", seen, "armv6 (Pi 1, Zero, Zero W) has no runtime for models; use a Zero 2 W or a Pi 3"
        )
    if arch in ARCHITECTURES and facts.bits == 32:
        return _fail("processor", seen, f"the kernel is 64-bit, the system on it is not; {PI_64}")
    if arch.startswith("arm"):
        return _fail("processor", seen, f"no ONNX Runtime exists for 32-bit Arm; {PI_64}")
    if arch not in ARCHITECTURES:
        return _fail("processor", seen, f"supported are {', '.join(ARCHITECTURES)}")
    return _ok("processor", seen)


def _libc(facts: BoardFacts) -> Check:
    if facts.glibc is None:
        return _fail(
            "C library", facts.libc, "the runtimes need glibc 2.28 or newer; use Debian, Ubuntu or Pi OS, not Alpine"
        )
    if facts.glibc < OLDEST_GLIBC:
        return _fail("C library", facts.libc, "too old for the runtimes, which need glibc 2.28; use a newer system")
    return _ok("C library", facts.libc)


def _python(facts: BoardFacts) -> Check:
    chosen = facts.python
    if chosen is not None:
        return _ok("Python", f"{_version(chosen)} ({chosen.path})")
    wanted = f"{'.'.join(map(str, OLDEST_PYTHON))} to {'.'.join(map(str, NEWEST_PYTHON))}"
    seen = ", ".join(f"{_version(python)} ({python.path})" for python in facts.pythons) or "none"
    if facts.jetson_linux is not None and facts.jetson_linux[0] < 36:
        jetpack = "JetPack 5" if facts.jetson_linux[0] >= 34 else "JetPack 4"
        way = "flash JetPack 6 (Orin); on a Xavier put Python 3.10 beside the system's (docs/boards.md, JetPack 5)"
        return _fail("Python", seen, f"{jetpack} has an older Python than {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}: {way}")
    fitting = [python for python in facts.pythons if OLDEST_PYTHON <= python.version[:2] <= NEWEST_PYTHON]
    if any(not python.has_venv and not python.is_private for python in fitting):
        return _fail("Python", f"{seen}, without venv", "on the board: sudo apt install python3-venv")
    if fitting:
        return _fail(
            "Python", seen, "it lies in somebody's home; install the system's: sudo apt install python3 python3-venv"
        )
    if not facts.pythons:
        return _fail("Python", seen, "on the board: sudo apt install python3 python3-venv")
    return _fail("Python", seen, f"wanted {wanted}; use a system that has it (Pi OS bookworm, Ubuntu 22.04 or newer)")


def _disk(facts: BoardFacts, folder: str, needed_bytes: int) -> Check:
    disk = facts.disks.get(folder)
    if disk is None:
        return _note(f"free {folder}", "unknown", f"{needed_bytes >> 20} MB are needed")
    seen = f"{disk.free_bytes / 1e9:.1f} GB" if disk.free_bytes > 2e9 else f"{disk.free_bytes >> 20} MB"
    if disk.free_bytes < needed_bytes:
        return _fail(f"free {folder}", seen, f"{needed_bytes >> 20} MB are needed; make room, or use a larger card")
    return _ok(f"free {folder}", seen)


def _root_folder(facts: BoardFacts) -> Iterator[Check]:
    options = facts.disks["/opt"].options if "/opt" in facts.disks else frozenset()
    if "noexec" in options:
        yield _fail("/opt", "mounted noexec", "no program may run there: sudo mount -o remount,exec its file system")
    if "ro" in options:
        yield _fail("/opt", "read-only", "make it writable: sudo mount -o remount,rw its file system")
    if facts.root_kind == "overlay":
        how = "on Pi OS sudo raspi-config nonint disable_overlayfs, reboot"
        yield _fail(
            "/", "overlay: forgets everything at a reboot", f"switch the overlay off, install, switch it on ({how})"
        )


def _memory(facts: BoardFacts) -> Check:
    seen = f"{facts.memory_bytes >> 20} MB, {facts.available_bytes >> 20} MB free"
    if facts.memory_bytes < FEWEST_MEMORY_BYTES:
        return _fail("memory", seen, f"{FEWEST_MEMORY_BYTES >> 20} MB are needed to run a model")
    if facts.memory_bytes < ROOMY_MEMORY_BYTES:
        return _note("memory", seen, "one or two candidates are measured at a time")
    return _ok("memory", seen)


def _memory_cgroup(facts: BoardFacts) -> Check:
    if facts.has_memory_cgroup:
        return _ok("memory cgroup", "on")
    return _note(
        "memory cgroup", "off", "models are bounded by other means; cgroup_enable=memory in cmdline.txt adds it"
    )


def _clock(facts: BoardFacts) -> Check:
    skew = facts.clock_ahead_s
    if abs(skew) <= MOST_SKEW_S:
        return _ok("clock", f"{skew:+.0f} s to this machine")
    return _note(
        "clock",
        f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
        "is set while installing; nothing hangs on it",
    )


def _service(facts: BoardFacts) -> Check:
    if facts.systemd is not None:
        return _ok("systemd", str(facts.systemd))
    return _note("systemd", "does not run", "the agent is started otherwise, less isolated (docs/boards.md, By hand)")


def _root(facts: BoardFacts) -> Check:
    if facts.is_root:
        return _ok("root", f"{facts.user} is root")
    if facts.sudo is Sudo.ABSENT:
        return _fail("root", f"{facts.user}, no sudo", "use root@ as SSH user, or install sudo")
    if facts.sudo is Sudo.REFUSES:
        return _fail("root", f"{facts.user} may not use sudo", f"an administrator of the board: {_grants(facts)}")
    if facts.sudo is Sudo.ASKS:
        at_terminal = "run at a terminal, which asks for it"
        is_listed = facts.groups & SUDO_GROUPS
        return _note(
            "root",
            "sudo wants a password",
            at_terminal if is_listed else f"{at_terminal}; if {facts.user} may not: {_grants(facts)}",
        )
    return _ok("root", f"{facts.user}, by sudo")


def _grants(facts: BoardFacts) -> str:
    return f"sudo usermod -aG sudo {facts.user}"


def _i2c(facts: BoardFacts, wanted: Wanted) -> Iterator[Check]:
    seen = ", ".join(f"{bus.number} ({bus.adapter or 'unnamed'}, group {bus.group})" for bus in facts.i2c)
    if facts.i2c:
        yield _ok("I2C", seen)
    else:
        on_pi = "Raspberry Pi" in (facts.model or "")
        how = "sudo raspi-config nonint do_i2c 0, reboot" if on_pi else "sudo modprobe i2c-dev, and see i2cdetect -l"
        make = _fail if wanted.meter in I2C_METERS else _note
        asked = f"{wanted.meter} needs it" if wanted.meter in I2C_METERS else "only a meter on it needs it"
        yield make("I2C", "no bus", f"{asked}: {how}")
    if facts.meters:
        yield _ok("meters seen", ", ".join(facts.meters))


def _clocks(facts: BoardFacts, wanted: Wanted) -> Iterator[Check]:
    """Nothing where no clock mode is wanted."""
    if not wanted.clock_modes:
        return
    if not facts.has_cpufreq:
        advice = "its clocks cannot be set, as in most virtual machines: take clock_modes out of [devices.NAME]"
        yield _fail("clock modes", "no cpufreq", advice)
    elif facts.systemd is None:
        yield _fail("clock modes", "no systemd", "its service sets them: take clock_modes out of [devices.NAME]")
    else:
        yield _ok("clock modes", f"{', '.join(wanted.clock_modes)}, set by a service of root's own")


def _port(facts: BoardFacts) -> Check:
    name = f"port {facts.port}"
    if facts.port_user is None:
        return _ok(name, "free")
    if facts.port_user == AGENT_USER:
        return _ok(name, "the agent's")
    advice = (
        f"sudo ss -ltnp sport = :{facts.port} on the board names it; end it, or host deploy with another --agent-port N"
    )
    return _fail(name, f"held by a program of {facts.port_user}", advice)


def _agent(facts: BoardFacts, wanted: Wanted) -> Check:
    if not facts.has_agent:
        return _ok("agent", "none yet")
    seen = f"{facts.agent_version or 'unknown version'}, {facts.agent_unit or 'no unit'}"
    if wanted.agent_version is not None and facts.agent_version != wanted.agent_version:
        return _note("agent", seen, f"this host has {wanted.agent_version}: host deploy --upgrade replaces it")
    return _ok("agent", seen)


def _ok(name: str, seen: str) -> Check:
    return Check(name=name, seen=seen, state=CheckState.OK)


def _note(name: str, seen: str, advice: str) -> Check:
    return Check(name=name, seen=seen, state=CheckState.NOTE, advice=advice)


def _fail(name: str, seen: str, advice: str) -> Check:
    return Check(name=name, seen=seen, state=CheckState.FAIL, advice=advice)


def _version(python: PythonFound) -> str:
    return ".".join(map(str, python.version))


def _facts(one: Mapping[str, str], many: Mapping[str, Sequence[str]], asked_at_s: float, port: int) -> BoardFacts:
    kind, _, libc_version = one["libc"].partition(" ")
    pythons = {python.path: python for python in map(_python_found, many.get("python", ()))}
    return BoardFacts(
        architecture=one["arch"],
        bits=int(one["bits"]) if one.get("bits") else None,
        user=one["user"],
        is_root=one["uid"] == "0",
        groups=frozenset(one.get("groups", "").split()),
        os=one.get("os", ""),
        kernel=one.get("kernel", ""),
        model=one.get("model") or None,
        jetson_linux=_pair(one["l4t"]) if one.get("l4t") else None,
        board_id=one["board_id"],
        libc=one["libc"].strip() or "unknown",
        glibc=_pair(libc_version) if kind == "glibc" and libc_version else None,
        pythons=tuple(pythons.values()),
        disks=dict(map(_disk_found, many.get("disk", ()))),
        root_kind=one.get("root_kind", ""),
        memory_bytes=int(one.get("memory_kb") or 0) << 10,
        available_bytes=int(one.get("available_kb") or 0) << 10,
        has_memory_cgroup=one.get("memory_cgroup") == "on",
        clock_ahead_s=int(one["clock"]) - asked_at_s,
        systemd=int(one["systemd"]) if one.get("systemd") else None,
        sudo=Sudo(one.get("sudo", "no")),
        has_i2c_module="i2c_module" in one,
        has_cpufreq="cpufreq" in one,
        i2c=tuple(map(_bus_found, many.get("i2c", ()))),
        meters=tuple(many.get("meter", ())),
        port=port,
        port_user=(one.get("port_user") or f"uid {one['port_uid']}") if "port_uid" in one else None,
        agent_release=one.get("agent_release") or None,
        agent_version=one.get("agent_version") or None,
        agent_unit=one.get("agent_unit") or None,
    )


def _pair(text: str) -> tuple[int, int]:
    first, second, *_ = text.split(".")
    return int(first), int(second)


def _python_found(text: str) -> PythonFound:
    path, version, bits, venv = text.rsplit(" ", 3)
    major, minor, patch = map(int, version.split("."))
    return PythonFound(path=path, version=(major, minor, patch), bits=int(bits), has_venv=venv == "venv")


def _disk_found(text: str) -> tuple[str, Disk]:
    folder, free_kb, *options = text.split()
    named = frozenset(options[0].split(",")) if options else frozenset()
    return folder, Disk(free_bytes=int(free_kb) << 10, options=named)


def _bus_found(text: str) -> I2cBus:
    number, group, access, *adapter = text.split(" ", 3)
    return I2cBus(number=int(number), group=group, is_open=access == "yes", adapter=adapter[0] if adapter else "")
