"""`host convert`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.export import read_model
from fakes.models import save
from onnx import TensorProto, helper

CONVERT = ("convert", "net.onnx", "-o", "net.tflite", "--shape", "x=1,1,6,6")


def test_a_file_is_written_that_litert_runs_and_the_table_says_how_close_it_is(host, project: Path):
    result = host(*CONVERT)
    assert (result.code, result.err) == (0, "")
    assert "input   x (1, 6, 6, 1) float32, axes 0, 2, 3, 1 of the ONNX model" in result.out
    assert "LiteRT gives what ONNX Runtime gives: 4 calibration samples, largest error" in result.out
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(project / "net.tflite"))
    interpreter.allocate_tensors()
    assert list(interpreter.get_signature_runner().get_input_details()) == ["x"]


def test_json_has_the_errors_and_which_axes_of_the_model_the_files_are(host, project: Path):
    whole = json.loads(host(*CONVERT, "--json").out)
    assert whole["inputs"] == [{"name": "x", "shape": [1, 6, 6, 1], "dtype": "float32", "onnx_axes": [0, 2, 3, 1]}]
    assert whole["bytes"] == (project / "net.tflite").stat().st_size
    assert whole["relative_error"] < 1e-6
    half = json.loads(host(*CONVERT, "--json", "--precision", "fp16").out)
    assert half["bytes"] < whole["bytes"]
    assert 1e-6 < half["relative_error"] < 2e-2


def test_64_bit_integers_of_an_input_are_32_bit_ones_in_the_file_once_that_is_agreed_to(host, project: Path):
    table = onnx.numpy_helper.from_array(np.eye(5, dtype=np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "words"], ["y"])],
        "words",
        [helper.make_tensor_value_info("words", TensorProto.INT64, (1, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 5))],
        [table],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), project / "words.onnx")
    refused = host("convert", "words.onnx", "-o", "words.tflite")
    assert (refused.code, refused.out) == (2, "")
    assert "words.onnx: words: int64 inputs become int32 in a .tflite file; say --int32-inputs" in refused.err
    assert not (project / "words.tflite").exists()
    result = host("convert", "words.onnx", "-o", "words.tflite", "--int32-inputs")
    assert (result.code, result.err) == (0, "")
    assert "input   words (1, 3) int32" in result.out


def _with_arc_tangent(project: Path) -> None:
    model = read_model(project / "net.onnx")
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Atan", [last], ["arc"]))
    model.graph.output[0].name = "arc"
    save(model, project / "arc.onnx")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("net.onnx",),
            "input x is open in its batch, (N, 1, 6, 6), and a .tflite file has fixed sizes; say --shape x=",
        ),
        (("net.onnx", "--shape", "x=1,1,6,7"), "--shape x=1,1,6,7: the model fixes axis 3 at 6"),
        (("net.onnx", "--shape", "y=1,1,6,6"), "--shape y: the model has no such input; it has x"),
        (("gone.onnx",), "gone.onnx: "),
        (("arc.onnx", "--shape", "x=1,1,6,6"), "arc.onnx: LiteRT cannot express Atan; run it with ONNX Runtime"),
        (("net.onnx", "--precision", "int4"), "--precision int4: is not known; choose fp32, fp16"),
        (("net.onnx", "--shape", "x=1,1,6,6", "--calibration", "gone.npz"), "gone.npz"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_no_file(host, project: Path, words: tuple[str, ...], told: str):
    _with_arc_tangent(project)
    result = host("convert", *words, "-o", "out.tflite")
    assert (result.code, result.out) == (2, "")
    assert len(result.err.strip().splitlines()) == 1
    assert told in result.err
    assert not (project / "out.tflite").exists()


def test_the_model_itself_is_not_overwritten(host, project: Path):
    before = (project / "net.onnx").read_bytes()
    result = host("convert", "net.onnx", "-o", "net.onnx", "--shape", "x=1,1,6,6")
    assert result.code == 2
    assert (project / "net.onnx").read_bytes() == before


@pytest.mark.parametrize("kept", ["net.onnx", "calibration.npz", "validation.npz", "edgepareto.toml"])
@pytest.mark.parametrize("verb", [("convert", "--shape", "x=1,1,6,6"), ("quantize",), ("prune", "--ratio", "0.5")])
def test_no_output_takes_the_place_of_a_model_of_samples_or_of_settings(
    host, project: Path, kept: str, verb: tuple[str, ...]
):
    before = (project / kept).read_bytes()
    name, *options = verb
    result = host(name, "net.onnx", *options, "-o", kept)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.strip().splitlines()) == 1
    assert (project / kept).read_bytes() == before


def test_a_file_has_the_ending_of_its_format_and_a_tflite_file_is_no_onnx_model(host, project: Path):
    result = host("convert", "net.onnx", "--shape", "x=1,1,6,6", "-o", "half.onnx")
    assert (result.code, result.err) == (2, "host: half.onnx: convert writes .tflite files; name it half.tflite\n")
    assert host("convert", "net.onnx", "--shape", "x=1,1,6,6", "-o", "net.tflite").code == 0
    again = host("convert", "net.tflite", "-o", "again.tflite")
    assert again.code == 2
    assert "net.tflite: is a .tflite file; give the .onnx file that it was made from" in again.err
