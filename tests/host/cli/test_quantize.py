"""`host quantize` and `host convert --precision int8`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.export import read_model
from fakes.models import save
from onnx import TensorProto, helper, numpy_helper

QUANTIZE = ("quantize", "net.onnx", "-o", "int8.onnx")
CONVERT = ("convert", "net.onnx", "-o", "int8.tflite", "--shape", "x=1,1,6,6", "--precision", "int8")


def test_a_file_for_onnx_runtime_is_written_and_the_line_says_what_it_still_knows(host, project: Path):
    result = host(*QUANTIZE)
    assert (result.code, result.err) == (0, "")
    assert "static int8, before" in result.out
    assert "on 32 calibration samples: cosine 0.99" in result.out
    made = onnx.load(project / "int8.onnx")
    assert TensorProto.INT8 in {tensor.data_type for tensor in made.graph.initializer}
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"  # the batch stays open


def test_json_says_how_it_was_quantised_and_how_far_it_is_off(host, project: Path):
    record = json.loads(host(*QUANTIZE, "--json").out)
    assert (record["precision"], record["method"], record["samples"]) == ("int8", "static", 32)
    assert record["bytes"] == (project / "int8.onnx").stat().st_size
    assert 0.95 < record["cosine"] < 1
    assert 0 < record["relative_error"] < 0.2
    assert "doubts" not in record


def test_a_file_for_litert_is_written_that_takes_floats_and_gives_floats(host, project: Path):
    record = json.loads(host(*CONVERT, "--json").out)
    assert record["precision"] == "int8"
    assert [record[end][0]["dtype"] for end in ("inputs", "outputs")] == ["float32", "float32"]
    assert 0.95 < record["cosine"] < 1
    floats = json.loads(host(*CONVERT[:-1], "fp32", "--json").out)
    assert "cosine" not in floats
    assert record["relative_error"] > floats["relative_error"]
    assert "beside fp32, on 32 calibration samples" in host(*CONVERT).out


@pytest.mark.parametrize("words", [QUANTIZE, CONVERT], ids=["quantize", "convert"])
def test_whole_numbers_without_a_scale_are_told(host, project: Path, words: tuple[str, ...]):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 1, 6, 6)).astype(np.uint8)
    np.savez(project / "pixels.npz", x=pixels)
    out = host(*words, "--calibration", "pixels.npz").out
    assert "pixels.npz: x holds whole numbers up to 254, fed as they are" in " ".join(out.split())


def _odd_models(project: Path) -> None:
    np.savez(project / "few.npz", x=np.zeros((7, 1, 6, 6), np.float32))
    model = read_model(project / "net.onnx")
    (project / "bare").mkdir()
    weights = numpy_helper.from_array(np.eye(5), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "doubles",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, (1, 5))],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, (1, 5))],
        [weights],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), project / "doubles.onnx")
    gru = helper.make_node("GRU", ["s", "w", "r"], ["y"], hidden_size=2)
    arrays = {"w": np.ones((1, 6, 3), np.float32), "r": np.ones((1, 6, 2), np.float32)}
    graph = helper.make_graph(
        [gru],
        "gru",
        [helper.make_tensor_value_info("s", TensorProto.FLOAT, (4, 1, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 1, 1, 2))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), project / "gru.onnx")
    save(model, project / "bare" / "net.onnx")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("quantize", "bare/net.onnx", "-o", "out.onnx"),
            "no calibration samples: int8 learns the ranges of activations",
        ),
        (
            ("quantize", "net.onnx", "-o", "out.onnx", "--calibration", "few.npz"),
            "there are 7, it needs 8 and uses up to 32",
        ),
        (
            ("convert", "net.onnx", "-o", "out.tflite", *CONVERT[4:], "--calibration", "few.npz"),
            "there are 7, it needs 8 and uses up to 32",
        ),
        (("quantize", "net.onnx", "-o", "out.tflite"), "host convert --precision int8 writes a .tflite"),
        (("quantize", "net.onnx", "-o", "net.onnx"), "net.onnx"),
        (("quantize", "gone.onnx", "-o", "out.onnx"), "gone.onnx: "),
        (("quantize", "doubles.onnx", "-o", "out.onnx"), "doubles.onnx: holds float64, int8 is made from float32"),
        (("quantize", "gru.onnx", "-o", "out.onnx"), "gru.onnx: no int8 for onnxruntime: no runtime has GRU"),
        (
            ("convert", "gru.onnx", "-o", "out.tflite", "--precision", "int8"),
            "gru.onnx: no int8 for litert: no runtime has",
        ),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_no_file(
    host, project: Path, monkeypatch, words: tuple[str, ...], told: str
):
    _odd_models(project)
    before = (project / "net.onnx").read_bytes()
    if words[1].startswith("bare/"):  # there are no settings, which would name calibration
        (project / "edgepareto.toml").unlink()
    result = host(*words)
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert result.err.count("\n") == 1
    assert not list(project.glob("out.*"))
    assert (project / "net.onnx").read_bytes() == before


def test_what_is_quantised_already_is_not_quantised_again(host, project: Path):
    host(*QUANTIZE)
    result = host("quantize", "int8.onnx", "-o", "again.onnx")
    assert result.code == 2
    assert "int8.onnx: is quantised already; give the model it was made from" in result.err
