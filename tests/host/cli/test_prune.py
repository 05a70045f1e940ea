"""`host prune` and `host inspect` with their options, as a user types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from edgepareto.host.export import read_model
from fakes.models import convolution, save
from onnx import TensorProto, helper, numpy_helper

PRUNE = ("prune", "net.onnx", "-o", "out.onnx", "--json")


def deep(layers: int, channels: int = 12) -> onnx.ModelProto:
    """Convolutions of one residual stream, each named as exporters do, brackets included."""
    random = np.random.default_rng(1)
    weights = {f"w{n}": (channels, 1 if n == 0 else channels, 3, 3) for n in range(layers)}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["s0"], name="/stage[0]/conv", pads=[1, 1, 1, 1])]
    for n in range(1, layers):
        nodes += [
            helper.make_node("Conv", [f"s{n - 1}", f"w{n}"], [f"c{n}"], name=f"/stage[{n}]/conv", pads=[1, 1, 1, 1]),
            helper.make_node("Add", [f"s{n - 1}", f"c{n}"], [f"s{n}"]),
        ]
    nodes += [
        helper.make_node("GlobalAveragePool", [f"s{layers - 1}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head"], ["logits"], name="/head"),
    ]
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
            for name, shape in {**weights, "head": (channels, 3)}.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def uneven() -> onnx.ModelProto:
    """A layer of four equal parts reads 24 and 4 x 28 channels, side by side: its parts hold unequal shares of each."""
    random = np.random.default_rng(0)
    weights = {"w0": (8, 1, 1, 1), "w1": (24, 8, 1, 1), "w2": (112, 2, 1, 1), "w3": (8, 34, 1, 1), "w4": (8, 3)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["stem"], name="stem"),
            helper.make_node("Conv", ["stem", "w1"], ["narrow"], name="narrow"),
            helper.make_node("Conv", ["stem", "w2"], ["wide"], name="wide", group=4),
            helper.make_node("Concat", ["narrow", "wide"], ["both"], axis=1),
            helper.make_node("Conv", ["both", "w3"], ["parts"], name="parts", group=4),
            helper.make_node("GlobalAveragePool", ["parts"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w4"], ["logits"], name="last"),
        ],
        "uneven",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def outputs(path: Path) -> np.ndarray:
    x = np.random.default_rng(5).random((20, 1, 6, 6), np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def kept(result) -> list[int]:
    assert (result.code, result.err) == (0, ""), result.err
    return [group["kept"] for group in json.loads(result.out)["groups"]]


@pytest.mark.parametrize(
    ("lines", "ratio", "widths"),
    [
        ('second = 0.75', (), [8, 2]),
        ('second = 0.75', ("--ratio", "0.25"), [6, 2]),
        ('"*" = 0.5', (), [4, 4]),
        ('"*" = 0.5\nfirst = 0', (), [8, 4]),
        ('first = 0\n"f*" = 0.5', ("--ratio", "0.5"), [8, 4]),
        ('"*st" = 0.25\n"f?rst" = 0.5', (), [4, 8]),
        ('"*" = 0.99', (), [1, 1]),
    ],
    ids=["others stay whole", "others take --ratio", "a pattern", "a name wins", "before or after", "the later pattern",
         "one channel always stays"],
)  # fmt: skip
def test_single_groups_have_ratios_of_their_own(host, project: Path, lines, ratio, widths):
    (project / "ratios.toml").write_text(lines)
    assert kept(host(*PRUNE, "--group-ratios", "ratios.toml", *ratio)) == widths
    assert outputs(project / "out.onnx").shape == (20, 3)


def test_a_dotted_name_may_stand_without_quotes(host, project: Path):
    model = convolution()
    model.graph.node[0].name = "layer1.0.conv"
    save(model, project / "net.onnx")
    (project / "ratios.toml").write_text("layer1.0.conv = 0.5\n")
    assert kept(host(*PRUNE, "--group-ratios", "ratios.toml")) == [4, 8]


def test_brackets_in_names_are_only_brackets(host, project: Path):
    save(deep(2), project / "net.onnx")
    (project / "ratios.toml").write_text('"/stage[0]/*" = 0.5\n')
    assert kept(host(*PRUNE, "--group-ratios", "ratios.toml")) == [6]
    assert "/stage[0]/conv" in host("inspect", "net.onnx").out


@pytest.mark.parametrize(("step", "steps"), [(1, [1, 1]), (3, [3, 3]), (8, [8, 8]), (16, [8, 8])])
def test_kept_channels_are_multiples_of_the_step_or_all(host, project: Path, step, steps):
    shown = json.loads(host("inspect", "net.onnx", "--step", str(step), "--json").out)["groups"]
    assert [group["step"] for group in shown] == steps
    for ratio in np.linspace(0, 0.99, 12):
        for width in kept(host(*PRUNE, "--step", str(step), "--ratio", f"{ratio:.2f}", "--recover", "none")):
            assert width == 8 or width % step == 0


@pytest.mark.parametrize(("step", "told"), [(1, (4, 20)), (8, (8, 24))])
def test_parts_of_unequal_size_have_a_smallest_width_beside_their_step(host, project: Path, step, told):
    save(uneven(), project / "net.onnx")
    shown = json.loads(host("inspect", "net.onnx", "--step", str(step), "--json").out)["groups"]
    assert [group["name"] for group in shown if "smallest" in group] == ["narrow"]
    (uneven_group,) = (group for group in shown if "smallest" in group)
    assert (uneven_group["step"], uneven_group["smallest"]) == told
    reached = {
        kept(host(*PRUNE, "--step", str(step), "--ratio", ratio, "--recover", "none"))[1]
        for ratio in ("0.4", "0.5", "0.6", "0.7", "0.99")
    }
    assert len(reached) >= 4
    assert min(reached) == told[1]
    assert all(width % told[0] == 0 for width in reached)


def test_a_step_wider_than_every_group_says_that_nothing_was_cut(host):
    result = host("prune", "net.onnx", "--ratio", "0.5", "--step", "16", "-o", "out.onnx")
    assert "! step 16: 2 of 2 groups are no wider and stay whole" in result.out


@pytest.mark.parametrize("criterion", ["obs", "l1", "l2", "activation"])
@pytest.mark.parametrize("recover", ["ls", "moment", "none"])
def test_every_criterion_goes_with_every_recovery(host, project: Path, criterion, recover):
    words = ("--ratio", "0.5", "--criterion", criterion, "--recover", recover)
    report = json.loads(host(*PRUNE, *words).out)
    assert (report["criterion"], report["recover"], report["recovered"]) == (criterion, recover, recover != "none")
    needed = criterion in ("obs", "activation") or recover != "none"
    assert report.get("calibration_images") == (64 if needed else None)
    assert np.isfinite(outputs(project / "out.onnx")).all()
    onnx.checker.check_model(read_model(project / "out.onnx"), full_check=True)


def test_least_squares_comes_nearer_to_the_dense_model_than_moments_and_those_than_nothing(host, project: Path):
    dense, errors = outputs(project / "net.onnx"), []
    for recover in ("ls", "moment", "none"):
        host(*PRUNE, "--ratio", "0.5", "--recover", recover)
        errors.append(float(np.square(outputs(project / "out.onnx") - dense).mean()))
    assert errors == sorted(errors)
    assert errors[0] < errors[2] / 2


def test_without_calibration_the_defaults_are_those_that_need_none_and_the_user_is_told(host, project: Path):
    assert json.loads(host(*PRUNE, "--ratio", "0.5").out)["criterion"] == "obs"
    (project / "edgepareto.toml").unlink()
    report = json.loads(host(*PRUNE, "--ratio", "0.5").out)
    assert (report["criterion"], report["recover"], report["recovered"]) == ("l1", "none", False)
    assert "calibration_images" not in report
    told = host("prune", "net.onnx", "--ratio", "0.5", "-o", "out.onnx").out
    assert "! ranked by l1, not repaired: without --calibration the accuracy is close to guessing" in told


def test_the_settings_own_criterion_and_recovery_hold_until_a_flag_says_otherwise(host, project: Path):
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text().replace("[search]", '[search]\ncriterion = "l2"\nrecovery = "moment"'))
    report = json.loads(host(*PRUNE, "--ratio", "0.5").out)
    assert (report["criterion"], report["recover"]) == ("l2", "moment")
    report = json.loads(host(*PRUNE, "--ratio", "0.5", "--recover", "ls").out)
    assert (report["criterion"], report["recover"]) == ("l2", "ls")


def test_the_settings_calibration_is_left_alone_where_nothing_needs_it(host, project: Path):
    np.savez(project / "calibration.npz", x=np.zeros((4, 3, 9, 9), np.float32))  # another model's
    assert kept(host(*PRUNE, "--ratio", "0.5", "--criterion", "l1", "--recover", "none")) == [4, 4]


def test_a_model_with_its_weights_beside_it_becomes_one_file(host, project: Path):
    onnx.save_model(convolution(), project / "beside.onnx", save_as_external_data=True, location="w", size_threshold=0)
    assert host("prune", "beside.onnx", "--ratio", "0.5", "-o", "out.onnx").code == 0
    (project / "w").unlink()
    written = (project / "out.onnx").read_bytes()
    host("prune", "net.onnx", "--ratio", "0.5", "-o", "out.onnx")
    assert (project / "out.onnx").read_bytes() == written


def test_an_output_that_exists_is_replaced(host, project: Path):
    (project / "out.onnx").write_text("an older model")
    assert kept(host(*PRUNE, "--ratio", "0.5")) == [4, 4]
    assert outputs(project / "out.onnx").shape == (20, 3)


def test_half_precision_stays_half_precision(host, project: Path):
    model = convolution()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for end in (model.graph.input[0], model.graph.output[0]):
        end.type.tensor_type.elem_type = TensorProto.FLOAT16
    save(model, project / "net.onnx")
    assert kept(host(*PRUNE, "--ratio", "0.5")) == [4, 4]
    assert {tensor.data_type for tensor in read_model(project / "out.onnx").graph.initializer} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("verb", ["prune", "inspect"])
def test_the_json_has_the_documented_names_and_no_others(host, project: Path, verb):
    save(uneven(), project / "net.onnx")  # whatever is only there at times is there
    page = (Path(__file__).parents[3] / "docs" / "json.md").read_text()
    documented = page.split(f"**`host {verb} --json`**")[1].split("```")[1]
    few = np.random.default_rng(0).standard_normal((20, 1, 6, 6), dtype=np.float32)
    np.savez(project / "few.npz", x=few)
    words = ("--ratio", "0.5", "-o", "out.onnx", "--calibration", "few.npz") if verb == "prune" else ()
    report = json.loads(host(verb, "net.onnx", "--json", *words).out)

    def names(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()

    assert names(report) - {"name", "shape", "dtype"} == set(re.findall(r'"(\w+)"', documented)) - {"name"}


def test_a_long_list_of_coupled_layers_is_short_in_the_table_and_whole_in_json(host, project: Path):
    save(deep(9), project / "net.onnx")
    (group,) = json.loads(host("inspect", "net.onnx", "--json").out)["groups"]
    assert group["layers"] == [f"/stage[{n}]/conv" for n in range(9)]
    table = host("inspect", "net.onnx").out
    assert "/stage[0]/conv, /stage[1]/conv, /stage[2]/conv and 6 more" in " ".join(table.split())
    for heading in ("group", "channels", "step", "of MACs", "layers", "why"):
        assert heading in table


def test_the_table_of_a_prune_has_every_group_before_and_after_and_what_is_frozen(host):
    rows = host("prune", "net.onnx", "--ratio", "0.5", "-o", "out.onnx").out.splitlines()
    words = [row.split() for row in rows]
    assert ["first", "8", "4"] in words
    assert ["second", "8", "4"] in words
    assert any(row[:2] == ["last", "3"] and "output" in row for row in words)
    assert "ranked by obs, repaired by ls on 64 samples" in rows
    assert rows[-1].startswith("out.onnx written, 2 of 2 groups pruned in ")


def test_whole_numbers_without_a_scale_and_few_samples_are_doubted(host, tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "whole.npz", x=random.integers(0, 256, size=(40, 1, 6, 6), dtype=np.uint8))
    shown = host("prune", "net.onnx", "--ratio", "0.5", "--calibration", str(tmp_path / "whole.npz"), "-o", "o.onnx")
    words = " ".join(shown.out.split())
    assert "holds whole numbers up to 255, fed as they are" in words
    assert "holds only 40 samples; about 500 repair well" in words
