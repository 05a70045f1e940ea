"""Files to the board, streamed, and only those it misses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgepareto.host.fleet.channel import CALL_DEADLINE_S
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc

__all__ = ["sha256_of", "upload_missing"]

CHUNK_BYTES = 256 << 10  # larger ones are no faster, and the board holds several
SLOWEST_LINK_BYTES_PER_S = 50_000  # a slower upload is given up; keepalive notices one that stands still


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def upload_missing(stub: profiler_pb2_grpc.ProfilerStub, lease_id: str, files: Mapping[str, Path]) -> None:
    """files: by the sha256 of their bytes. Raises grpc.RpcError."""
    answer = stub.HasBlobs(pb.HasBlobsRequest(sha256=sorted(files)), timeout=CALL_DEADLINE_S)
    for digest in answer.missing_sha256:
        size_bytes = files[digest].stat().st_size
        header = pb.BlobHeader(lease_id=lease_id, sha256=digest, size_bytes=size_bytes)
        timeout_s = 30 + size_bytes / SLOWEST_LINK_BYTES_PER_S
        stub.UploadBlob(_messages(header, files[digest]), timeout=timeout_s)


def _messages(header: pb.BlobHeader, path: Path) -> Iterator[pb.UploadBlobRequest]:
    yield pb.UploadBlobRequest(header=header)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield pb.UploadBlobRequest(data=chunk)
