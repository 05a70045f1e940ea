"""A model's outputs asked for and heard to their end. What a board sends is bounded and believed nothing."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Mapping

import numpy as np
from edgepareto.host.domain import DeviceName
from edgepareto.host.errors import DeviceLost, EvaluationError
from edgepareto.host.fleet.line import Line
from edgepareto.profiler.v1 import profiler_pb2 as pb
from numpy.typing import NDArray

__all__ = ["OUTPUTS_DEADLINE_S", "compute_outputs"]

OUTPUTS_DEADLINE_S = 3600.0  # of all rows of one request; the agent ends a worker that hangs much sooner
LARGEST_FILE_BYTES = 160 << 20  # agents send up to 128 MiB of arrays

Arrays = Mapping[str, NDArray[np.generic]]


def compute_outputs(
    line: Line, device: DeviceName, request: pb.ComputeOutputsRequest, *, on_rows: Callable[[int], None]
) -> Arrays:
    """By output, row i of run i. on_rows: how many are computed.

    Raises grpc.RpcError, EvaluationError where the model fails on the board, DeviceLost where the answer is not one.
    """
    data = bytearray()
    call = line.stub.ComputeOutputs(request, timeout=OUTPUTS_DEADLINE_S)
    try:
        for event in call:
            kind = event.WhichOneof("event")
            if kind == "progress":
                on_rows(event.progress.rows)
            elif kind == "outputs":
                data += event.outputs
                if len(data) > LARGEST_FILE_BYTES:
                    raise DeviceLost(
                        f"{device}: sends more outputs than the {LARGEST_FILE_BYTES} bytes that agents send"
                    )
            elif kind == "done":
                _require_ok(device, event.done)
                return _arrays(device, bytes(data))
    finally:
        call.cancel()
    raise DeviceLost(f"{device}: its outputs ended before they were whole")


def _require_ok(device: DeviceName, done: pb.ComputeOutputsDone) -> None:
    if done.status == pb.OK:
        return
    status = pb.Status.Name(done.status) if done.status in pb.Status.values() else f"status {done.status}"
    raise EvaluationError(f"{device}: {status} {done.message}".rstrip())


def _arrays(device: DeviceName, data: bytes) -> Arrays:
    """np.load would unpack what is compressed, and make room for what a header only claims."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in archive.infolist()}
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DeviceLost(f"{device}: sent outputs that are no .npz file: {error}") from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[np.generic]:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    content = archive.read(entry)
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > len(content):
        raise ValueError(f"{entry.filename} claims {shape} of {dtype} in {len(content)} bytes")
    file.seek(0)
    loaded: NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
    return loaded
