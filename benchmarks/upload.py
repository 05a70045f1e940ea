"""A model of 100 MB to the board: how fast, at what memory, and what it costs a second time.

    python benchmarks/upload.py [--megabytes 100] [--uploads 7]

Host and agent are processes of their own and speak mutual TLS over loopback, as with a board; the agent hashes what it
receives and calls it stored when fsync has returned. Prints pass or fail and ends with 1 where something failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from counting_proxy import counting_proxy
from edgepareto.host.config import DeviceConfig
from edgepareto.host.credentials import issue_board_credentials, own_identity
from edgepareto.host.fleet.blobs import upload_missing
from edgepareto.host.fleet.channel import channel_for, open_stub
from edgepareto.profiler.v1 import profiler_pb2 as pb
from markdown_table import markdown_table
from measurement_verdict import Verdict, compared

BOARD_ID = "benchmark-board"
SMALL_BYTES = 64 << 10
LEAST_MB_PER_S = 120
MOST_EXTRA_MB = 16
MOST_AGAIN_BYTES = 16_000  # two handshakes and a question; a model of 100 MB would show


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """By one host process. peak_bytes: its largest resident memory."""

    seconds: float
    peak_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--uploads", type=int, default=7)
    parser.add_argument("--send", nargs=2, metavar=("ADDRESS", "MODEL"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.send:
        address, model = asked.send
        print(json.dumps(send(address, Path(model))))
        return 0
    verdicts = measure(asked.megabytes * 1_000_000, asked.uploads)
    rows = [[verdict.check, verdict.seen, verdict.bar, verdict.word] for verdict in verdicts]
    print(markdown_table(["check", "seen", "bar", ""], rows))
    return 1 if any(verdict.passed is False for verdict in verdicts) else 0


def measure(size_bytes: int, uploads: int) -> list[Verdict]:
    with TemporaryDirectory(prefix="ep-upload-") as scratch:
        folder = Path(scratch)
        os.environ["EDGEPARETO_CONFIG"] = str(folder / "host")
        with _agent(folder / "small") as (address, process):
            small = _send(address, _model(folder, SMALL_BYTES))
            small_agent = _peak_bytes(process)
        with _agent(folder / "large") as (address, process):
            models = [_model(folder, size_bytes) for _ in range(uploads)]
            sent = [_send(address, model) for model in models]
            large_agent = _peak_bytes(process)
            with counting_proxy(address) as proxy:
                again = _send(proxy.address, models[-1])
                again_bytes = proxy.bytes_from_host
            written = [_write_s(models[0], folder / "written") for _ in range(uploads)]
    rates = sorted(size_bytes / 1e6 / one.seconds for one in sent)
    host_extra = max(one.peak_bytes for one in sent) - small.peak_bytes
    agent_extra = large_agent - small_agent
    what = f"{size_bytes / 1e6:.0f} MB"
    median = statistics.median(rates)
    return [
        Verdict(
            check=f"{what} over loopback: TLS, sha256, fsync; median of {uploads}",
            seen=f"{median:.0f} MB/s ({rates[0]:.0f} to {rates[-1]:.0f})",
            bar=f"{LEAST_MB_PER_S} MB/s",
            passed=median >= LEAST_MB_PER_S,
        ),
        compared("writing and fsync alone, same disk", f"{size_bytes / 1e6 / statistics.median(written):.0f} MB/s"),
        _extra("the host", host_extra),
        _extra("the agent", agent_extra),
        Verdict(
            check="the same model again",
            seen=f"{again_bytes} bytes from the host, {again.seconds * 1e3:.0f} ms",
            bar=f"{MOST_AGAIN_BYTES} bytes",
            passed=again_bytes <= MOST_AGAIN_BYTES,
        ),
    ]


def _extra(whose: str, seen_bytes: int) -> Verdict:
    return Verdict(
        check=f"more memory at its peak than for {SMALL_BYTES >> 10} KiB, {whose}",
        seen=f"{seen_bytes / 1e6:.1f} MB",
        bar=f"{MOST_EXTRA_MB} MB",
        passed=seen_bytes <= MOST_EXTRA_MB * 1e6,
    )


def send(address: str, model: Path) -> dict[str, float]:
    """In a process of its own, by the host's own code; timed from the question what is missing to the last answer."""
    device = DeviceConfig(name="board", address=address, board_id=BOARD_ID)
    with channel_for(device) as channel:
        stub = open_stub(channel)
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="benchmark", ttl_s=60), timeout=5)
        files = {model.name: model}
        started = time.monotonic()
        upload_missing(stub, lease.lease_id, files)
        seconds = time.monotonic() - started
        stub.ReleaseLease(pb.ReleaseLeaseRequest(lease_id=lease.lease_id), timeout=5)
    return {"seconds": seconds, "peak_bytes": _peak_bytes(os.getpid())}


def _send(address: str, model: Path) -> Sent:
    command = [sys.executable, __file__, "--send", address, str(model)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return Sent(**json.loads(ran.stdout))


@contextmanager
def _agent(folder: Path) -> Iterator[tuple[str, int]]:
    """Its address and process, with credentials as `host deploy` gives them."""
    identity = own_identity()
    board = issue_board_credentials(identity, BOARD_ID)
    credentials = folder / "credentials"
    (credentials / "owners").mkdir(parents=True)
    (credentials / "agent.pem").write_bytes(board.certificate_pem)
    (credentials / "agent.key").write_bytes(board.key_pem)
    (credentials / "agent.key").chmod(0o600)
    (credentials / "owners" / "benchmark.pem").write_bytes(identity.ca_pem)
    config = folder / "agent.toml"
    config.write_text(f'blob_quota_mb = 4096\n[credentials]\nfolder = "{credentials}"\n')
    command = [sys.executable, "-m", "edgepareto.agent", "--config", str(config), "--state", str(folder / "state")]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--die-with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["listening"], process.pid
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        shutil.rmtree(folder)


def _model(folder: Path, size_bytes: int) -> Path:
    """Named by its sha256, as the store names it."""
    content = secrets.token_bytes(size_bytes)
    model = folder / hashlib.sha256(content).hexdigest()
    model.write_bytes(content)
    return model


def _write_s(source: Path, target: Path) -> float:
    content = source.read_bytes()
    started = time.monotonic()
    with target.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.monotonic() - started
    target.unlink()
    return seconds


def _peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found.group(1)) << 10


if __name__ == "__main__":
    sys.exit(main())
