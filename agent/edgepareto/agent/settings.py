"""agent.toml and flags -> one frozen value. Everything from outside is checked here, once, by raising."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.conditions import MODE_NAME
from edgepareto.agent.errors import ConfigError
from edgepareto.agent.power import checked_kind
from edgepareto.agent.profiling.board import MeterSetting

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["AUTO_METER", "AgentSettings", "ClockSetting", "read_settings"]

DEFAULT_LISTEN = "127.0.0.1:50051"
DEFAULT_BLOB_QUOTA_MB = 1024
TOP_KEYS = {
    "listen": str,
    "state": str,
    "sys_root": str,
    "threads": int,
    "shared": bool,
    "blob_quota_mb": int,
    "meter": dict,
    "clocks": dict,
    "workers": dict,
    "credentials": dict,
}
IN_WORDS = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table, as [{key}]",
    list: 'a list, as ["performance", "powersave"]',
}
CREDENTIAL_KEYS = {"folder": str}
WORKER_KEYS = {"socket": str}
CLOCK_KEYS = {"fix": bool, "power_mode": int, "modes": list, "socket": str}
MOST_CLOCK_MODES = 16
METER_KEYS = {"kind": str, "bus": int, "address": int, "shunt_ohm": float, "rail": str, "chip": str}
AUTO_METER = "auto"  # the best that `edgepareto-agent meters` finds
AUTO_METER_KEYS = {"kind", "shunt_ohm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSetting:
    """fix: the clocks, while a host holds the lease. power_mode: of a Jetson's nvpmodel, set with them. modes: that a
    host may ask for. socket: of the service that sets these; None: the agent does it itself."""

    fix: bool = False
    power_mode: int | None = None
    modes: tuple[str, ...] = ()
    socket: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """simulate: name of a simulated board, None for the real box. local: this box is the host's own machine.

    threads: that a model runs on unless the host asks for another number. shared: contention is a tag and not a void.
    pace: 0 as fast as the CPU goes, 1 real time; simulated boards only, as are seed and faults. sys_root: where /sys
    and /proc of the real box lie. workers_socket: where the system's service manager starts a worker for who connects;
    None: the agent starts its workers itself. credentials: the folder that lets the agent listen to a network; None: it
    listens to this machine only.
    """

    listen: str
    state: Path
    sys_root: Path
    simulate: str | None
    seed: int
    faults: tuple[str, ...]
    pace: float
    local: bool
    threads: int
    shared: bool
    meter: MeterSetting | None
    clocks: ClockSetting
    workers_socket: Path | None
    credentials: Path | None
    blob_quota_bytes: int
    die_with_parent: bool
    list_meters: bool


def read_settings(arguments: Sequence[str]) -> AgentSettings:
    """Raises ConfigError; SystemExit as argparse does, for --help and for flags that it does not know."""
    flags = _parser().parse_args(arguments)
    table = {} if flags.config is None else _read_table(flags.config)
    if flags.simulate is not None and flags.verb == "meters":
        raise ConfigError("meters looks for this machine's power meters; a simulated board has its own: no --simulate")
    if flags.simulate is not None and flags.local:
        raise ConfigError("--simulate and --local exclude each other: a board is simulated or it is this machine")
    if flags.simulate is not None and flags.shared is not None:
        raise ConfigError("--shared is for real boards: the host's load does not reach a simulated board's numbers")
    if flags.simulate is None and (flags.fault or flags.pace or flags.seed):
        raise ConfigError("--seed, --fault and --pace are for simulated boards; add --simulate BOARD")
    meter = table.get("meter")
    return AgentSettings(
        listen=flags.listen or str(table.get("listen", DEFAULT_LISTEN)),
        state=(flags.state or Path(str(table.get("state", _default_state())))).expanduser().absolute(),
        sys_root=_sys_root(table),
        simulate=flags.simulate,
        seed=flags.seed,
        faults=tuple(flags.fault),
        pace=flags.pace,
        local=flags.local,
        threads=_positive(table, "threads", 1),
        shared=bool(table.get("shared", flags.local)) if flags.shared is None else flags.shared,
        meter=None if meter is None else _meter(meter, flags.config),
        clocks=_clocks(table.get("clocks"), flags.config, flags.clock_mode),
        workers_socket=_absolute(table.get("workers"), WORKER_KEYS, f"{flags.config}: [workers]"),
        credentials=_absolute(table.get("credentials"), CREDENTIAL_KEYS, f"{flags.config}: [credentials]"),
        blob_quota_bytes=_positive(table, "blob_quota_mb", DEFAULT_BLOB_QUOTA_MB) << 20,
        die_with_parent=flags.die_with_parent,
        list_meters=flags.verb == "meters",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgepareto-agent",
        description="Measures latency and power of models on this board for an EdgePareto host.",
        epilog="Example: edgepareto-agent --config agent.toml",
    )
    parser.add_argument(
        "verb", nargs="?", choices=["meters"], help="meters: find this board's power meters and read each"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="agent.toml; flags win over it")
    parser.add_argument("--listen", metavar="ADDR", help=f"HOST:PORT or unix:/path (default {DEFAULT_LISTEN})")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where blobs and finished results are kept")
    parser.add_argument("--local", action="store_true", help="this machine is the host's own: it is measured as it is")
    parser.add_argument(
        "--shared",
        action=argparse.BooleanOptionalAction,
        help="the machine works for others meanwhile: contention is a tag and not a void (default only with --local)",
    )
    parser.add_argument("--simulate", metavar="BOARD", help="measure on a simulated board instead of this machine")
    parser.add_argument("--seed", type=int, default=0, help="of a simulated board's noise (default 0)")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help="a simulated board's fault")
    parser.add_argument("--pace", type=float, default=0.0, help="a simulated board's time: 0 at once (default), 1 real")
    parser.add_argument(
        "--clock-mode",
        action="append",
        default=[],
        metavar="NAME",
        help="one that a host may ask for: performance, 1500MHz, a power mode (docs/measurement.md, Clock modes)",
    )
    parser.add_argument("--die-with-parent", action="store_true", help="end when stdin closes or the parent ends")
    return parser


def _read_table(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            table: dict[str, object] = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    _check_keys(table, TOP_KEYS, str(path))
    return table


def _check_keys(table: Mapping[str, object], known: Mapping[str, type], where: str) -> None:
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
        wanted = known[key]
        fits = isinstance(value, (int, float) if wanted is float else wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{where}: {key} is {value!r}, wanted {IN_WORDS[wanted].format(key=key)}")


def _meter(meter: object, path: Path) -> MeterSetting:
    where = f"{path}: [meter]"
    assert isinstance(meter, dict), "checked with the other keys"
    _check_keys(meter, METER_KEYS, where)
    if "kind" not in meter:
        raise ConfigError(f'{where}: kind is missing; for example kind = "ina219"')
    setting = MeterSetting(**meter)
    try:
        checked_kind(setting.kind, AUTO_METER)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if setting.kind == AUTO_METER and (ignored := meter.keys() - AUTO_METER_KEYS):
        raise ConfigError(
            f'{where}: kind is "auto", so {", ".join(sorted(ignored))} would be ignored; remove it, or name the kind '
            f"(edgepareto-agent meters prints its lines)"
        )
    if not 0x03 <= setting.address <= 0x77:
        raise ConfigError(f"{where}: address is {setting.address:#x}, an I2C address lies between 0x03 and 0x77")
    if not 0 < setting.shunt_ohm < math.inf:
        raise ConfigError(f"{where}: shunt_ohm is {setting.shunt_ohm}, wanted more than 0; the usual module has 0.1")
    return setting


def _clocks(clocks: object, path: Path, flagged_modes: Sequence[str]) -> ClockSetting:
    """flagged_modes: win over the file's where there are any."""
    if clocks is None:
        return ClockSetting(modes=_clock_modes(flagged_modes, "--clock-mode"))
    where = f"{path}: [clocks]"
    assert isinstance(clocks, dict), "checked with the other keys"
    _check_keys(clocks, CLOCK_KEYS, where)
    told = clocks.get("modes", [])
    setting = ClockSetting(
        fix=clocks.get("fix", False),
        power_mode=clocks.get("power_mode"),
        modes=_clock_modes(flagged_modes, "--clock-mode") or _clock_modes(told, f"{where}: modes"),
        socket=None if "socket" not in clocks else _absolute_path(clocks["socket"], f"{where}: socket"),
    )
    if setting.power_mode is not None and not setting.fix:
        raise ConfigError(f"{where}: power_mode is {setting.power_mode}, but it is only set with fix = true")
    if setting.power_mode is not None and setting.power_mode < 0:
        raise ConfigError(f"{where}: power_mode is {setting.power_mode}, wanted a number that nvpmodel -q shows")
    return setting


