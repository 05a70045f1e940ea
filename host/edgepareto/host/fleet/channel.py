"""How the host dials an agent: keepalive, retries, deadlines; and what a broken call says in our words."""

from __future__ import annotations

import json

import grpc
from edgepareto.host.config import DeviceConfig, is_this_machine
from edgepareto.host.credentials import ClientCredentials, dialling_order
from edgepareto.host.domain import DeviceInfo, DeviceName
from edgepareto.host.errors import DeviceError, Refused, Unreachable, WrongProtocol
from edgepareto.host.fleet import wire
from edgepareto.host.fleet.refusal import admitting
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc

__all__ = ["CALL_DEADLINE_S", "ask_device_info", "channel_for", "open_channel", "open_stub", "reason"]

CALL_DEADLINE_S = 5.0  # of a unary call; an agent answers those at once, also while it measures
MOST_WORDS = 1000  # letters of an agent's
# Not GetDeviceInfo: who looks for a board that is gone asks again itself, with pauses of its own.
IDEMPOTENT = ("AcquireLease", "RenewLease", "ReleaseLease", "HasBlobs")
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "edgepareto.profiler.v1.Profiler", "method": method} for method in IDEMPOTENT],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # without it a frozen peer is noticed after 70 s only
    ("grpc.http2.max_pings_without_data", 0),
    # Else a new channel to a board that was just started again fails with what an older one saw, for seconds.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),  # a board is never behind the user's web proxy
    ("grpc.service_config", json.dumps(RETRIES)),
)


def channel_for(device: DeviceConfig) -> grpc.Channel:
    """To the agent at a device's address: mutual TLS where it was installed, plain text on this machine alone.

    Whether a board lets us in is tried here, once. Raises Unreachable, Refused (never worth trying again), DeviceError
    where nothing was installed yet, ConfigError for credentials of our own that are not sound.
    """
    address = device.address
    if address is None:
        raise DeviceError(f"{device.name}: has no address; its agent is started here")
    if device.board_id is None:
        if device.ssh is not None:
            raise DeviceError(f"{device.name}: no agent was installed on it from here; host deploy {device.name}")
        return open_channel(address)
    if address.startswith("unix:"):
        raise DeviceError(
            f"{device.name}: address = {address}: a board is dialled at HOST:PORT, where TLS says who it is"
        )
    order = dialling_order(device.board_id, device.trust)
    return open_channel(address, admitting(device.name, address, order))


def open_channel(target: str, credentials: ClientCredentials | None = None) -> grpc.Channel:
    """target: host:port or unix:/path. Dials at the first call. Without credentials in plain text, which never leaves
    this machine: any other target is refused with DeviceError.
    """
    if credentials is None:
        if not is_this_machine(target):
            raise DeviceError(
                f"{target}: is another machine, and plain text never leaves this one; host deploy it first"
            )
        return grpc.insecure_channel(target, options=OPTIONS)
    secure = grpc.ssl_channel_credentials(
        credentials.root_certificates, credentials.private_key, credentials.certificate_chain
    )
    named = ("grpc.ssl_target_name_override", credentials.server_name)  # boards move, by DHCP
    return grpc.secure_channel(target, secure, options=(*OPTIONS, named))


def open_stub(channel: grpc.Channel) -> profiler_pb2_grpc.ProfilerStub:
    return profiler_pb2_grpc.ProfilerStub(channel)  # type: ignore[no-untyped-call]


def ask_device_info(
    stub: profiler_pb2_grpc.ProfilerStub, name: DeviceName, target: str, *, host_boot_id: str | None
) -> DeviceInfo:
    """Raises Unreachable, WrongProtocol, DeviceError."""
    message = ask_message(stub, name, target, version=wire.PROTOCOL_VERSION)
    if not 1 <= message.protocol_version <= wire.PROTOCOL_VERSION:
        raise WrongProtocol(
            f"{name}: its agent {message.agent_version} speaks protocol version {message.protocol_version}, this host "
            f"speaks 1 to {wire.PROTOCOL_VERSION}; install the same edgepareto release on both"
        )
    try:
        return wire.device_info(message, name, host_boot_id=host_boot_id)
    except ValueError as error:
        raise WrongProtocol(f"{name}: {error}") from error


def ask_message(stub: profiler_pb2_grpc.ProfilerStub, name: DeviceName, target: str, *, version: int) -> pb.DeviceInfo:
    """version: that the host offers; an agent of version 1 refuses every other, so a refusal is met with one less."""
    try:
        message: pb.DeviceInfo = stub.GetDeviceInfo(
            pb.GetDeviceInfoRequest(protocol_version=version), timeout=CALL_DEADLINE_S
        )
    except grpc.RpcError as error:
        code = error.code()
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise Unreachable(
                f"{name}: no agent answers at {target} ({reason(error)}); start edgepareto-agent there, or correct the "
                "address"
            ) from error
        if code is grpc.StatusCode.FAILED_PRECONDITION and version > 1:
            return ask_message(stub, name, target, version=version - 1)
        if code is grpc.StatusCode.FAILED_PRECONDITION:
            raise WrongProtocol(f"{name}: {reason(error)}") from error
        if code is grpc.StatusCode.PERMISSION_DENIED:
            raise Refused(f"{name}: {reason(error)}; host devices check {name}") from error
        if code is grpc.StatusCode.UNIMPLEMENTED:
            raise WrongProtocol(f"{name}: what answers at {target} is no edgepareto-agent of this release") from error
        raise DeviceError(f"{name}: {reason(error)}") from error
    return message


def reason(error: grpc.RpcError) -> str:
    """The agent's own words where it refused, else the status and gRPC's; one line that cannot steer a terminal."""
    words = " ".join((error.details() or "no details").split())
    details = "".join(letter for letter in words if letter.isprintable())[:MOST_WORDS]
    ours = error.code() not in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
    )
    return details if ours else f"{error.code().name}: {details}"
