"""Two thousand messages per call that make sense to nobody, of a host that may use the board: always a status.

Half are of the contract's shape with arbitrary values, half are arbitrary bytes. Afterwards the same agent measures.
"""

from __future__ import annotations

import math
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from edgepareto.agent.servicer import UPLOADS_AT_ONCE
from edgepareto.host.domain import Batch, DeviceName, Status
from edgepareto.host.export import sha256_of
from edgepareto.host.fleet import wire
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.batches import batch_of
from fakes.certificates import BOARD_NAME, Certificate
from fakes.models import classifier
from fakes.secured_agent import SecuredAgent, dial, profiler, secured_agent
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

ROUNDS = 4
MESSAGES_PER_ROUND = 500  # of each call
SETTLED = 1  # the round after which the allocator has what it needs; up to 2 MB come and go ever after
GROWTH_BYTES = 4 << 20  # from there to the end; a leak of 1 kB per message would be more than twice that
DEADLINE_S = 30
CALLS_AT_ONCE = 4
SERVICE = pb.DESCRIPTOR.services_by_name["Profiler"]
CODES = grpc.StatusCode
# What a host is told for nonsense. Anything else, as INTERNAL of a bug or UNAVAILABLE of a dead agent, fails the test.
ANSWERS = {
    CODES.OK,
    CODES.INVALID_ARGUMENT,
    CODES.PERMISSION_DENIED,
    CODES.NOT_FOUND,
    CODES.FAILED_PRECONDITION,
    CODES.RESOURCE_EXHAUSTED,
    CODES.DATA_LOSS,
    CODES.ABORTED,
}
TEXTS = ["", "k", "../../etc/passwd", "\0", "\x1b[2J", "é" * 300, "a" * 5_000, "ab" * 32, "quick", "onnxruntime"]
NUMBERS = [0, 1, 2, 30, 600, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
SIZES = [1, 2, 10, 100, 3000] * 50 + [3 << 20]  # the last is more than the agent takes in one message
LENGTHS = [1, 2, 7] * 5 + [1100]  # of lists
REALS = [0.0, -0.0, 1e-3, -1.0, math.inf, -math.inf, math.nan, 1e308]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[SecuredAgent]:
    with secured_agent(tmp_path) as running:
        yield running


def test_no_message_makes_the_agent_fail_grow_or_forget_how_to_measure(agent: SecuredAgent, tmp_path: Path):
    host = agent.ann.host()
    with dial(agent.address, agent.ann, host) as channel:
        codes: Counter[grpc.StatusCode] = Counter()
        resident = []
        for number in range(ROUNDS):
            for method in SERVICE.methods:
                lease = take_board(channel)
                rng = random.Random(f"{method.name} {number}")
                seen = _sent(channel, method.name, MESSAGES_PER_ROUND, rng, lease)
                assert set(seen) <= ANSWERS, method.name
                codes += seen
            _send_garbage_inside_tls(agent, host, 50, random.Random(number))
            resident.append(agent.resident_bytes())
        assert resident[-1] - resident[SETTLED] < GROWTH_BYTES, resident
        assert list((agent.state / "blobs").iterdir()) == []
        assert _measured(channel, batch_of(classifier(), tmp_path, anchor="dense", candidates=("c0",))) == [
            Status.OK,
            Status.OK,
        ]
    assert sum(codes.values()) == len(SERVICE.methods) * ROUNDS * MESSAGES_PER_ROUND
    assert codes[CODES.OK] > 1000, codes  # so arbitrary that none makes sense they were not
    assert "Traceback" not in agent.log.read_text()
    assert len(agent.log_lines()) < 50, agent.log_lines()


def take_board(channel: grpc.Channel) -> str:
    """Whoever has it: some of the nonsense takes the board, or waits in line for it and never comes for it."""
    stub = profiler(channel)
    stub.Unlock(pb.UnlockRequest(by="test"), timeout=DEADLINE_S)
    next_in_line = "ann@desk test"
    for _ in range(3):
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner=next_in_line, ttl_s=600), timeout=DEADLINE_S)
        if lease.granted:
            return lease.lease_id
        next_in_line = lease.owner.removeprefix("ann@desk as ") or "ann@desk test, again"
    pytest.fail(f"the board is not to be had: {lease}")


