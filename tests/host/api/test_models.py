"""inspect and prune from Python: what the command line does, on paths and on models in memory."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.api import inspect, prune
from edgepareto.host.errors import ConfigError, ModelError, WrongUse
from edgepareto.host.export import read_model
from fakes.models import convolution, save
from onnx import numpy_helper

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "fashion_mnist"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def broken() -> onnx.ModelProto:
    model = convolution()
    weights = np.full((8, 1, 3, 3), np.nan, np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w1"))
    return model


def test_the_documented_example_runs_as_it_stands(tmp_path: Path):
    for name in ("mobilenet.onnx", "calibration.npz", "edgepareto.toml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    assert code
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code.group(1), "python.md", "exec"), names)
    assert "/classifier/Gemm reaches the model's output" in printed.getvalue()
    assert inspect("half.onnx").parameters < 0.35 * inspect("mobilenet.onnx").parameters
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "calibration.npz", "edgepareto.toml", "half.onnx", "mobilenet.onnx"
    ]  # fmt: skip


def test_the_documented_ratios_name_groups_of_the_example(tmp_path: Path):
    table = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    assert table
    (tmp_path / "ratios.toml").write_text(table.group(1))
    report = prune(EXAMPLE / "mobilenet.onnx", group_ratios="ratios.toml")
    kept = {g.name: width / g.channels for g, width in zip(report.analysis.groups, report.widths, strict=True)}
    assert kept["/head/conv/Conv"] == pytest.approx(0.8, abs=0.01)
    assert kept["/block3/expand/conv/Conv"] == pytest.approx(0.4, abs=0.01)
    assert kept["/stem/conv/Conv"] == 1


def test_a_model_in_memory_gives_what_its_file_gives_and_stays_as_it_is():
    model = convolution()
    save(model, Path("net.onnx"))
    of_file = prune("net.onnx", "half.onnx", ratio=0.5)
    of_memory = prune(model, ratio=0.5)
    assert model == convolution()
    assert of_memory.model == of_file.model == read_model(Path("half.onnx"))
    assert (of_memory.file, of_file.file) == (None, Path("half.onnx"))
    assert inspect(model).groups == inspect("net.onnx").groups


def test_a_mapping_gives_groups_their_ratios_and_a_complaint_names_the_entry():
    assert prune(convolution(), group_ratios={"first": 0.5}).widths == (4, 8)
    assert prune(convolution(), ratio=0.25, group_ratios={"sec*": 0}).widths == (6, 8)
    for given, told in (({"frist": 0.5}, "did you mean first?"), ({"first": 1}, "below 1"), ({"last": 0.1}, "frozen")):
        with pytest.raises(ConfigError, match=f"^group_ratios: .*{re.escape(told)}"):
            prune(convolution(), group_ratios=given)


def test_wrong_use_raises_and_leaves_no_file(tmp_path: Path):
    wrong = [
        (convolution(), {"ratio": float("nan")}, ConfigError, "--ratio nan"),
        (convolution(), {}, ConfigError, "no ratio"),
        (convolution(), {"ratio": 0.5, "step": 0}, ConfigError, "--step 0"),
        (convolution(), {"ratio": 0.5, "criterion": "obs"}, ConfigError, "needs calibration samples"),
        (broken(), {"ratio": 0.5}, ModelError, "^the model: weight w1 holds 72 NaN among 72 values"),
        (onnx.ModelProto(), {"ratio": 0.5}, ModelError, "^the model: is no valid ONNX model"),
        (tmp_path, {"ratio": 0.5}, ModelError, "is a folder"),
    ]
    for model, options, error, told in wrong:
        with pytest.raises(error, match=told):
            prune(model, "out.onnx", **options)
    with pytest.raises(WrongUse, match="does not exist"):
        prune(convolution(), "no/out.onnx", ratio=0.5)
    assert not any(tmp_path.iterdir())
