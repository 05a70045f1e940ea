"""What a layer sees: its input gathered at a few output positions per image, as a matrix.

The positions are drawn once per layer and chunk from a fixed seed, so a dense target and a candidate's input are taken
at the same places, in every process.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from edgepareto.host.pruning.layer import Layer, LayerKind
from edgepareto.host.pruning.normal_form.attributes import ints_attribute, text_attribute
from edgepareto.host.pruning.repair.segments import Chunks
from numpy.typing import NDArray

__all__ = ["POSITIONS_PER_IMAGE", "PatchSampler"]

POSITIONS_PER_IMAGE = 12  # docs/pruning.md: more buys nothing
SEED = 20_24


class PatchSampler:
    """Gathers for one layer. Convolution: (rows, channels, taps); linear: (rows, features, 1); grouped convolution,
    where each group is a problem of its own: (channels, rows, taps)."""

    def __init__(
        self,
        layer: Layer,
        number: int,
        node: onnx.NodeProto,
        kernel: Sequence[int],
        *,
        positions: int = POSITIONS_PER_IMAGE,
    ) -> None:
        self._positions = positions
        self._linear = layer.kind is LayerKind.LINEAR
        self._grouped = layer.kind is LayerKind.GROUPED
        self._number = number
        self._kernel = tuple(kernel)
        rank = len(self._kernel)
        self._strides = ints_attribute(node, "strides") or [1] * rank
        self._dilations = ints_attribute(node, "dilations") or [1] * rank
        self._pads = ints_attribute(node, "pads")
        self._transposed = node.op_type == "ConvTranspose"
        self._output_padding = ints_attribute(node, "output_padding") or [0] * rank
        self._auto_pad = text_attribute(node, "auto_pad", "NOTSET")
        self._indices: dict[tuple[int, tuple[int, ...]], tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}

    def gather(self, chunks: Chunks) -> NDArray[np.float32]:
        if self._linear:
            return np.concatenate([self._features(number, chunk) for number, chunk in enumerate(chunks)])[:, :, None]
        sizes = [self._rows(number, chunk) for number, chunk in enumerate(chunks)]
        channels, taps = chunks[0].shape[1], int(np.prod(self._kernel))
        shape = (channels, sum(sizes), taps) if self._grouped else (sum(sizes), channels, taps)
        gathered = np.empty(shape, dtype=np.float32)
        stops = np.cumsum(sizes)
        for number, (chunk, start, stop) in enumerate(zip(chunks, stops - sizes, stops, strict=True)):
            patches = self._patches(number, chunk)
            if self._grouped:
                gathered[:, start:stop] = patches.transpose(1, 0, 2, 3).reshape(channels, -1, taps)
            else:
                gathered[start:stop].reshape(len(chunk), -1, channels, taps)[...] = patches.transpose(0, 2, 1, 3)
        return gathered

    def gather_outputs(self, chunks: Chunks, inputs: Chunks) -> NDArray[np.float32] | None:
        """(rows, outputs) of a tensor shaped like the layer's output, at the same positions as `gather` of its inputs.

        None where its shape is another.
        """
        parts = []
        for number, (chunk, data) in enumerate(zip(chunks, inputs, strict=True)):
            if self._linear:
                if chunk.shape[:-1] != data.shape[:-1]:
                    return None
                parts.append(self._features(number, chunk))
                continue
            _, outputs = self._geometry(data.shape[2:])
            if (chunk.shape[0], *chunk.shape[2:]) != (data.shape[0], *outputs):
                return None
            drawn = self._draw(number, int(np.prod(outputs)))
            taken = np.take(chunk.reshape(*chunk.shape[:2], -1), drawn, axis=2)
            parts.append(taken.transpose(0, 2, 1).reshape(-1, chunk.shape[1]))
        return np.concatenate(parts)

    def _features(self, number: int, chunk: NDArray[np.generic]) -> NDArray[np.float32]:
        """Linear layers act on the last axis; the axes between it and the batch are positions."""
        sequence = chunk.reshape(chunk.shape[0], -1, chunk.shape[-1]).astype(np.float32, copy=False)
        if sequence.shape[1] > self._positions:
            sequence = sequence[:, self._draw(number, sequence.shape[1])]
        return sequence.reshape(-1, sequence.shape[-1])

    def _rows(self, number: int, chunk: NDArray[np.generic]) -> int:
        indices, _ = self._gather_indices(number, chunk.shape[2:])
        return int(chunk.shape[0]) * len(indices)

    def _patches(self, number: int, chunk: NDArray[np.generic]) -> NDArray[np.float32]:
        """(images, channels, positions, taps)."""
        indices, inside = self._gather_indices(number, chunk.shape[2:])
        positions, taps = indices.shape
        images, channels = chunk.shape[:2]
        taken = np.take(chunk.reshape(images, channels, -1), indices.reshape(-1), axis=2)
        taken = taken.reshape(images, channels, positions, taps)
        return np.asarray(taken if inside.all() else taken * inside, dtype=np.float32)

    def _gather_indices(self, number: int, size: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Flat input positions (positions, taps) of the drawn output positions, and which of them are not padding."""
        found = self._indices.get((number, size))
        if found is not None:
            return found
        begins, outputs = self._geometry(size)
        drawn = np.unravel_index(self._draw(number, int(np.prod(outputs))), outputs)
        taps = np.unravel_index(np.arange(int(np.prod(self._kernel))), self._kernel)
        flat = np.zeros((len(drawn[0]), len(taps[0])), dtype=np.int64)
        inside = np.ones(flat.shape, dtype=bool)
        for axis, length in enumerate(size):
            tap, stride = taps[axis][None] * self._dilations[axis], self._strides[axis]
            if self._transposed:  # output o takes input i through tap k where stride x i = o + begin - k
                place, rest = np.divmod(drawn[axis][:, None] + begins[axis] - tap, stride)
                inside &= rest == 0
            else:
                place = drawn[axis][:, None] * stride + tap - begins[axis]
            inside &= (place >= 0) & (place < length)
            flat = flat * length + np.clip(place, 0, length - 1)
        self._indices[number, size] = flat, inside
        return flat, inside

    def _geometry(self, size: tuple[int, ...]) -> tuple[list[int], tuple[int, ...]]:
        """Padding before each axis, and the output's sizes."""
        rank = len(size)
        spans = [(kernel - 1) * dilation + 1 for kernel, dilation in zip(self._kernel, self._dilations, strict=True)]
        if self._auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            outputs = [-(-length // stride) for length, stride in zip(size, self._strides, strict=True)]
            totals = [
                max((out - 1) * stride + span - length, 0)
                for out, stride, span, length in zip(outputs, self._strides, spans, size, strict=True)
            ]
            return [t // 2 if self._auto_pad == "SAME_UPPER" else t - t // 2 for t in totals], tuple(outputs)
        pads = self._pads or [0] * (2 * rank)
        if self._transposed:
            around = [pads[axis] + pads[rank + axis] - self._output_padding[axis] for axis in range(rank)]
            outputs = [self._strides[axis] * (size[axis] - 1) + spans[axis] - around[axis] for axis in range(rank)]
            return pads[:rank], tuple(outputs)
        outputs = [
            (size[axis] + pads[axis] + pads[rank + axis] - spans[axis]) // self._strides[axis] + 1
            for axis in range(rank)
        ]
        return pads[:rank], tuple(outputs)

    def _draw(self, number: int, count: int) -> NDArray[np.int64]:
        if count <= self._positions:
            return np.arange(count)
        generator = np.random.default_rng([SEED, self._number, number])
        return np.sort(generator.choice(count, self._positions, replace=False))
