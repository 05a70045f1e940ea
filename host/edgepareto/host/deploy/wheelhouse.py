"""The packages of one board, gathered on the host: wheels alone, for exactly its processor, Python and C library.

pip finds and downloads them, but judges markers (`python_version < '3.11'`) by the Python it runs on. So what it brings
is walked again with the board's markers: what the board lacks is fetched, what it does not want is left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.config.folder import write_whole
from edgepareto.host.deploy.agent_wheel import DISTRIBUTION, agent_requirements, build_agent_wheel
from edgepareto.host.deploy.board_platform import BoardPlatform
from edgepareto.host.deploy.needed_wheels import for_board, is_stood_in, name_and_version, needed_wheels, tags_of_wheel
from edgepareto.host.deploy.wheel_download import download_wheels
from edgepareto.host.errors import DeployError

__all__ = ["Wheel", "Wheelhouse", "gather_wheelhouse"]

INSTALLER = "pip>=24"  # runs on the board, from its wheel
MOST_ROUNDS = 10
GATHERING = threading.Lock()  # boards of one kind, side by side, fetch once
LIST = "wheelhouse.json"


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
            name, version = name_and_version(wheel.name)
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
    installer = next(wheel for wheel in found if name_and_version(wheel.name)[0] == "pip")
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
        pinned = [f"{name}=={version}" for name, version in (name_and_version(file.name) for file in given)]
        for _ in range(MOST_ROUNDS):
            wanted, missing = needed_wheels(board, roots, pool, [file.name for file in given])
            if not missing:
                break
            asked = [line for line in [*asked, *missing] if not is_stood_in(line, given)]
            _clear(pool, keep={file.name for file in given})
            download_wheels(board, [*dict.fromkeys([*for_board(asked, board), *pinned])], pool, heed)
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


def _given_wheels(folder: Path, board: BoardPlatform) -> tuple[Path, ...]:
    """Checked to fit the board. Of our own name none is taken: the agent is that of this installation."""
    if not folder.is_dir():
        raise DeployError(f"--wheelhouse {folder}: is no folder")
    files = sorted(folder.glob("*.whl"))
    if not files:
        raise DeployError(f"--wheelhouse {folder}: holds no .whl file")
    fitting: dict[str, Path] = {}
    tags = board.tags
    for file in files:
        name, _ = name_and_version(file.name)
        if name == DISTRIBUTION:
            continue
        if not zipfile.is_zipfile(file):
            raise DeployError(
                f"{file}: is no wheel, its {file.stat().st_size} bytes are no zip file; download it again"
            )
        if not tags & tags_of_wheel(file.name):
            raise DeployError(
                f"{file}: does not fit the board, which is {board.architecture} with Python {board.python_text} and "
                f"glibc {board.glibc[0]}.{board.glibc[1]}; take it out of the folder or get the one for "
                f"{board.interpreter} and linux_{board.architecture}"
            )
        if name in fitting:
            raise DeployError(f"--wheelhouse {folder}: holds {fitting[name].name} and {file.name}; leave one of them")
        fitting[name] = file
    return tuple(fitting.values())


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
