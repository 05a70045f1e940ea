"""Inferences on a GPU: inputs and outputs lie in its memory, and each has ended before the next line of Python runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import onnxruntime
from edgepareto.agent.errors import Status, WorkerError
from numpy.typing import NDArray

__all__ = ["DeviceRuns"]

KEPT_BYTES = 256 << 20  # of inputs; sample rows are tens of megabytes, a Jetson's memory is shared with its processor
_DEVICE, _DEVICE_ID = "cuda", 0

Feed: TypeAlias = Mapping[str, NDArray[np.generic]]


class DeviceRuns:
    """Of one session. A feed is copied to the GPU when it is first seen and stays there, up to KEPT_BYTES in all.

    So the copy is in the time of a first run alone, as the sample rows come again and again. A feed must not change.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = {value.name for value in session.get_inputs()}
        self._outputs = [value.name for value in session.get_outputs()]
        self._bound: dict[int, tuple[Feed, onnxruntime.IOBinding]] = {}  # with the feed, so that its id stays its own
        self._kept_bytes = 0

    def run(self, feed: Feed) -> None:
        self._finished(feed)

    def outputs(self, feed: Feed) -> dict[str, NDArray[np.generic]]:
        return dict(zip(self._outputs, self._finished(feed).copy_outputs_to_cpu(), strict=True))

    def _finished(self, feed: Feed) -> onnxruntime.IOBinding:
        kept = self._bound.get(id(feed))
        binding = kept[1] if kept is not None else self._bind(feed)
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()  # a GPU works on after the call has returned
        return binding

    def _bind(self, feed: Feed) -> onnxruntime.IOBinding:
        if feed.keys() != self._inputs:  # a provider may crash on one that is not bound
            raise WorkerError(
                Status.LOAD_FAILED,
                f"the sample inputs are {', '.join(sorted(feed)) or 'none'}, the model takes "
                f"{', '.join(sorted(self._inputs))}",
            )
        binding = self._session.io_binding()
        for name, values in feed.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(values, order="C"), _DEVICE, _DEVICE_ID)
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, _DEVICE, _DEVICE_ID)
        binding.synchronize_inputs()
        size_bytes = sum(values.nbytes for values in feed.values())
        if self._kept_bytes + size_bytes <= KEPT_BYTES:
            self._kept_bytes += size_bytes
            self._bound[id(feed)] = (feed, binding)
        return binding
