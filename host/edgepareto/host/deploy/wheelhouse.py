"""The packages of one board, gathered on the host: wheels alone, for exactly its processor, Python and C library.

pip finds and downloads them, but judges markers (`python_version < '3.11'`) by the Python it runs on. So what it brings
is walked again with the board's markers: what the board lacks is fetched, what it does not want is left out.
"""

from __future__ import annotations

import email
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.config.folder import write_whole
from edgepareto.host.deploy.agent_wheel import DISTRIBUTION, agent_requirements, build_agent_wheel
from edgepareto.host.errors import DeployError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["BoardPlatform", "Wheel", "Wheelhouse", "gather_wheelhouse"]

INSTALLER = "pip>=24"  # runs on the board, from its wheel
# NVIDIA's wheel brings the same module under another name.
STANDS_IN = {"onnxruntime-gpu": "onnxruntime"}
OLDEST_GLIBC_MINOR = {"x86_64": 5}  # manylinux1; for every other processor manylinux2014
DEFAULT_OLDEST_GLIBC_MINOR = 17
MOST_ROUNDS = 10
HEED_S = 0.2
GATHERING = threading.Lock()  # boards of one kind, side by side, fetch once
LIST = "wheelhouse.json"
NO_NETWORK = re.compile(r"NewConnectionError|Failed to establish|Name or service not known|Temporary failure in name|"
                        r"Max retries exceeded|ProxyError|ConnectTimeout", re.IGNORECASE)  # fmt: skip
NOT_FOUND = re.compile(r"No matching distribution found for (.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPlatform:
    """architecture: as `uname -m`. python: (3, 11). glibc: (2, 36)."""

    architecture: str
    python: tuple[int, int]
    glibc: tuple[int, int]

    @property
    def python_text(self) -> str:
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def interpreter(self) -> str:
        return f"cp{self.python[0]}{self.python[1]}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """The tags of wheels that run there, best first; linux_ARCH alone says nothing of a C library."""
        oldest = OLDEST_GLIBC_MINOR.get(self.architecture, DEFAULT_OLDEST_GLIBC_MINOR)
        tags = [f"manylinux_2_{minor}_{self.architecture}" for minor in range(self.glibc[1], oldest - 1, -1)]
        if self.glibc >= (2, 17):
            tags.append(f"manylinux2014_{self.architecture}")
        if self.architecture == "x86_64":
            tags += ["manylinux2010_x86_64", "manylinux1_x86_64"]
        return tuple(tags)

    @property
    def environment(self) -> dict[str, str]:
        """What PEP 508 markers are judged by."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python_text}.0",
            "os_name": "posix",
            "platform_machine": self.architecture,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python_text}.0",
            "python_version": self.python_text,
            "sys_platform": "linux",
            "extra": "",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """name: of its file. sha256: lower-case hex."""

    name: str
    file: Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheelhouse:
    """Everything a board installs from. release: names this very set, on the board too. agent_version: of ours."""

    wheels: tuple[Wheel, ...]
    installer: Wheel
    agent_version: str
    python: str

    @property
    def release(self) -> str:
        parts = [f"python {self.python}", *sorted(wheel.sha256 for wheel in (*self.wheels, self.installer))]
        return f"{self.agent_version}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"

    @property
    def requirements_text(self) -> str:
        """For pip --require-hashes: every wheel by name, version and hash."""
        lines = []
        for wheel in sorted(self.wheels, key=lambda wheel: wheel.name):
            name, version = _name_and_version(wheel.name)
            lines.append(f"{name}=={version} --hash=sha256:{wheel.sha256}")
        return "\n".join([*lines, ""])


def gather_wheelhouse(
    board: BoardPlatform,
    *,
    given: Path | None = None,
    cache: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
    heed: Callable[[], None] = lambda: None,
) -> Wheelhouse:
    """given: a folder whose wheels win over PyPI's; nothing is fetched where it is complete.

    cache: kept between boards and runs; default in the user's cache folder. tell: what is being done. heed: ends it by
    raising. DeployError.
    """
    place = cache or _default_cache()
    agent = build_agent_wheel()
    roots = (*agent_requirements(), INSTALLER)
    given_wheels = () if given is None else _given_wheels(given, board)
    folder = place / _key(board, roots, given_wheels)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with GATHERING:
        found = _from_cache(folder)
        if found is None:
            tell(f"fetching wheels for {board.architecture}, Python {board.python_text}")
            found = _gathered(board, roots, given_wheels, folder, heed)
    own = folder.parent / f"{DISTRIBUTION}-{hashlib.sha256(agent.content).hexdigest()[:16]}" / agent.name
    if not own.is_file() or own.read_bytes() != agent.content:
        own.parent.mkdir(exist_ok=True)
        write_whole(own, agent.content)
    installer = next(wheel for wheel in found if _name_and_version(wheel.name)[0] == "pip")
    return Wheelhouse(
        wheels=(_wheel(own), *(wheel for wheel in found if wheel is not installer)),
        installer=installer,
        agent_version=agent.version,
        python=board.python_text,
    )


