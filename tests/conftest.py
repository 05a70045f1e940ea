from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import onnxruntime
import pytest
from onnx import TensorProto, helper


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heeded() -> None:
    """A run in the background, or under nohup, is started with them ignored, and so would all that it starts."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session", autouse=True)
def _own_configuration_folder(tmp_path_factory) -> Iterator[None]:
    """No test reads or writes the boards and credentials of whoever runs it."""
    before = os.environ.get("EDGEPARETO_CONFIG")
    os.environ["EDGEPARETO_CONFIG"] = str(tmp_path_factory.mktemp("config") / "edgepareto")
    yield
    if before is None:
        del os.environ["EDGEPARETO_CONFIG"]
    else:
        os.environ["EDGEPARETO_CONFIG"] = before


@pytest.fixture(scope="session", autouse=True)
def _denormals_stay_numbers() -> None:
    """ONNX Runtime sets the processor's flush-to-zero once per process, as the first session asks for it, and for good.

    The agent's sessions ask for it, in a process of their own; here it would change every later test's arithmetic
    (hypothesis refuses to draw floats then).
    """
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "plain", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