def _sent(channel: grpc.Channel, method: str, count: int, rng: random.Random, lease: str) -> Counter[grpc.StatusCode]:
    """Half of shape, half bytes; as many at once as the agent takes."""
    kind = SERVICE.methods_by_name[method]
    call = _raw_call(channel, kind.full_name.rpartition(".")[2], kind.client_streaming, kind.server_streaming)
    request = getattr(pb, kind.input_type.name)
    messages = []
    for number in range(count):
        pieces = rng.choice([1, 1, 2, 3]) if kind.client_streaming else 1
        if number % 2:
            payloads = [rng.randbytes(rng.choice(SIZES)) for _ in range(pieces)]
        else:
            payloads = [_filled(request(), rng, lease).SerializeToString() for _ in range(pieces)]
        messages.append(payloads)

    def answer(payloads: list[bytes]) -> grpc.StatusCode:
        try:
            call(payloads)
        except grpc.RpcError as error:
            return error.code()
        return CODES.OK

    with ThreadPoolExecutor(UPLOADS_AT_ONCE if kind.client_streaming else CALLS_AT_ONCE) as pool:
        return Counter(pool.map(answer, messages))


def _raw_call(
    channel: grpc.Channel, method: str, sends_stream: bool, gets_stream: bool
) -> Callable[[list[bytes]], object]:
    """Takes serialised messages, so that they need be none."""
    path = f"/{SERVICE.full_name}/{method}"
    if sends_stream:
        upload = channel.stream_unary(path)
        return lambda payloads: upload(iter(payloads), timeout=DEADLINE_S)
    if gets_stream:
        stream = channel.unary_stream(path)
        return lambda payloads: list(stream(payloads[0], timeout=DEADLINE_S))
    unary = channel.unary_unary(path)
    return lambda payloads: unary(payloads[0], timeout=DEADLINE_S)


def _filled(message: Message, rng: random.Random, lease: str, depth: int = 0) -> Message:
    for field in message.DESCRIPTOR.fields:
        if field.name == "lease_id" and rng.random() < 0.7:
            message.lease_id = lease
        elif rng.random() < 0.6:
            _fill(message, field, rng, lease, depth)
    return message


def _fill(message: Message, field: FieldDescriptor, rng: random.Random, lease: str, depth: int) -> None:
    for _ in range(rng.choice(LENGTHS) if field.is_repeated and depth == 0 else 1):
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            child = getattr(message, field.name)
            _filled(child.add() if field.is_repeated else child, rng, lease, depth + 1)
            continue
        value = _value(field, rng)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def _value(field: FieldDescriptor, rng: random.Random) -> object:
    kinds = FieldDescriptor
    if field.type == kinds.TYPE_STRING:
        chosen = rng.randrange(len(TEXTS) + 1)
        return TEXTS[chosen] if chosen < len(TEXTS) else "".join(chr(rng.randrange(1, 0xD800)) for _ in range(20))
    if field.type == kinds.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 1000]))
    if field.type == kinds.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == kinds.TYPE_DOUBLE:
        return rng.choice(REALS)
    if field.type == kinds.TYPE_ENUM:
        return rng.choice([*field.enum_type.values_by_number, 77])
    largest = 2**32 if field.type == kinds.TYPE_UINT32 else 2**64
    return rng.choice(NUMBERS) % largest


def _send_garbage_inside_tls(agent: SecuredAgent, host: Certificate, count: int, rng: random.Random) -> None:
    """What is no HTTP/2, from who has passed TLS."""
    context = ssl.create_default_context(cadata=agent.ann.certificate.decode())
    context.set_alpn_protocols(["h2"])
    pair = agent.state.parent / "pair.pem"
    pair.write_bytes(host.certificate + host.key)
    context.load_cert_chain(pair)
    address, _, port = agent.address.rpartition(":")
    for number in range(count):
        with (
            socket.create_connection((address, int(port)), timeout=DEADLINE_S) as raw,
            context.wrap_socket(raw, server_hostname=BOARD_NAME) as secure,
        ):
            preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if number % 2 else b""
            secure.sendall(preface + rng.randbytes(rng.choice([1, 9, 100, 10_000])))


def _measured(channel: grpc.Channel, batch: Batch) -> list[Status]:
    stub, lease = profiler(channel), take_board(channel)
    files = {path: sha256_of(path) for path in (batch.anchor.model, batch.anchor.expected_outputs, batch.inputs)}
    for path, digest in files.items():
        header = pb.BlobHeader(lease_id=lease, sha256=digest, size_bytes=path.stat().st_size)
        data = [pb.UploadBlobRequest(header=header), pb.UploadBlobRequest(data=path.read_bytes())]
        stub.UploadBlob(iter(data), timeout=DEADLINE_S)
    chunks = [
        event.result_chunk
        for event in stub.Profile(wire.profile_request(batch, files, lease), timeout=DEADLINE_S)
        if event.HasField("result_chunk")
    ]
    assert all(chunk.last for chunk in chunks)
    return [wire.profile_trace(chunk.data, DeviceName("pi1")).status for chunk in chunks]