def _gathered(
    board: BoardPlatform, roots: Sequence[str], given: Sequence[Path], folder: Path, heed: Callable[[], None]
) -> tuple[Wheel, ...]:
    """Into `folder`, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheels-") as scratch:
        pool = Path(scratch)
        for file in given:
            shutil.copy2(file, pool / file.name)
        asked = list(roots)
        pinned = [f"{name}=={version}" for name, version in (_name_and_version(file.name) for file in given)]
        for _ in range(MOST_ROUNDS):
            wanted, missing = _closure(board, roots, pool, [file.name for file in given])
            if not missing:
                break
            asked = [line for line in [*asked, *missing] if not _is_stood_in(line, given)]
            _clear(pool, keep={file.name for file in given})
            _download(board, [*dict.fromkeys([*_for_board(asked, board), *pinned])], pool, heed)
        else:
            raise DeployError(
                f"the packages for {board.architecture} do not come to an end: {', '.join(missing)} is missing"
            )
        folder.mkdir(exist_ok=True)
        for name in wanted:
            (pool / name).replace(folder / name)
        wheels = tuple(_wheel(folder / name) for name in sorted(wanted))
        (folder / LIST).write_text(json.dumps({wheel.name: wheel.sha256 for wheel in wheels}), encoding="utf-8")
        return wheels


def _closure(
    board: BoardPlatform, roots: Sequence[str], pool: Path, given: Sequence[str]
) -> tuple[set[str], list[str]]:
    """File names of the pool that `roots` need on the board, and requirements that none in the pool satisfies."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    there: dict[str, Path] = {}
    for file in sorted(pool.glob("*.whl"), key=lambda file: file.name in given):
        name = _name_and_version(file.name)[0]
        there[name] = file
        if name in STANDS_IN:
            there[STANDS_IN[name]] = file
    wanted: set[str] = set()
    missing: list[str] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    ahead = [Requirement(line) for line in roots]
    while ahead:
        requirement = ahead.pop()
        if requirement.marker is not None and not requirement.marker.evaluate(dict(board.environment)):
            continue
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        found = there.get(name)
        if found is None or not (_name_and_version(found.name)[0] != name or _satisfies(found, requirement)):
            missing.append(_unmarked(requirement))
            continue
        if key in seen:
            continue
        seen.add(key)
        wanted.add(found.name)
        ahead += _needs(found, board, requirement.extras)
    return wanted, list(dict.fromkeys(missing))


def _needs(file: Path, board: BoardPlatform, extras: set[str]) -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    for line in _metadata(file).get_all("Requires-Dist") or ():
        needed = Requirement(line)
        if needed.marker is None or any(
            needed.marker.evaluate({**board.environment, "extra": extra}) for extra in ("", *extras)
        ):
            needed.marker = None
            yield needed


