"""A study as a value: its fronts, the model files behind them, and every way to look at or take something from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.config import Flags, read_settings
from edgepareto.host.domain import CandidateId, DeviceFront, FrontPoint, StudyFronts
from edgepareto.host.domain.point_record import point_record
from edgepareto.host.domain.progress import StudyNotice
from edgepareto.host.domain.recomputed import Recomputed
from edgepareto.host.domain.remeasured import RemeasuredDevice
from edgepareto.host.errors import ConfigError, WrongUse
from edgepareto.host.export import ExportedModel, export_candidate, must_not_overwrite, output_must_be_writable, pick
from edgepareto.host.views import front_csv, front_json, write_front_plot, write_report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DeviceFrontView", "Study", "export", "load_study", "recompute", "remeasure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFrontView:
    """One device's front. `front.points` are its members, fastest first."""

    front: DeviceFront

    @property
    def points(self) -> tuple[FrontPoint, ...]:
        return self.front.front

    @property
    def dense(self) -> FrontPoint:
        return self.front.dense

    def pick(
        self, choice: str = "knee", *, max_latency_ms: float | None = None, min_accuracy: float | None = None
    ) -> FrontPoint:
        """knee, fastest, most-accurate or least-energy of the front within the limits, or a candidate by its id.

        Raises WrongUse where there is none.
        """
        return pick(self.front, choice, max_latency_ms=max_latency_ms, min_accuracy=min_accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One search, finished or stopped. path: its folder."""

    path: Path
    fronts: StudyFronts

    def front(self, device: str) -> DeviceFrontView:
        """Raises WrongUse for a device that the study did not search on."""
        for front in self.fronts.devices:
            if front.device.name == device:
                return DeviceFrontView(front=front)
        names = ", ".join(front.device.name for front in self.fronts.devices)
        raise WrongUse(f"device {device} is not in {self.path}; it has {names or 'none yet'}")

    def only(self, device: str | None) -> Study:
        """The same study with one device alone, all of them for None."""
        if device is None:
            return self
        return Study(path=self.path, fronts=replace(self.fronts, devices=(self.front(device).front,)))

    def model_file(self, candidate: CandidateId) -> Path:
        """The study's own file of it as boards run it, .onnx or .tflite."""
        from edgepareto.host.study import candidate_model  # brings pymoo and grpc

        return candidate_model(self.path, candidate)

    def to_json(self) -> str:
        """The stable interface of `host front --format json`."""
        return front_json(self.fronts, self._file_text)

    def to_csv(self) -> str:
        return front_csv(self.fronts, self._file_text)

    def to_dataframe(self) -> pd.DataFrame:
        """Every measured candidate, one row each, `on_front` where it is a member. ImportError without pandas."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"device": front.device.name, "on_front": on_front}
                | point_record(point, front, file=self._file_text(point.candidate.id), knee=point.is_knee)
                for front in self.fronts.devices
                for on_front, points in ((True, front.front), (False, front.others))
                for point in points
            ]
        )

    def write_html(self, path: str | Path) -> None:
        """The interactive page. WrongUse where it may not be written."""
        self._must_have_devices()
        output_must_be_writable(Path(path))
        self.must_outlive(Path(path))
        write_report(self.fronts, Path(path))

    def write_png(self, path: str | Path) -> None:
        """The picture. WrongUse where it may not be written."""
        self._must_have_devices()
        output_must_be_writable(Path(path))
        self.must_outlive(Path(path))
        write_front_plot(self.fronts, Path(path))

    def must_outlive(self, output: Path) -> None:
        """Raises WrongUse where writing `output` would cost the study's database, its models or the base model."""
        from edgepareto.host.study import irreplaceable  # brings pymoo and grpc

        must_not_overwrite(output, *irreplaceable(self.path))

    def _must_have_devices(self) -> None:
        if not self.fronts.devices:
            raise WrongUse(f"{self.path}: nothing was measured yet; go on with host search --resume")

    def _file_text(self, candidate: CandidateId) -> str:
        """Relative to the study, so that a study that was moved or made again reads the same."""
        return str(self.model_file(candidate).relative_to(self.path))


def load_study(path: str | Path | None = None, *, settings: str | Path | None = None) -> Study:
    """Read a study from its folder alone. path None: the one that `settings` (edgepareto.toml) names.

    Raises StudyError: no study there, or one of a newer version.
    """
    from edgepareto.host.study import read_fronts  # brings pymoo and grpc

    folder = _folder(path, settings)
    return Study(path=folder, fronts=read_fronts(folder))


def recompute(
    path: str | Path | None = None, *, device: str | None = None, settings: str | Path | None = None
) -> tuple[Study, Recomputed]:
    """Every number drawn again from the stored traces alone, and what differs from what was shown last.

    A trace that cannot be read is left out and named. path and settings as in `load_study`. device: one of
    which will be shown alone, so that a wrong name is refused before the comparison is used up. Raises StudyError: no
    study there, one of a newer version, or one that another process works on; WrongUse for a device that it has not.
    """
    from edgepareto.host.study import recompute as recompute_study  # brings pymoo and grpc

    folder = _folder(path, settings)
    recomputed = recompute_study(folder, device=device)
    return Study(path=folder, fronts=recomputed.fronts), recomputed


def remeasure(
    candidates: Sequence[str] = (),
    *,
    study: str | Path | None = None,
    device: str | None = None,
    preset: str | None = None,
    wait_minutes: float = 2,
    settings: str | Path | None = None,
    listener: Callable[[StudyNotice], None] | None = None,
) -> tuple[RemeasuredDevice, ...]:
    """Measure a study's fronts again for real, one more job each, and pool it into every front from then on.

    candidates: ids (shortened while unique), knee, fastest, most-accurate or least-energy; none: every front member.
    device None: every device of the study. preset None: the search's. wait_minutes: in line for boards that others use.
    A search that is resumed decides without what is measured here. Raises StudyError, WrongUse, DeviceError; a lost
    device is told in its result.
    """
    from edgepareto.host.study import keep_shown, read_fronts  # brings pymoo and grpc
    from edgepareto.host.study import remeasure as remeasure_study

    chosen = read_settings(None if settings is None else Path(settings), Flags(preset=preset))
    path = _folder(study, settings)
    found = remeasure_study(
        path,
        device=device,
        candidates=candidates,
        preset=None if preset is None else chosen.search.preset,
        known=chosen.known,
        folder=chosen.folder,
        listener=listener or _ignore,
        wait_s=60 * wait_minutes,
    )
    keep_shown(path, read_fronts(path))
    return found


def export(
    study: Study | str | Path,
    output: str | Path,
    *,
    device: str,
    pick: str = "knee",
    max_latency_ms: float | None = None,
    min_accuracy: float | None = None,
) -> ExportedModel:
    """Write a chosen model as that device ran it, .onnx or .tflite, to `output`, its card to `output`.json.

    pick and the limits: see `DeviceFrontView.pick`.

    Raises WrongUse: unknown device or candidate, nothing within the limits, an output that may not be written.
    """
    opened = study if isinstance(study, Study) else load_study(study)
    view = opened.front(device)
    point = view.pick(pick, max_latency_ms=max_latency_ms, min_accuracy=min_accuracy)
    opened.must_outlive(Path(output))
    file = opened.model_file(point.candidate.id)
    return export_candidate(point, view.front, file, Path(output), opened.fronts)


def _folder(path: str | Path | None, settings: str | Path | None) -> Path:
    if path is None and settings is None:
        raise ConfigError("no study: give its folder, or an edgepareto.toml")
    return Path(path) if path is not None else read_settings(Path(str(settings)), Flags()).study


def _ignore(notice: StudyNotice) -> None:
    return None
