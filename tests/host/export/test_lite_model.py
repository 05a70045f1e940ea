"""What our writer lacks is written by the command onnx2tf; whatever that does, a file is right or there is none.

Our writer forgets an operator here, and the stand-in for onnx2tf, a process of its own, still knows it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host import api
from edgepareto.host.errors import EvaluationError, ModelError
from edgepareto.host.export import expected_outputs, write_arrays
from edgepareto.host.export.board_files import require_expressible, write_lite_files
from edgepareto.host.export.lite_model import make_lite_model
from edgepareto.host.export.onnx2tf import Unusable, run_command
from edgepareto.host.export.parity import measure_parity, onnx_outputs
from edgepareto.host.export.tflite.registry import CONVERTERS
from edgepareto.host.views import convert_json, convert_text
from onnx import TensorProto, helper, numpy_helper

CUBE = (1, 4, 4, 4)  # no shape tells which axis is which
CONVERT = """
    from pathlib import Path
    import onnx
    from edgepareto.host.export.tflite import to_tflite

    words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    given, out = Path(words["-i"]), Path(words["-o"])
    out.mkdir()
    content = to_tflite(onnx.load(given)).content
"""
WRITE = "\n    (out / 'model_float32.tflite').write_bytes(content)\n"

Program = Callable[[str], Path]


@pytest.fixture
def onnx2tf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a program of that name on PATH, and makes our own writer forget Tanh."""
    monkeypatch.delitem(CONVERTERS, "Tanh")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def put(body: str) -> Path:
        command = folder / "onnx2tf"
        command.write_text(f"#!{sys.executable}\nimport sys\n{textwrap.dedent(body)}", encoding="utf-8")
        command.chmod(0o755)
        return command

    return put


