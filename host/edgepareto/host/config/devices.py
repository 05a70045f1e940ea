"""Which devices a user can name, and what each name stands for: the user's own inventory, and what a project says.

Both files hold [devices.NAME]. A project's entry sets some keys of the user's board of that name, unless it says what
the device is (simulate, local, an address, another ssh): then it is another device and replaces the user's.

An entry of a project that is wrong, or names a board that this user has not, is a device with a problem: whoever does
not use it works on, for example to add the board. The user's own file must be right as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgepareto.host.config.address import (
    LARGEST_PORT,
    address_of_ssh,
    address_problem,
    is_host_port,
    is_this_machine,
    ssh_problem,
)
from edgepareto.host.config.section import Section, did_you_mean
from edgepareto.host.config.toml_file import TomlFile
from edgepareto.host.config.values import FAULTS, METER_KINDS, RUNTIMES, SIMULATED_BOARDS, DeviceConfig
from edgepareto.host.errors import ConfigError

__all__ = [
    "BOARD_ID",
    "HOST_KEY",
    "LOCAL",
    "NAME",
    "NAME_RULE",
    "check_entry",
    "chosen_devices",
    "known_devices",
    "refuse_problems",
]

LOCAL = "local"  # always a device: this machine, which works for others meanwhile unless shared = false
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # files and folders are called so as well
NAME_RULE = "is letters, digits, - and _, at most 64"
BOARD_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")  # a label of a name in a certificate
HOST_KEY = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
THIS_MACHINE = DeviceConfig(name=LOCAL, local=True)
BY_SSH = ("port", "key", "host_key", "meter", "shunt_ohm")  # of no use without ssh
CLOCK_MODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}")  # as agents take them
MOST_CLOCK_MODES = 16
OF_BOARDS = ("board_id", "trust")
KINDS = ("simulate", "local", "address", "ssh")  # what says which device it is

Complain = Callable[[str, str], ConfigError]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One table of one file. values: by key, checked one by one; complain: about a key, at its place in the file."""

    file: Path
    values: Mapping[str, object]
    complain: Complain
    of_whole: Callable[[str], ConfigError]


def known_devices(project: TomlFile | None, inventory: TomlFile | None = None) -> tuple[DeviceConfig, ...]:
    """The project's devices in its order, then the user's, then `local`. Raises ConfigError for the user's file."""
    theirs = {name: _entry(inventory, name) for name in _names(inventory)} if inventory is not None else {}
    ours = [_project_device(project, name, theirs.get(name)) for name in _names(project)] if project is not None else []
    taken = {device.name for device in ours}
    devices = [*ours, *(_device(name, entry, None) for name, entry in theirs.items() if name not in taken)]
    if all(device.name != LOCAL for device in devices):
        devices.append(THIS_MACHINE)
    return tuple(devices)


def chosen_devices(
    chosen: Sequence[str | DeviceConfig] | None,
    known: Sequence[DeviceConfig],
    project: Path | None,
    *,
    otherwise: str | None = None,
) -> tuple[DeviceConfig, ...]:
    """The devices chosen by name, group, HOST:PORT or value; with no choice those that the project's file names.

    otherwise: what to do about a name that is not known. Raises ConfigError; a device chosen may have a problem.
    """
    if chosen is None:
        return tuple(d for d in known if project is not None and project in (d.origin, d.overridden_by))
    devices: list[DeviceConfig] = []
    for item in chosen:
        devices += (
            [item] if isinstance(item, DeviceConfig) else _named(item.strip(), known, otherwise or "or give HOST:PORT")
        )
    names = [device.name for device in devices]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--devices: {twice} is named twice; each device searches once")
    return tuple(devices)


def refuse_problems(devices: Sequence[DeviceConfig]) -> None:
    """Raises ConfigError with the first one's problem."""
    for device in devices:
        if device.problem is not None:
            raise ConfigError(device.problem)


