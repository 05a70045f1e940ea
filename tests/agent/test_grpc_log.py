"""gRPC's own lines become few that can be read; everybody else's pass as they are."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from edgepareto.agent.grpc_log import RefusalLog

# As gRPC 1.85 writes them; the second form of the date is that of releases before absl.
FOREIGN = (
    b"I1128 16:03:08.364973   23297 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: "
    b"error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate"
)
OLDER = (
    b"E0000 00:00:1732809788.364973   23297 ssl_transport_security.cc:1715] Handshake failed with fatal error "
    b"SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"
)
UNKNOWN = FOREIGN.replace(b"CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate", b"BAD_\x1b[2J_DECRYPT")


class Hand:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_a_failed_handshake_is_told_with_its_reason(told: pytest.LogCaptureFixture):
    refusals = RefusalLog()
    assert all(refusals.take(line) for line in (FOREIGN, OLDER, UNKNOWN))
    assert told.messages == [
        "refused a connection: its certificate is from no owner in the owners folder",
        "refused a connection: it did not speak TLS",
        "refused a connection: BAD_?[2J_DECRYPT",
    ]


def test_the_same_reason_is_told_once_in_a_while_with_how_often(told: pytest.LogCaptureFixture):
    hand = Hand()
    refusals = RefusalLog(hand)
    for wait_s in [0] * 11 + [10]:
        hand.now_s += wait_s
        refusals.take(OLDER)
    assert told.messages == [
        "refused a connection: it did not speak TLS",
        "refused a connection: it did not speak TLS (11 times)",
    ]


def test_reasons_that_a_stranger_makes_up_do_not_fill_the_memory_or_the_log(told: pytest.LogCaptureFixture):
    refusals = RefusalLog(Hand())
    for number in range(1000):
        refusals.take(FOREIGN.replace(b"CERTIFICATE_VERIFY_FAILED: unable to get local issuer", str(number).encode()))
    assert len(told.messages) == 33


@pytest.mark.parametrize("line", [b"", b"Traceback (most recent call last):", b"2026-11-28 WARNING refused", b"\xff"])
def test_what_is_not_grpcs_is_left_alone(line: bytes):
    assert not RefusalLog().take(line)


WRITING = """
import logging, os, sys
from edgepareto.agent.grpc_log import readable
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
for _ in range(2):
    with readable():
        os.write(2, b"from C, " + b"x" * 5000 + b"\\n" + bytes.fromhex(sys.argv[1]) + b"\\n")
        logging.info("from Python")
        print("half a line", file=sys.stderr, end="")
os.write(2, b"; after it\\n")
"""


def test_every_byte_of_others_reaches_the_terminal_in_their_order_also_after_the_end():
    command = [sys.executable, "-c", WRITING, FOREIGN.hex()]
    done = subprocess.run(command, capture_output=True, timeout=30, env=os.environ)
    refusal = b"WARNING refused a connection: its certificate is from no owner in the owners folder\n"
    native = b"from C, " + b"x" * 5000 + b"\n" + refusal + b"half a line"
    assert done.stderr.replace(b"INFO from Python\n", b"") == native + native + b"; after it\n"
    assert done.stderr.count(b"INFO from Python\n") == 2
