"""Whatever is wrong with a prune's input: exit code 2, one line that says what, and a folder as it was before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from fakes.models import batchless, classifier, convolution, save
from fakes.rights import rights_of_nobody
from onnx import TensorProto, helper, numpy_helper

Spoil = Callable[[Path], object]
HALF = ("prune", "net.onnx", "--ratio", "0.5", "-o", "out.onnx")
CALIBRATED = (*HALF, "--calibration", "calibration.npz")
GROUPS = ("prune", "net.onnx", "--group-ratios", "ratios.toml", "-o", "out.onnx")
INPUT = np.zeros((64, 1, 6, 6), np.float32)


def model(change: Callable[[onnx.ModelProto], object]) -> Spoil:
    def spoil(project: Path) -> None:
        changed = convolution()
        change(changed)
        save(changed, project / "net.onnx")

    return spoil


def weight(value: float, dtype: type = np.float32) -> Spoil:
    """Two of the second layer's weights are `value`."""

    def change(found: onnx.ModelProto) -> None:
        for tensor in found.graph.initializer:
            values = numpy_helper.to_array(tensor).astype(dtype)
            if tensor.name == "w2":
                values[0, 1, 2, 2] = values[3, 3, 0, 0] = value
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        for end in (found.graph.input[0], found.graph.output[0]):
            end.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    return model(change)