def check_entry(name: str, flags: Mapping[str, object]) -> DeviceConfig:
    """What is typed of a new device, by key as in a file. Raises ConfigError naming the flag."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"device {name!r}: a device's name {NAME_RULE}")
    section = Section(None, (), flags)

    def complain(key: str, problem: str) -> ConfigError:
        return ConfigError(f"{flags[key]}: {problem}") if key == "ssh" else section.error(key, problem)

    return _complete(
        name, _values(section, Path.cwd()), complain, lambda problem: ConfigError(f"device {name} {problem}")
    )


def _named(name: str, known: Sequence[DeviceConfig], otherwise: str) -> list[DeviceConfig]:
    """A device's own name wins over a group's."""
    for device in known:
        if device.name == name:
            return [device]
    if members := [device for device in known if device.group == name]:
        return members
    if is_host_port(name):
        problem = address_problem(name)
        if problem is None and not is_this_machine(name):
            user = name.rpartition(":")[0].strip("[]")
            problem = f"is another machine's; first host devices add NAME USER@{user}, then host deploy NAME"
        if problem is not None:
            raise ConfigError(f"--devices {name}: {problem}")
        return [DeviceConfig(name=name, address=name)]
    names = [device.name for device in known]
    groups = sorted({device.group for device in known if device.group is not None})
    also = f", groups {', '.join(groups)}" if groups else ""
    hint = did_you_mean(name, [*names, *groups])
    raise ConfigError(f"device {name or '(empty)'} is not known; known are {', '.join(names)}{also}, {otherwise}{hint}")


def _names(source: TomlFile) -> tuple[str, ...]:
    return Section(source, ("devices",), {}).names


def _project_device(project: TomlFile, name: str, user: _Entry | None) -> DeviceConfig:
    try:
        ours = _entry(project, name)
        if user is None and name != LOCAL and not ours.values.keys() & set(KINDS):
            raise ours.of_whole(
                f"is no board of yours yet: host devices add {name} USER@HOST; or say here what it is: "
                'simulate = "raspberry-pi-4b", local = true, ssh or address'
            )
        return _device(name, user, ours)
    except ConfigError as error:
        entry = Section(project, ("devices",), {}).table(name)
        group = entry.get("group")  # so that who names the group is told
        return DeviceConfig(
            name=name, group=group if isinstance(group, str) else None, origin=project.path, problem=str(error)
        )


def _entry(source: TomlFile, name: str) -> _Entry:
    table = Section(source, ("devices",), {})
    table.subtable(name)
    if NAME.fullmatch(name) is None:
        raise table.error(name, f"a device's name {NAME_RULE}")
    section = Section(source, ("devices", name), {})
    values = _values(section, source.path.resolve().parent)
    section.refuse_unknown()
    return _Entry(
        file=source.path,
        values=values,
        complain=section.error,
        of_whole=lambda problem: table.error(name, problem),
    )


def _device(name: str, user: _Entry | None, project: _Entry | None) -> DeviceConfig:
    if user is not None and project is not None and not _is_another(user.values, project.values):
        above, below = project, user

        def complain(key: str, problem: str) -> ConfigError:
            return (above if key in above.values else below).complain(key, problem)

        device = _complete(name, {**below.values, **above.values}, complain, above.of_whole)
        return _placed(device, origin=below.file, overridden_by=above.file)
    entry = project or user
    assert entry is not None, name
    return _placed(_complete(name, entry.values, entry.complain, entry.of_whole), origin=entry.file)


def _is_another(user: Mapping[str, object], project: Mapping[str, object]) -> bool:
    if "ssh" in project:
        return project["ssh"] != user.get("ssh")
    return bool(project.keys() & {"simulate", "local", "address"})


def _placed(device: DeviceConfig, *, origin: Path, overridden_by: Path | None = None) -> DeviceConfig:
    return replace(device, origin=origin, overridden_by=overridden_by)


def _values(section: Section, folder: Path) -> dict[str, object]:
    """Every key that is set, each checked by itself."""
    values: dict[str, object] = {
        "simulate": section.choice("simulate", SIMULATED_BOARDS),
        "local": section.flag("local"),
        "address": section.text("address"),
        "ssh": section.text("ssh"),
        "port": section.integer("port", least=1),
        "key": section.path("key", folder),
        "host_key": section.text("host_key"),
        "board_id": section.text("board_id"),
        "trust": section.path("trust", folder),
        "meter": section.choice("meter", METER_KINDS),
        "shunt_ohm": section.number("shunt_ohm", above=0),
        "group": section.text("group"),
        "seed": section.integer("seed", least=0),
        "threads": section.integer("threads", least=1),
        "step": section.integer("step", least=1),
        "shared": section.flag("shared"),
        "runtime": section.choice("runtime", RUNTIMES),
        "clock_modes": _clock_modes(section),
        "faults": _faults(section),
        "pace": section.number("pace"),
    }
    return {key: value for key, value in values.items() if value is not None}


def _clock_modes(section: Section) -> tuple[str, ...] | None:
    """Well formed; which of them a board has, its agent finds out."""
    modes = section.texts("clock_modes")
    for mode in modes or ():
        if CLOCK_MODE.fullmatch(mode) is None:
            raise section.error("clock_modes", f"{mode!r} is no name of a mode, as performance, 1500MHz and 15W are")
    if modes is not None and (len(set(modes)) < len(modes) or len(modes) > MOST_CLOCK_MODES):
        raise section.error("clock_modes", f"must be at most {MOST_CLOCK_MODES} names, each once")
    return modes


def _faults(section: Section) -> tuple[str, ...] | None:
    """By name alone; their values are the simulated board's to judge."""
    faults = section.texts("faults")
    for fault in faults or ():
        name = fault.partition("=")[0]
        if name not in FAULTS:
            raise section.error(
                "faults", f"{name} is no fault{did_you_mean(name, FAULTS) or '; known are ' + ', '.join(FAULTS)}"
            )
    return faults


