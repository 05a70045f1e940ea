"""How the host looks for a board that is gone."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import textwrap

import pytest
from edgepareto.host.fleet.patience import PATIENCE_S, pauses


def test_looks_come_ever_further_apart_but_never_more_than_ten_seconds():
    for seed in range(100):
        found = list(itertools.islice(pauses(random.Random(seed)), 20))
        assert 0.125 <= found[0] <= 0.25
        assert all(later <= 4 * sooner for sooner, later in itertools.pairwise(found))
        assert all(5 <= pause_s <= 10 for pause_s in found[6:])


def test_ten_minutes_are_some_eighty_looks_and_not_the_same_for_two_hosts():
    for seed in range(20):
        until_s = itertools.accumulate(pauses(random.Random(seed)))
        assert 60 < len(list(itertools.takewhile(lambda second: second < PATIENCE_S, until_s))) < 130
    assert next(pauses(random.Random(1))) != next(pauses(random.Random(2)))


@pytest.mark.parametrize(("verbosity", "is_told"), [(None, False), ("INFO", True)])
def test_what_grpc_logs_of_a_refused_handshake_does_not_reach_a_users_screen_unasked(
    verbosity: str | None, is_told: bool
):
    script = """
        import socket, threading
        from edgepareto.host.__main__ import main
        main(["--version"])
        import grpc
        server = socket.create_server(("127.0.0.1", 0))

        def refuse():
            while True:
                peer, _ = server.accept()
                peer.recv(10)
                peer.sendall(b"no TLS here")
                peer.close()

        threading.Thread(target=refuse, daemon=True).start()
        with grpc.secure_channel(f"127.0.0.1:{server.getsockname()[1]}", grpc.ssl_channel_credentials()) as channel:
            try:
                channel.unary_unary("/a/b")(b"", timeout=5)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
    """
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    if verbosity is not None:
        environment["GRPC_VERBOSITY"] = verbosity
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, env=environment, check=True
    )
    assert ("Handshake failed" in ended.stderr) is is_told
    assert is_told or ended.stderr == ""