def content(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda project: (project / "net.onnx").write_bytes(change((project / "net.onnx").read_bytes()))


def calibration(**arrays: object) -> Spoil:
    return lambda project: np.savez(project / "calibration.npz", **arrays)


def ratios(text: str) -> Spoil:
    return lambda project: (project / "ratios.toml").write_text(text)


def beside(location: str = "weights.bin", *, size: int | None = None, link: str | None = None) -> Spoil:
    """net.onnx with its weights in a file, of which the model says that it is `location`."""

    def spoil(project: Path) -> None:
        path = project / "net.onnx"
        onnx.save_model(convolution(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        changed = onnx.load_model(path, load_external_data=False)
        for tensor in changed.graph.initializer:
            next(entry for entry in tensor.external_data if entry.key == "location").value = location
        save(changed, path)
        if size is not None:
            os.truncate(project / "weights.bin", size)
        if link is not None:
            (project / "weights.bin").unlink()
            (project / "weights.bin").symlink_to(link)

    return spoil


def too_large(project: Path) -> None:
    beside()(project)
    changed = onnx.load_model(project / "net.onnx", load_external_data=False)
    tensor = changed.graph.initializer[1]
    tensor.dims[0] = 10_000_000
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value="weights.bin")
    save(changed, project / "net.onnx")
    os.truncate(project / "weights.bin", 3_000_000_000)  # a hole, no room on the disk


def fixed_batch(project: Path) -> None:
    changed = convolution()
    for end in (changed.graph.input[0], changed.graph.output[0]):
        end.type.tensor_type.shape.dim[0].dim_value = 65
    save(changed, project / "net.onnx")


def two_inputs(project: Path) -> None:
    changed = convolution()
    changed.graph.input.append(helper.make_tensor_value_info("side", TensorProto.FLOAT, ["N", 3]))
    changed.graph.output.append(helper.make_tensor_value_info("double", TensorProto.FLOAT, ["N", 3]))
    changed.graph.node.append(helper.make_node("Add", ["side", "side"], ["double"]))
    save(changed, project / "net.onnx")


def nothing(project: Path) -> None:
    return None


BAD = [
    # options
    (("prune", "net.onnx", "--ratio", "1", "-o", "out.onnx"), nothing, "--ratio 1: must be 0 or more and below 1"),
    (("prune", "net.onnx", "--ratio", "-0.1", "-o", "out.onnx"), nothing, "--ratio -0.1: must be 0 or more"),
    (("prune", "net.onnx", "--ratio", "nan", "-o", "out.onnx"), nothing, "--ratio nan: must be 0 or more"),
    (("prune", "net.onnx", "--ratio", "inf", "-o", "out.onnx"), nothing, "--ratio inf: must be 0 or more"),
    (("prune", "net.onnx", "--ratio", "half", "-o", "out.onnx"), nothing, "Invalid value for '--ratio'"),
    (("prune", "net.onnx", "-o", "out.onnx"), nothing, "no ratio: give --ratio"),
    (("prune", "net.onnx", "--ratio", "0.5"), nothing, "Missing option '--output'"),
    ((*HALF, "--step", "0"), nothing, "Invalid value for '--step'"),
    (("inspect", "net.onnx", "--step", "-8"), nothing, "Invalid value for '--step'"),
    ((*HALF, "--criterion", "active"), nothing,
     "--criterion active: is not known; choose obs, l1, l2, activation; did you mean activation?"),
    ((*HALF, "--recover", "momentum"), nothing,
     "--recover momentum: is not known; choose ls, moment, none; did you mean moment?"),
    # what needs calibration
    ((*HALF, "--criterion", "obs"), lambda p: (p / "edgepareto.toml").unlink(), "--criterion obs: needs calibration"),
    ((*HALF, "--criterion", "activation"), lambda p: (p / "edgepareto.toml").unlink(), "or choose l1 or l2"),
    ((*HALF, "--recover", "moment"), lambda p: (p / "edgepareto.toml").unlink(), "--recover moment: needs calibration"),
    # calibration
    ((*HALF, "--calibration", "no.npz"), nothing, "no.npz: no such file"),
    (CALIBRATED, calibration(x=INPUT[:, :, :5]), "x has shape (64, 1, 5, 6), the model takes (any, 1, 6, 6)"),
    (CALIBRATED, calibration(x=INPUT[0, 0, 0, 0]), "x is one number; its first axis must be the samples"),
    (CALIBRATED, calibration(x=INPUT.astype("U1")), "x holds <U1, the model takes float32; store numbers"),
    (CALIBRATED, calibration(x=INPUT.astype(complex)), "x holds complex128"),
    (CALIBRATED, calibration(x=INPUT[:0]), "holds no sample; at least one is needed"),
    (CALIBRATED, calibration(images=INPUT), "no key x; it has images"),
    (CALIBRATED, calibration(x=np.where(np.arange(64)[:, None, None, None] == 9, np.nan, INPUT)), "first in row 9"),
    (CALIBRATED, calibration(x=np.full_like(INPUT, np.inf)), "holds NaN or infinity"),
    (CALIBRATED, calibration(x=np.full(INPUT.shape, 1e300)), "x holds 1e+300, more than the model's float32 can hold"),
    (CALIBRATED, lambda p: (p / "calibration.npz").write_bytes(b"PK\3\4 cut"), "cannot be read as .npz"),
    (CALIBRATED, lambda p: (p / "calibration.npz").write_bytes(b""), "cannot be read as .npz"),
    (CALIBRATED, weight(0, ml_dtypes.bfloat16), "x is bfloat16 in the model, which no sample can be"),
    (CALIBRATED, fixed_batch, "holds 64 samples, the model takes 65 at a time"),
    (CALIBRATED, two_inputs, "no key side; it has x, it needs one key per input: x, side"),
    ((*CALIBRATED, "--criterion", "l1", "--recover", "none"), calibration(x=INPUT[0]), "x has shape"),
    # the model
    (("prune", "no.onnx", *HALF[2:]), nothing, "no.onnx: no such file"),
    (("prune", ".", *HALF[2:]), nothing, "is a folder"),
    (("prune", os.devnull, *HALF[2:]), nothing, "is a pipe or a device"),
    (("prune", "calibration.npz", *HALF[2:]), nothing, "is no ONNX model"),
    (HALF, content(lambda data: data[: len(data) // 2]), "is cut off at"),
    (HALF, content(lambda data: data[:-1]), "is cut off at"),
    (HALF, content(lambda data: b""), "it holds 0 bytes"),
    (HALF, content(lambda data: b"The model is on the other drive.\n" * 9), "is no ONNX model"),
    (HALF, model(lambda m: m.graph.node[0].ClearField("output")), "is no valid ONNX model"),
    (HALF, model(lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234")), "is no valid ONNX model"),
    (HALF, weight(np.nan), "net.onnx: weight w2 holds 2 NaN among 576 values"),
    (HALF, weight(-np.inf), "net.onnx: weight w2 holds 2 infinite among 576 values"),
    (HALF, weight(np.nan, np.float64), "weight w2 holds 2 NaN"),
    (HALF, weight(np.inf, np.float16), "weight w2 holds 2 infinite"),
    (HALF, weight(np.nan, ml_dtypes.bfloat16), "weight w2 holds 2 NaN"),
    (("inspect", "net.onnx"), weight(np.nan), "weight w2 holds 2 NaN"),
    (("search", "--devices", "pi1"), weight(np.nan), "weight w2 holds 2 NaN"),
    (HALF, lambda p: save(classifier(), p / "net.onnx"), "nothing can be pruned (logits: reaches the model's output"),
    (HALF, lambda p: save(batchless(), p / "net.onnx"), "nothing can be pruned"),
    # weights in other files
    (HALF, beside("gone.bin"), "weight w1 is kept in gone.bin, which is missing beside the model"),
    (HALF, beside(size=1000), "weights.bin is cut off at 1000 bytes"),
    (HALF, beside(size=0), "weights.bin is cut off at 0 bytes"),
    (HALF, beside("/etc/hostname"), "outside the model's folder"),
    (HALF, beside("../weights.bin"), "outside the model's folder"),
    (HALF, beside("sub/../../weights.bin"), "outside the model's folder"),
    (HALF, beside(link="/etc/hostname"), "outside the model's folder"),
    (HALF, beside(link="weights.bin"), "which is"),
    (("inspect", "net.onnx"), beside("../weights.bin"), "outside the model's folder"),
    (HALF, too_large, "one ONNX file holds at most 2.15 GB"),
    # the output
    ((*HALF[:-1], "net.onnx"), nothing, "net.onnx: is net.onnx, which would be lost"),
    ((*HALF[:-1], "./sub/../net.onnx"), lambda p: (p / "sub").mkdir(), "which would be lost"),
    ((*HALF[:-1], "weights.bin"), beside(), "weights.bin: is weights.bin, which would be lost"),
    ((*HALF[:-1], "calibration.npz", "--calibration", "calibration.npz"), nothing, "which would be lost"),
    ((*GROUPS[:-1], "ratios.toml"), ratios("first = 0.5"), "ratios.toml: is ratios.toml, which would be lost"),
    ((*HALF[:-1], "no/out.onnx"), nothing, "no/out.onnx: the folder no does not exist; create it first"),
    ((*HALF[:-1], "net.onnx/out.onnx"), nothing, "the folder net.onnx does not exist"),
    ((*HALF[:-1], "."), nothing, "is a folder; -o names the file to write"),
    # ratios of groups
    (GROUPS, nothing, "ratios.toml: cannot be read (No such file"),
    (GROUPS, lambda p: (p / "ratios.toml").mkdir(), "ratios.toml: cannot be read (Is a directory"),
    (GROUPS, ratios("first: 0.5"), "ratios.toml:1: is no TOML"),
    (GROUPS, ratios('first = 0.5\n"first" = 0.5'), "ratios.toml:2: is no TOML"),
    (GROUPS, lambda p: (p / "ratios.toml").write_bytes(b"\xff\xfe"), "ratios.toml: is no UTF-8 text"),
    (GROUPS, ratios("# nothing\n"), "ratios.toml: holds no ratio"),
    (GROUPS, ratios("frist = 0.5"), 'ratios.toml: "frist" = 0.5: no such group; did you mean first?'),
    (GROUPS, ratios('"layer9.*" = 0.5'), 'ratios.toml: "layer9.*" = 0.5: no such group; host inspect shows the groups'),
    (GROUPS, ratios("last = 0.5"), 'ratios.toml: "last" = 0.5: last is frozen: '),
    (GROUPS, ratios("first = 1.0"), 'ratios.toml: "first" = 1.0: must be a number, 0 or more and below 1'),
    (GROUPS, ratios("first = -0.5"), "must be a number, 0 or more"),
    (GROUPS, ratios("first = nan"), 'ratios.toml: "first" = nan: must be a number'),
    (GROUPS, ratios("first = true"), "must be a number"),
    (GROUPS, ratios('first = "half"'), "ratios.toml: \"first\" = 'half': must be a number"),
    (GROUPS, ratios("first = [0.5]"), "must be a number"),
    ((*GROUPS, "--ratio", "1.5"), ratios("first = 0.5"), "--ratio 1.5: must be"),
]  # fmt: skip


def files(folder: Path) -> dict[str, bytes | None]:
    """Everything in it; the largest by its name alone."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and path.stat().st_size < 1e6 else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    ("words", "spoil", "told"), BAD, ids=[f"{number} {case[2]}" for number, case in enumerate(BAD)]
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(project: Path, host, words, spoil, told):
    spoil(project)
    before = files(project)
    result = host(*words)
    assert told in result.err
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("host: ")
    assert result.err.count("\n") == 1, result.err
    assert files(project) == before


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o555, 0o666), (0o777, 0o444)], ids=["folder", "file"])
def test_a_place_that_may_not_be_written_is_refused(project: Path, host, folder_mode, file_mode):
    assert host("inspect", "net.onnx").code == 0  # imports, while every file may be read
    out = project / "place" / "out.onnx"
    out.parent.mkdir()
    out.write_bytes(b"mine")
    out.chmod(file_mode)
    out.parent.chmod(folder_mode)
    with rights_of_nobody(project):
        result = host(*HALF[:-1], "place/out.onnx")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert "no permission to write to place" in result.err
    assert [(path.name, path.read_bytes()) for path in out.parent.iterdir()] == [("out.onnx", b"mine")]


def test_a_real_process_tells_it_on_stderr_alone(project: Path):
    weight(np.nan)(project)
    done = subprocess.run(
        [sys.executable, "-m", "edgepareto.host", *HALF, "--json"], capture_output=True, text=True, cwd=project
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("host: net.onnx: weight w2 holds 2 NaN among 576 values; train or export it again\n")


def test_a_write_that_is_interrupted_leaves_no_file(project: Path, host, monkeypatch):
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    before = files(project)
    assert host(*HALF).code == 130
    assert files(project) == before
