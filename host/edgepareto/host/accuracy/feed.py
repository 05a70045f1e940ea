"""What a model is fed, and what it is seen as: a function of any number of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Feed", "Predict"]

Array = NDArray[np.generic]

Predict = Callable[[Mapping[str, Array]], Array]
"""A model: inputs of any number of samples, as `Dataset.feed` gives them, to its first output, one row each."""


class Feed(dict[str, Array]):
    """Inputs by name, and which samples of a data set they are."""

    def __init__(self, arrays: Mapping[str, Array], samples: range) -> None:
        super().__init__(arrays)
        self._given = dict(arrays)
        self._samples = samples

    @property
    def rows(self) -> range | None:
        """Consecutive ones; None where they are not, or where other arrays were put in."""
        is_as_given = len(self) == len(self._given) and all(self.get(k) is v for k, v in self._given.items())
        return self._samples if is_as_given and self._samples.step == 1 else None
