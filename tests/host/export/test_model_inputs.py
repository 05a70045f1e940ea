from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.accuracy import load_dataset, uniform_dataset
from edgepareto.host.config import DataConfig
from edgepareto.host.errors import ConfigError, EvaluationError, ModelError
from edgepareto.host.export import (
    class_count,
    expected_outputs,
    fix_input_shapes,
    input_tensors,
    require_known_shapes,
    sha256_of,
    write_arrays,
    write_sample_inputs,
)
from fakes.models import batchless, classifier, save


def test_a_symbolic_batch_stays_and_the_other_sizes_are_fixed():
    fixed = fix_input_shapes(classifier(side=("H", "W")), [("x", (1, 1, 2, 2))])
    assert input_tensors(fixed)[0].shape == ("N", 1, 2, 2)
    require_known_shapes(fixed)


def test_unknown_sizes_are_refused_with_the_flag_to_give():
    with pytest.raises(ModelError, match=r"--shape x=1,1,SIZE,SIZE"):
        require_known_shapes(classifier(side=("H", "W")))


def test_an_input_of_text_or_of_anything_but_a_tensor_is_refused_in_one_line():
    model = classifier()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING
    with pytest.raises(ModelError, match=r"^input x takes text, allowed are tensors of numbers; cut .* off the graph"):
        require_known_shapes(model)
    element = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [1])
    model.graph.input[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(element))
    with pytest.raises(ModelError, match="input x takes sequence_type"):
        require_known_shapes(model)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (("y", (1, 1, 2, 2)), "no such input; it has x"),
        (("x", (1, 2, 2)), "the input has 4 axes"),
        (("x", (1, 3, 2, 2)), "the model fixes axis 1 at 1"),
    ],
)
def test_a_shape_that_contradicts_the_model_is_refused(shape, words):
    with pytest.raises(ConfigError, match=words):
        fix_input_shapes(classifier(side=("H", "W")), [shape])


def test_fixing_shapes_leaves_the_users_model_alone():
    model = classifier(side=("H", "W"))
    fix_input_shapes(model, [("x", (1, 1, 2, 2))])
    assert model == classifier(side=("H", "W"))


def test_weights_listed_among_the_inputs_are_no_inputs():
    model = classifier()
    model.graph.input.append(onnx.helper.make_tensor_value_info("weights", onnx.TensorProto.FLOAT, [4, 3]))
    assert [value.name for value in input_tensors(model)] == ["x"]


def test_the_classes_are_counted_where_the_output_has_classes():
    assert class_count(classifier()) == 3
    assert class_count(batchless()) is None


@pytest.mark.parametrize(
    ("model", "row"), [(classifier(), (1, 1, 2, 2)), (classifier(2), (2, 1, 2, 2)), (batchless(), (3,))]
)
def test_row_i_of_the_sample_inputs_is_fed_as_it_stands_and_row_i_of_the_outputs_is_its_answer(tmp_path, model, row):
    samples = uniform_dataset(input_tensors(model), count=4) if row != (3,) else None
    if samples is None:
        np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).random((4, 3)))
        samples = load_dataset("data.npz", DataConfig(), input_tensors(model), folder=tmp_path, labelled=False)
    write_sample_inputs(samples, 3, tmp_path / "in.npz")
    expected_outputs(save(model, tmp_path / "m.onnx"), tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "in.npz") as inputs, np.load(tmp_path / "out.npz") as outputs:
        assert inputs["x"].shape == (3, *row)
        (name,) = outputs.files
        reference = 2 * inputs["x"] if row == (3,) else inputs["x"].reshape(3, -1, 4)[:, :, :3]
        np.testing.assert_allclose(outputs[name], reference, rtol=1e-6)


def test_outputs_of_a_model_that_does_not_run_are_an_evaluation_error(tmp_path: Path):
    write_arrays(tmp_path / "in.npz", {"x": np.zeros((1, 1, 1, 9, 9), np.float32)})
    with pytest.raises(EvaluationError, match=r"m\.onnx: ONNX Runtime failed on it"):
        expected_outputs(save(classifier(), tmp_path / "m.onnx"), tmp_path / "in.npz", tmp_path / "out.npz")


def test_arrays_of_any_name_are_written_and_equal_arrays_give_equal_bytes(tmp_path: Path):
    arrays = {"file": np.arange(3), "model/out:0": np.eye(2, dtype=np.float32)}
    write_arrays(tmp_path / "a.npz", arrays)
    write_arrays(tmp_path / "b.npz", arrays)
    assert sha256_of(tmp_path / "a.npz") == sha256_of(tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz") as loaded:
        assert {name: loaded[name].tolist() for name in loaded.files} == {n: a.tolist() for n, a in arrays.items()}
