"""`verify`: the accuracy of a study's candidates on a board itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepareto.host.config import Flags, read_settings
from edgepareto.host.domain.progress import StudyNotice
from edgepareto.host.domain.verified import VerifiedDevice
from edgepareto.host.errors import ConfigError

__all__ = ["verify"]


def verify(
    study: str | Path | None = None,
    *,
    device: str,
    pick: str | None = None,
    samples: int | None = None,
    wait_minutes: float = 2,
    settings: str | Path | None = None,
    listener: Callable[[StudyNotice], None] | None = None,
) -> VerifiedDevice:
    """Score candidates on the device and on the host, by the same files on the same samples.

    study None: the one that `settings` (edgepareto.toml) names. pick: knee, fastest, most-accurate or least-energy of
    the device's front, or an id, which may be shortened; None: every member. samples: of the test split, of validation
    where there is none; None: 500, or all of fewer. wait_minutes: in line for a board that others use.

    Nothing is timed, stored or changed. A candidate that fails there is told in its result. Raises StudyError,
    WrongUse, DataError, DeviceError.
    """
    from edgepareto.host.study import verify as verify_study  # brings pymoo and grpc

    chosen = read_settings(None if settings is None else Path(settings), Flags())
    if study is None and settings is None:
        raise ConfigError("no study: give its folder, or an edgepareto.toml")
    return verify_study(
        chosen.study if study is None else Path(study),
        device=device,
        choice=pick,
        samples=samples,
        known=chosen.known,
        folder=chosen.folder,
        listener=listener or _ignore,
        wait_s=60 * wait_minutes,
    )


def _ignore(notice: StudyNotice) -> None:
    return None