def _download(board: BoardPlatform, requirements: Sequence[str], pool: Path, heed: Callable[[], None]) -> None:
    """Raises DeployError, in one line, for whatever keeps pip from it."""
    if importlib.util.find_spec("pip") is None:
        raise DeployError(
            f"the environment of {sys.executable} has no pip, which fetches the board's packages; install it there "
            "(uv pip install pip, pipx inject edgepareto pip), or give all wheels with --wheelhouse DIR"
        )
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--only-binary=:all:", "--dest", str(pool), "--find-links", str(pool),
        "--implementation", "cp", "--python-version", board.python_text,
        "--abi", board.interpreter, "--abi", "abi3", "--abi", "none",
    ]  # fmt: skip
    for platform in (*board.platforms, f"linux_{board.architecture}"):
        command += ["--platform", platform]
    with subprocess.Popen(
        [*command, *requirements],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as pip:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    told = pip.communicate(timeout=HEED_S)[1]
                    break
                heed()
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        raise DeployError(_pip_problem(told, board))


def _pip_problem(told: str, board: BoardPlatform) -> str:
    if NO_NETWORK.search(told):
        return (
            "the board's packages are not in the cache and the package index cannot be reached from this machine; "
            "connect it once, or give all wheels with --wheelhouse DIR"
        )
    match = NOT_FOUND.search(told)
    if match is not None:
        return (
            f"no wheel of {match.group(1).strip()} for {board.architecture}, Python {board.python_text}, glibc "
            f"{board.glibc[0]}.{board.glibc[1]}; give one with --wheelhouse DIR"
        )
    last = next((line for line in reversed(told.splitlines()) if line.startswith("ERROR")), "no reason given")
    return f"the board's packages cannot be fetched: {last.removeprefix('ERROR:').strip()}"


def _given_wheels(folder: Path, board: BoardPlatform) -> tuple[Path, ...]:
    """Checked to fit the board. Of our own name none is taken: the agent is that of this installation."""
    if not folder.is_dir():
        raise DeployError(f"--wheelhouse {folder}: is no folder")
    files = sorted(folder.glob("*.whl"))
    if not files:
        raise DeployError(f"--wheelhouse {folder}: holds no .whl file")
    fitting: dict[str, Path] = {}
    tags = _tags_of(board)
    for file in files:
        name, _ = _name_and_version(file.name)
        if name == DISTRIBUTION:
            continue
        if not tags & _wheel_tags(file.name):
            raise DeployError(
                f"{file}: does not fit the board, which is {board.architecture} with Python {board.python_text} and "
                f"glibc {board.glibc[0]}.{board.glibc[1]}; take it out of the folder or get the one for "
                f"{board.interpreter} and linux_{board.architecture}"
            )
        if name in fitting:
            raise DeployError(f"--wheelhouse {folder}: holds {fitting[name].name} and {file.name}; leave one of them")
        fitting[name] = file
    return tuple(fitting.values())


def _tags_of(board: BoardPlatform) -> set[str]:
    from packaging import tags

    platforms = [*board.platforms, f"linux_{board.architecture}"]
    supported = [
        *tags.cpython_tags(board.python, abis=[board.interpreter], platforms=platforms),
        *tags.compatible_tags(board.python, interpreter=board.interpreter, platforms=platforms),
    ]
    return {str(tag) for tag in supported}


def _wheel_tags(name: str) -> set[str]:
    from packaging.utils import parse_wheel_filename

    return {str(tag) for tag in parse_wheel_filename(name)[3]}


def _name_and_version(wheel_name: str) -> tuple[str, str]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(wheel_name)
    except InvalidWheelFilename as error:
        raise DeployError(f"{wheel_name}: is no name of a wheel ({error})") from error
    return str(name), str(version)


def _satisfies(file: Path, requirement: Requirement) -> bool:
    return requirement.specifier.contains(_name_and_version(file.name)[1], prereleases=True)


def _unmarked(requirement: Requirement) -> str:
    from packaging.requirements import Requirement

    bare = Requirement(str(requirement))
    bare.marker = None
    return str(bare)


def _for_board(lines: Sequence[str], board: BoardPlatform) -> Iterator[str]:
    """Markers answered, for pip would answer them for this machine."""
    from packaging.requirements import Requirement

    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(dict(board.environment)):
            yield _unmarked(requirement)


def _is_stood_in(line: str, given: Sequence[Path]) -> bool:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    replaced = {STANDS_IN.get(_name_and_version(file.name)[0]) for file in given}
    return canonicalize_name(Requirement(line).name) in replaced


def _metadata(file: Path) -> email.message.Message:
    try:
        with zipfile.ZipFile(file) as archive:
            name = next(
                name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
            )
            return email.message_from_bytes(archive.read(name))
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise DeployError(f"{file}: is no wheel ({error or 'without METADATA'}); get it anew") from error


def _from_cache(folder: Path) -> tuple[Wheel, ...] | None:
    """None: not there, or not as it was written."""
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
        wheels = tuple(_wheel(folder / name) for name in listed)
    except (OSError, ValueError):
        return None
    return wheels if all(listed[wheel.name] == wheel.sha256 for wheel in wheels) else None


def _key(board: BoardPlatform, roots: Sequence[str], given: Sequence[Path]) -> str:
    parts = [repr(board), *roots, *(f"{file.name} {_sha256(file)}" for file in given)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return f"{board.architecture}-{board.interpreter}-glibc{board.glibc[0]}.{board.glibc[1]}-{digest}"


def _clear(pool: Path, *, keep: set[str]) -> None:
    for file in pool.glob("*.whl"):
        if file.name not in keep:
            file.unlink()


def _wheel(file: Path) -> Wheel:
    return Wheel(name=file.name, file=file, sha256=_sha256(file), size=file.stat().st_size)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _default_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("edgepareto") / "wheels"
