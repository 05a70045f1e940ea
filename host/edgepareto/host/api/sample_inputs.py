"""What a model is fed where nobody scores it: calibration samples, or seeded numbers."""

from __future__ import annotations

from collections.abc import Sequence

from edgepareto.host.accuracy import Dataset, load_dataset, uniform_dataset
from edgepareto.host.config import Settings
from edgepareto.host.errors import DataError
from edgepareto.host.export import InputTensor

__all__ = ["SAMPLE_INPUTS", "sample_inputs"]

SAMPLE_INPUTS = 4


def sample_inputs(inputs: Sequence[InputTensor], chosen: Settings, *, must_fit: bool) -> tuple[Dataset, str]:
    """Calibration samples; uniform ones where there are none, or where the settings' own belong to another model."""
    if chosen.data.calibration is not None:
        try:
            found = load_dataset(chosen.data.calibration, chosen.data, inputs, folder=chosen.folder, labelled=False)
            return found.first(SAMPLE_INPUTS * max(1, *found.batches.values())), "calibration"
        except DataError:
            if must_fit:
                raise
    return uniform_dataset(inputs, count=SAMPLE_INPUTS), "uniform"
