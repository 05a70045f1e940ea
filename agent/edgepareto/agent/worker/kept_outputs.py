"""What a model gives for every sample row, kept until it is fetched: bounded, and as one .npz file's bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from edgepareto.agent.errors import Status, WorkerError
from numpy.typing import NDArray

__all__ = ["LARGEST_OUTPUTS_BYTES", "KeptOutputs"]

# A host asks for as many rows as make a quarter of it; the board holds them twice while they are packed.
LARGEST_OUTPUTS_BYTES = 128 << 20

Array = NDArray[np.generic]


class KeptOutputs:
    """Per output an array whose row i is what run i gave. Raises WorkerError with the verdict."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._arrays: dict[str, Array] = {}
        self._packed: memoryview | None = None

    def keep(self, place: int, outputs: Mapping[str, Array]) -> None:
        values = {name: np.asarray(array) for name, array in outputs.items()}
        if not self._arrays:
            self._make_room(values)
        for name, array in values.items():
            kept = self._arrays[name]
            if array.shape != kept.shape[1:]:
                raise WorkerError(
                    Status.LOAD_FAILED,
                    f"output {name} has shape {array.shape} for row {place} and {kept.shape[1:]} for the first; only "
                    "outputs of one size can be compared",
                )
            kept[place] = array

    def packed(self) -> memoryview:
        """The whole .npz file; after the first call nothing more can be kept."""
        if self._packed is None:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
                for name in tuple(self._arrays):  # an array goes as soon as it is written
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, self._arrays.pop(name), allow_pickle=False)
            self._packed = buffer.getbuffer()
        return self._packed

    def _make_room(self, first: Mapping[str, Array]) -> None:
        for name, array in first.items():
            if array.dtype.hasobject:
                raise WorkerError(Status.LOAD_FAILED, f"output {name} holds text, not numbers; only numbers are sent")
        total_bytes = self._rows * sum(array.nbytes for array in first.values())
        if total_bytes > LARGEST_OUTPUTS_BYTES:
            raise WorkerError(
                Status.OOM,
                f"the outputs of {self._rows} rows take {total_bytes / 1e6:,.0f} MB, the board keeps at most "
                f"{LARGEST_OUTPUTS_BYTES / 1e6:,.0f} MB; ask for fewer rows at once",
            )
        self._arrays = {name: np.empty((self._rows, *array.shape), array.dtype) for name, array in first.items()}
