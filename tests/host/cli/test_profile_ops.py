"""host profile --ops: the time of each operator, for programs and side by side for people."""

from __future__ import annotations

import json

import pytest


def test_operators_are_told_per_model_and_add_up(host) -> None:
    host("prune", "net.onnx", "--ratio", "0.5", "-o", "half.onnx")
    words = ("profile", "net.onnx", "half.onnx", "--devices", "pi1", "--preset", "quick", "--ops", "--quiet")
    result = host(*words, "--json")
    assert (result.code, result.err) == (0, "")
    for model in json.loads(result.out)["results"]:
        operators = model["operators"]
        assert [set(operator) for operator in operators] == [{"name", "op_type", "seconds", "share"}] * len(operators)
        assert [o["seconds"] for o in operators] == sorted((o["seconds"] for o in operators), reverse=True)
        assert sum(o["seconds"] for o in operators) == pytest.approx(model["operators_s"])
        assert sum(o["seconds"] for o in model["operator_types"]) == pytest.approx(model["operators_s"])
        assert model["operators_s"] + model["dispatch_s"] == pytest.approx(model["latency_s"])
        assert any("Conv" in operator["op_type"] for operator in operators)
    table = host(*words).out
    for word in ("time by type of operator", "costliest nodes", "net.onnx", "half.onnx", "between operators"):
        assert word in table


def test_without_the_flag_no_operator_is_timed(host) -> None:
    result = host("profile", "net.onnx", "--devices", "pi1", "--preset", "quick", "--json", "--quiet")
    (found,) = json.loads(result.out)["results"]
    assert not {"operators", "operator_types", "operators_s", "dispatch_s"} & set(found)
    assert found["protocol"] == 1
