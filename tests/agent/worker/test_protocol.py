from __future__ import annotations

import math

import pytest
from edgepareto.agent.errors import Status
from edgepareto.agent.runtime import OperatorCost, RuntimeUsed
from edgepareto.agent.worker.json_fields import MalformedMessage
from edgepareto.agent.worker.protocol import (
    Block,
    BlockDone,
    Check,
    Checked,
    Command,
    EngineMade,
    EnginePart,
    Failed,
    Load,
    Loaded,
    MakeEngine,
    Memory,
    MemoryUsed,
    OperatorsTimed,
    OutputPiece,
    Outputs,
    OutputsComputed,
    PackedOutputs,
    ReadEngine,
    Ready,
    Reply,
    TimeOperators,
    WarmedUp,
    WarmUp,
    Window,
    WindowDone,
    decode_command,
    decode_reply,
    encode,
)

USED = RuntimeUsed(name="onnxruntime", version="1", provider="CPU", threads=2, options={"a": "b"})


@pytest.mark.parametrize(
    "command",
    [
        MakeEngine(model="/a.onnx", inputs="/in.npz"),
        ReadEngine(offset=2**33),
        Load(model="/a b/ü.onnx", inputs="/in.npz"),
        Check(expected="/out.npz", relative_tolerance=1e-3),
        WarmUp(seconds=0.5, runs=5),
        Block(seconds=0, runs=10),
        Window(guard_s=0.25, window_s=5.0, inferences=30),
        TimeOperators(runs=20),
        Outputs(first=3, rows=7),
        PackedOutputs(start=2**40, size_bytes=1 << 20),
        Memory(),
    ],
)
def test_every_command_arrives_as_it_was_sent_on_one_line(command: Command) -> None:
    line = encode(command)
    assert "\n" not in line
    assert decode_command(line) == command


@pytest.mark.parametrize(
    "reply",
    [
        Ready(),
        EngineMade(),
        EngineMade(kind="ab", size_bytes=2**33, build_ns=2**40),
        EnginePart(base64="YWI="),
        Loaded(runtime=USED, load_ns=1, first_run_ns=2**53 + 1),
        Checked(output_error=1.5e-7),
        Checked(output_error=math.inf),
        WarmedUp(runs=3),
        BlockDone(start_ns=2**62 + 1, run_ns=(1, 2, 3)),
        WindowDone(start_ns=1, end_ns=2, inferences=3),
        OperatorsTimed(runs=2, operators=(OperatorCost(name="a/b", op_type="Conv", total_ns=7),)),
        OutputsComputed(rows=7, rows_left=0),
        OutputPiece(base64="UEs=", left_bytes=9),
        MemoryUsed(peak_rss_bytes=5, private_bytes=None),
        Failed(status=Status.OUTPUT_MISMATCH, message="a\nb"),
    ],
)
def test_every_reply_arrives_as_it_was_sent_on_one_line(reply: Reply) -> None:
    line = encode(reply)
    assert "\n" not in line
    assert decode_reply(line) == reply


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Segmentation fault",
        "[1]",
        '{"is": "Boast"}',
        '{"is": 3}',
        '{"is": "Load"}',  # a command is no reply
        '{"is": "BlockDone", "start_ns": 1, "run_ns": [1, 2.5]}',
        '{"is": "BlockDone", "start_ns": true, "run_ns": []}',
        '{"is": "Failed", "status": "FINE", "message": ""}',
        '{"is": "OperatorsTimed", "runs": 1, "operators": [3]}',
        '{"is": "Loaded", "runtime": [], "load_ns": 1, "first_run_ns": 1}',
        '{"is": "Checked", "output_error": "small"}',
        '{"is": "EngineMade", "kind": "ab", "size_bytes": -1, "build_ns": 1}',
        '{"is": "OutputsComputed", "rows": -1, "rows_left": 0}',
        '{"is": "OutputPiece", "base64": [80], "left_bytes": 0}',
    ],
)
def test_nonsense_from_a_broken_worker_is_recognised(line: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_reply(line)


@pytest.mark.parametrize(
    "line",
    [
        '{"is": "Failed", "status": "OOM", "message": "\\ud800"}',
        '{"is": "WarmedUp", "runs": 18446744073709551616}',
        '{"is": "BlockDone", "start_ns": 1, "run_ns": [1, 18446744073709551616]}',
        '{"is": "BlockDone", "start_ns": 1, "run_ns": [-1]}',
        '{"is": "MemoryUsed", "peak_rss_bytes": -1}',
        "[" * 100_000,
    ],
)
def test_what_could_not_be_sent_on_to_the_host_is_no_reply(line: str):
    """Else one model would cost the whole batch."""
    with pytest.raises(MalformedMessage):
        decode_reply(line)