def _complete(
    name: str, values: Mapping[str, object], complain: Complain, of_whole: Callable[[str], ConfigError]
) -> DeviceConfig:
    """The keys checked against each other. Raises ConfigError."""
    is_local = bool(values.get("local")) or name == LOCAL
    is_board = "address" in values or "ssh" in values
    if ("simulate" in values) + is_board + is_local != 1:
        raise of_whole(
            "sets only the options of this machine"
            if name == LOCAL
            else 'needs exactly one of simulate = "raspberry-pi-4b", local = true, ssh = "USER@HOST", '
            'address = "HOST:PORT"'
        )
    if "shared" in values and not is_local and "ssh" not in values:
        raise complain(
            "shared",
            "is for local = true and boards with ssh; set it in the agent.toml of that board"
            if is_board
            else "is for local = true and boards with ssh; a simulated board shares nothing",
        )
    if "clock_modes" in values and is_board and "ssh" not in values:
        raise complain(
            "clock_modes", "is for boards that are installed from here; set it in the agent.toml of that board"
        )
    if "pace" in values:
        _check_pace(values, complain)
    for key in (*BY_SSH, *OF_BOARDS):
        if key in values and not is_board:
            raise complain(key, "is for boards alone, with ssh or address")
        if key in values and key in BY_SSH and "ssh" not in values:
            raise complain(key, "is for boards that are installed from here; give ssh as well")
    if "group" in values and NAME.fullmatch(str(values["group"])) is None:
        raise complain("group", f"a group's name {NAME_RULE}")
    if is_board:
        _check_board(values, complain)
    fields = {{"port": "ssh_port", "key": "ssh_key"}.get(key, key): value for key, value in values.items()}
    if "ssh" in values and "address" not in values:
        fields["address"] = address_of_ssh(str(values["ssh"]))
    return DeviceConfig(**{**fields, "name": name, "local": is_local})  # type: ignore[arg-type]


def _check_board(values: Mapping[str, object], complain: Complain) -> None:
    address, ssh = values.get("address"), values.get("ssh")
    if str(address).startswith("unix:") and (ssh is not None or "board_id" in values):
        raise complain("address", "a board is dialled at HOST:PORT, where TLS says who it is")
    checks = (("address", address_problem), ("ssh", ssh_problem))
    for key, problem_of in checks:
        if key in values and (problem := problem_of(str(values[key]))):
            raise complain(key, problem)
    if int(str(values.get("port", 1))) > LARGEST_PORT:
        raise complain("port", f"must be {LARGEST_PORT} or less")
    if "board_id" in values and BOARD_ID.fullmatch(str(values["board_id"])) is None:
        raise complain("board_id", "must be 1 to 48 lower-case letters, digits and -; host deploy writes it")
    if "host_key" in values and HOST_KEY.fullmatch(str(values["host_key"])) is None:
        raise complain("host_key", "must read SHA256: and 43 characters, as ssh-keygen -l shows it on the board")
    if "trust" in values and "board_id" not in values:
        raise complain("trust", "says who signed a board's certificate; give its board_id as well")
    if ssh is None and "board_id" not in values and not is_this_machine(str(address)):
        raise complain(
            "address",
            'is another machine\'s, and only boards with credentials are dialled there; give ssh = "USER@HOST" and run '
            "host deploy NAME, or board_id and trust where a colleague installed it",
        )


def _check_pace(values: Mapping[str, object], complain: Complain) -> None:
    if "simulate" not in values:
        raise complain("pace", "is for simulated boards alone; a real one takes its own time")
    if float(str(values["pace"])) < 0:
        raise complain("pace", "must be 0 (as fast as it goes) or more (1 is real time)")
