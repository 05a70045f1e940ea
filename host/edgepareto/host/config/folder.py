"""The user's configuration folder, and how its files are changed: whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepareto.host.errors import ConfigError

__all__ = ["config_folder", "home_folder", "locked", "shown", "sync_folder", "write_whole"]

FOLDER_VARIABLE = "EDGEPARETO_CONFIG"  # another folder, for example for tests or a second identity


def config_folder() -> Path:
    """Of this user, as the platform has it (~/.config/edgepareto on Linux), or $EDGEPARETO_CONFIG. Need not exist.

    Raises ConfigError for a user without a home.
    """
    from platformdirs import user_config_path

    named = os.environ.get(FOLDER_VARIABLE)
    try:
        folder = Path(named).expanduser().absolute() if named else user_config_path("edgepareto")
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # some releases of platformdirs raise, others leave the ~
        raise ConfigError(f"this user has no home folder; set HOME, or {FOLDER_VARIABLE} to a folder")
    return folder


def home_folder() -> Path | None:
    """None: the user has none, as in a container whose user id has no name."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def shown(file: Path) -> str:
    """As a user would type it: from the current folder where it lies right in it, else from home."""
    if file == Path.cwd() / file.name:
        return file.name
    home = home_folder()
    return f"~/{file.relative_to(home)}" if home is not None and file.is_relative_to(home) else str(file)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Whoever changes `file`, also another process, waits at the door. The lock stands beside it, as .NAME.lock; in a
    folder that we cannot write there is none, for nobody who could wait for us changes anything there.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file.with_name(f".{file.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_whole(file: Path, content: bytes, *, mode: int = 0o644) -> None:
    """A reader sees the old file or the new one, also after a crash or a power cut. mode: of the new file, never wider
    meanwhile. Raises OSError naming `file`.
    """
    try:
        descriptor, unfinished = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
                os.fchmod(opened.fileno(), mode)
            Path(unfinished).replace(file)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        sync_folder(file.parent)
    except OSError as error:
        error.filename, error.filename2 = str(file), None
        raise


def sync_folder(folder: Path) -> None:
    """What was renamed in it stays so after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