def _clock_modes(names: Sequence[object], where: str) -> tuple[str, ...]:
    """Well formed; whether the board has them is found out on the board."""
    for name in names:
        if not isinstance(name, str) or MODE_NAME.fullmatch(name) is None:
            raise ConfigError(f"{where} holds {name!r}, wanted names as performance, 1500MHz or 15W")
    modes = tuple(str(name) for name in names)
    if len(set(modes)) < len(modes) or len(modes) > MOST_CLOCK_MODES:
        raise ConfigError(f"{where} holds {len(modes)} names, wanted at most {MOST_CLOCK_MODES}, each once")
    return modes


def _absolute(table: object, keys: Mapping[str, type], where: str) -> Path | None:
    """The one path that a table of agent.toml holds. None: the table is not there."""
    if table is None:
        return None
    assert isinstance(table, dict), "checked with the other keys"
    _check_keys(table, keys, where)
    (key,) = keys
    return _absolute_path(str(table.get(key, "")), f"{where}: {key}")


def _absolute_path(told: str, where: str) -> Path:
    if not Path(told).is_absolute():
        raise ConfigError(f"{where} is {told!r}, wanted an absolute path")
    return Path(told)


def _sys_root(table: Mapping[str, object]) -> Path:
    told = str(table.get("sys_root", "/"))
    root = Path(told).absolute()
    if not told or not root.is_dir():
        raise ConfigError(
            f"agent.toml: sys_root is {told or repr(told)}, wanted a folder that holds sys and proc; "
            "on a board leave it out"
        )
    return root


def _positive(table: Mapping[str, object], key: str, default: int) -> int:
    value = table.get(key, default)
    assert isinstance(value, int), "checked with the other keys"
    if value < 1:
        raise ConfigError(f"agent.toml: {key} is {value}, wanted at least 1")
    return value


def _default_state() -> Path:
    home = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    return home / "edgepareto-agent"