def network(shape: tuple[int, ...] = CUBE, *, names: tuple[str, str] = ("x", "y")) -> onnx.ModelProto:
    weights = np.random.default_rng(0).standard_normal((shape[1], shape[1], 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", [names[0], "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["a"], [names[1]]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def feed(shape: tuple[int, ...] = CUBE, name: str = "x") -> dict[str, np.ndarray]:
    return {name: np.random.default_rng(1).standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize(
    ("shape", "names"), [(CUBE, ("x", "y")), ((1, 3, 6, 5), ("x", "y")), ((1, 3, 4, 4), ("/x:0", "onnx::y.1"))]
)
def test_the_order_of_axes_and_the_names_are_the_models_own(
    onnx2tf: Program, shape: tuple[int, ...], names: tuple[str, str]
):
    """The stand-in takes what the real one leaves alone of names, and no more."""
    onnx2tf(CONVERT + "    assert not any(set(':/') & set(v.name) for v in onnx.load(given).graph.input)\n" + WRITE)
    model, feeds = network(shape, names=names), [feed(shape, names[0])]
    expected = onnx_outputs(model.SerializeToString(), feeds)
    lite = make_lite_model(model, "net.onnx", feeds, expected)
    assert lite.writer == "onnx2tf"
    assert lite.inputs[names[0]].order == (0, 2, 3, 1)
    assert measure_parity(lite, feeds, expected).relative < 1e-5


def test_the_report_says_who_wrote_the_file_and_the_model_is_as_it_was(
    onnx2tf: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    onnx2tf(CONVERT + WRITE + "    given.write_bytes(b'rewritten')\n")
    onnx.save(network(), tmp_path / "net.onnx")
    before = (tmp_path / "net.onnx").read_bytes()
    report = api.convert("net.onnx", "net.tflite")
    assert json.loads(convert_json(report))["writer"] == "onnx2tf"
    assert "converted by onnx2tf in " in "".join(map(str, convert_text(report)))
    assert report.relative_error < 1e-5
    assert (tmp_path / "net.tflite").read_bytes() == report.content
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "net.onnx", "net.tflite"]


def test_boards_get_inputs_and_outputs_as_the_file_has_them(onnx2tf: Program, tmp_path: Path):
    onnx2tf(CONVERT + WRITE)
    names = ("net.onnx", "in.npz", "out.npz", "net.tflite", "lite_in.npz", "lite_out.npz")
    model, inputs, outputs, lite, lite_inputs, lite_outputs = (tmp_path / name for name in names)
    shape = (1, 3, 6, 5)
    onnx.save(network(shape), model)
    write_arrays(inputs, {"x": feed(shape)["x"][np.newaxis]})
    expected_outputs(model, inputs, outputs)
    require_expressible(onnx.load(model), "net.onnx")
    write_lite_files(model, inputs, outputs, lite_model=lite, lite_inputs=lite_inputs, lite_expected=lite_outputs)
    assert np.load(lite_inputs)["x"].shape == (1, 1, 6, 5, 3)
    assert np.load(lite_outputs)["y"].shape == (1, 1, 6, 5, 3)
    assert lite.stat().st_size > 0


MISBEHAVING = {
    "sys.exit('an operator it lacks: Tanh')": "it failed, exit code 1: an operator it lacks: Tanh",
    "import argparse; argparse.ArgumentParser(prog='onnx2tf').parse_args()": "exit code 2: onnx2tf: error: unrecog",
    "": "it ended well and wrote no file",
    CONVERT + "    content = content[:200]" + WRITE: "it wrote what is no .tflite file",
    CONVERT
    + """
    from ai_edge_litert import schema_py_generated as schema
    from edgepareto.host.export.tflite.flat_model import Buffer, packed
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    file.operatorCodes[-1].builtinCode = file.operatorCodes[-1].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    file.operatorCodes[-1].customCode = "ONNX_LSTM"
    content = packed(file, [Buffer(buffer.data) for buffer in file.buffers])
    """
    + WRITE: "it left custom operators, ONNX_LSTM",
    CONVERT.replace(
        "    content", "    other = onnx.load(given); other.graph.output[0].name = 'edgepareto_output_1'\n"
        "    other.graph.node[-1].output[0] = 'edgepareto_output_1'\n    onnx.save(other, given)\n    content",
    )
    + WRITE: "it calls an input or output 'edgepareto_output_1'",
}  # fmt: skip


@pytest.mark.parametrize("body", MISBEHAVING, ids=[words[3:30] for words in MISBEHAVING.values()])
def test_what_it_cannot_do_is_told_in_one_line_beside_what_our_writer_lacks(onnx2tf: Program, body: str):
    onnx2tf(body)
    model, feeds = network(), [feed()]
    with pytest.raises(ModelError) as told:
        make_lite_model(model, "net.onnx", feeds, onnx_outputs(model.SerializeToString(), feeds))
    assert str(told.value).startswith("net.onnx: LiteRT cannot express Tanh; run it with ONNX Runtime; onnx2tf was")
    assert MISBEHAVING[body] in str(told.value)
    assert "\n" not in str(told.value)


def test_a_search_is_told_before_it_begins(onnx2tf: Program):
    onnx2tf("sys.exit('no')")
    with pytest.raises(ModelError, match=r"cannot express Tanh; .* onnx2tf was tried: it failed, exit code 1: no"):
        require_expressible(network(), "net.onnx")


def test_a_file_of_its_that_computes_something_else_is_not_written(
    onnx2tf: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    spoil = """
    other = onnx.load(given)
    other.graph.initializer[0].raw_data = other.graph.initializer[0].raw_data[::-1]
    content = to_tflite(other).content
    """
    onnx2tf(CONVERT + spoil + WRITE)
    with pytest.raises(EvaluationError, match="other outputs than ONNX Runtime"):
        api.convert(network(), "net.tflite")
    assert not (tmp_path / "net.tflite").exists()


def test_without_the_command_its_name_is_told_and_16_bits_are_our_writers_alone(onnx2tf: Program):
    model, feeds = network(), [feed()]
    expected = onnx_outputs(model.SerializeToString(), feeds)
    with pytest.raises(
        ModelError, match=r"run it with ONNX Runtime, or put onnx2tf on PATH, which may know more \(docs"
    ):
        make_lite_model(model, "net.onnx", feeds, expected)
    onnx2tf(CONVERT + WRITE)
    with pytest.raises(ModelError, match=r"cannot express Tanh; .* or take fp32, which onnx2tf may know"):
        make_lite_model(model, "net.onnx", feeds, expected, half=True)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(onnx2tf: Program, tmp_path: Path):
    command, started = onnx2tf(""), tmp_path / "started"
    command.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {started}\nwait\n", encoding="utf-8")
    with pytest.raises(Unusable, match="took longer than 3 s"):
        run_command(command, b"", timeout_s=3)
    with contextlib.suppress(ProcessLookupError):
        ended = os.pidfd_open(int(started.read_text(encoding="ascii")))
        assert select.select([ended], [], [], 60)[0], "readable once it has ended"
        os.close(ended)


def test_it_sees_none_of_our_packages(onnx2tf: Program, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    command = onnx2tf("import os; sys.exit('PYTHONPATH' in os.environ and 'seen' or 'unseen')")
    with pytest.raises(Unusable, match="unseen"):
        run_command(command, b"")
