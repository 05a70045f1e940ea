"""Each operator by itself and behind a convolution, whose channels lie last, gives what ONNX Runtime gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from edgepareto.host.export.parity import measure_parity, onnx_outputs
from edgepareto.host.export.tflite import UnsupportedModel, to_tflite
from onnx import TensorProto, helper, numpy_helper

ROUNDING = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An input of whole numbers, or of truths."""

    shape: tuple[int, ...]
    low: int = -3
    high: int = 4
    dtype: str = "int64"


Value = tuple[int, ...] | Whole | np.ndarray | None  # an input's shape, a constant, or an input that is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """scale, around: of the inputs. below: they are whole numbers from -below to below. kinds: of the outputs."""

    op: str
    inputs: tuple[Value, ...]
    attributes: dict[str, object] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 18
    scale: float = 1.0
    around: float = 0.0
    below: int = 0
    kinds: tuple[int, ...] = (TensorProto.FLOAT,)

    def __str__(self) -> str:
        shapes = "_".join(
            "x".join(map(str, value.shape if isinstance(value, Whole) else value))
            for value in self.inputs
            if isinstance(value, (tuple, Whole))
        )
        words = "_".join(f"{key}_{value}" for key, value in self.attributes.items())
        return f"{self.op}_{self.opset}_{shapes}_{words}"[:90]


def case(op: str, *inputs: Value, opset: int = 18, **attributes: object) -> Case:
    return Case(op=op, inputs=inputs, attributes=attributes, opset=opset)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def recurrent_weights(ways: int, gates: int) -> list[np.ndarray]:
    return [normal(ways, gates * 4, 3), normal(ways, gates * 4, 4), normal(ways, gates * 8)]


IMAGE = (1, 6, 4, 5)
NONE = floats()
MANY = (2, 3, 40)
WHOLE = Whole(shape=(2, 3, 4))
TRUTHS = Whole(shape=(2, 3, 4), low=0, high=2, dtype="bool")

ACTIVATIONS = [
    *(
        Case(op=op, inputs=(MANY,), scale=scale)
        for op in ("Softplus", "Mish", "Softsign", "Erf", "Elu", "Selu", "Celu", "Sign", "Round", "ThresholdedRelu")
        for scale in (0.02, 1.0, 30.0)
    ),
    Case(op="Erf", inputs=(MANY,), scale=1e-4),
    Case(op="Mish", inputs=(MANY,), scale=1e-4),
    Case(op="Softplus", inputs=(MANY,), around=-12.0),
    Case(op="Mish", inputs=(MANY,), around=-12.0),
    case("Elu", IMAGE, alpha=0.3),
    case("Selu", IMAGE, alpha=2.0, gamma=0.5),
    case("Celu", IMAGE, alpha=0.3),
    case("ThresholdedRelu", IMAGE, alpha=0.2),
    case("PRelu", (1, 15, 4), normal(15, 1)),
    case("PRelu", IMAGE, normal(6, 1, 1)),
    case("PRelu", IMAGE, normal(4, 5)),
    case("PRelu", IMAGE, normal(1)),
    case("PRelu", (2, 3), (2, 3)),
]
ELEMENTWISE = [
    case("Mean", IMAGE, (6, 1, 1), (1, 1, 4, 5)),
    case("Sum", IMAGE, (1, 6, 1, 1), normal(5), IMAGE),
    case("Max", IMAGE, normal(6, 1, 1)),
    case("Min", IMAGE),
    case("Pow", IMAGE, ints(2)),
    case("Where", np.arange(120).reshape(IMAGE) % 3 == 0, IMAGE, (6, 1, 1)),
    *(
        Case(op=op, inputs=(IMAGE, (6, 1, 1)), below=3, kinds=(TensorProto.BOOL,))
        for op in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
    ),
    *(
        Case(op=op, inputs=(TRUTHS, Whole(shape=(3, 1), low=0, high=2, dtype="bool")), kinds=(TensorProto.BOOL,))
        for op in ("And", "Or", "Xor")
    ),
    Case(op="Not", inputs=(TRUTHS,), kinds=(TensorProto.BOOL,)),
    *(
        Case(op=op, inputs=(WHOLE, Whole(shape=(3, 1))), kinds=(TensorProto.INT64,))
        for op in ("Add", "Sub", "Mul", "Max", "Min")
    ),
    Case(op="Div", inputs=(WHOLE, Whole(shape=(3, 1), low=1)), kinds=(TensorProto.INT64,)),
    *(Case(op=op, inputs=(TRUTHS, ints(1)), kinds=(TensorProto.BOOL,), opset=20) for op in ("ReduceMax", "ReduceMin")),
    *(Case(op=op, inputs=(WHOLE,), kinds=(TensorProto.INT64,)) for op in ("Abs", "Neg")),
    *(Case(op=op, inputs=(WHOLE, ints(1)), kinds=(TensorProto.INT64,)) for op in ("ReduceSum", "ReduceMax", "CumSum")),
]
REDUCTIONS = [
    Case(op=f"Reduce{kind}", inputs=(IMAGE, *axes), attributes=more)
    for kind in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp")
    for axes, more in (
        ((ints(1),), {"keepdims": 0}),
        ((ints(-1, 1),), {"keepdims": 1}),
        ((), {"keepdims": 0}),
    )
] + [
    case("ReduceL2", (2, 3, 4), opset=11, axes=[0, 2]),
    Case(op="ReduceLogSumExp", inputs=(IMAGE, ints(1)), scale=100.0),
    case("ReduceSum", IMAGE, ints(), noop_with_empty_axes=1),
    case("CumSum", IMAGE, ints(1)),
    case("CumSum", IMAGE, ints(-1), exclusive=1, reverse=1),
    Case(op="ArgMax", inputs=(IMAGE,), attributes={"axis": 1}, below=2, kinds=(TensorProto.INT64,)),
    Case(op="ArgMin", inputs=(IMAGE,), attributes={"axis": -1, "keepdims": 0}, below=2, kinds=(TensorProto.INT64,)),
]
PLACES = [
    *(
        Case(
            op="TopK",
            inputs=(IMAGE, ints(3)),
            attributes={"axis": axis, "largest": largest},
            outputs=2,
            below=2,
            kinds=(TensorProto.FLOAT, TensorProto.INT64),
        )
        for axis in (1, 2, -1)
        for largest in (0, 1)
    ),
    case("GatherElements", IMAGE, np.array([[[[0, -1, 2, 1, 0]]]]), axis=2),
    case("GatherElements", IMAGE, np.arange(8).reshape(1, 4, 2, 1) % 6 - 2, axis=1),
    case("GatherND", IMAGE, np.array([[0, 5, 1], [-1, -2, -4]])),
    case("GatherElements", IMAGE, Whole(shape=(1, 6, 2, 5), low=-4), axis=2),
    case("GatherND", (3, 4, 5), Whole(shape=(2, 6, 2), low=-3, high=3)),
    case("Gather", (3, 4, 5), Whole(shape=(2, 2), low=0), axis=1),
    *(case("OneHot", Whole(shape=(2, 3), low=-6, high=7), np.array(5), floats(-1, 2), axis=axis) for axis in (-1, 0)),
    case("Trilu", (2, 5, 4)),
    Case(op="Trilu", inputs=(Whole(shape=(4, 5)), np.array(1)), kinds=(TensorProto.INT64,)),
    case("Trilu", IMAGE, np.array(-1), upper=0),
    case("DepthToSpace", (1, 8, 3, 2), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (1, 3, 4, 6), blocksize=2),
    *(
        case("SpaceToDepth", (1, 3, 4, 6), blocksize=2, mode="CRD", opset=since)
        for since in (28,)
        if onnx.defs.onnx_opset_version() >= since
    ),
    case("DepthToSpace", (1, 8, 3, 2), blocksize=2, mode="DCR"),
    *(case("Pad", IMAGE, ints(0, 1, 2, 0, 0, 2, 1, 3), mode=mode) for mode in ("edge", "reflect", "constant")),
    case("Pad", IMAGE, ints(0, 1, 2, 0, 0, 2, 1, 9), opset=19, mode="wrap"),
    case("Pad", IMAGE, ints(0, -1, 2, 0, 0, 0, -1, -3), floats(1.5).reshape(())),
    case("Pad", IMAGE, ints(-1, 2, 0, -2), None, ints(3, 1), mode="edge"),
]
BLOCKED = np.where(np.tri(5, dtype=bool), 0, -np.inf).astype(np.float32)
DEFINED = [  # by ONNX itself, as functions of other operators
    case("RMSNormalization", (2, 3, 8), normal(8), opset=23),
    case("Attention", (2, 3, 5, 8), (2, 3, 5, 8), (2, 3, 5, 8), opset=23),
    case("Attention", (2, 3, 5, 8), (2, 3, 5, 8), (2, 3, 5, 8), opset=23, is_causal=1),
    case("Attention", (2, 5, 12), (2, 5, 6), (2, 5, 6), BLOCKED, opset=23, q_num_heads=4, kv_num_heads=2),
]
MATRICES = [
    case("MatMul", (5,), (2, 5, 3)),
    case("MatMul", (2, 4, 5), (5,)),
    case("MatMul", (5,), normal(5, 3)),
    case("MatMul", (5,), (5,)),
    case("Gemm", (3, 4), (4, 5), (3, 1), alpha=0.5, beta=2.0),
    case("Gemm", (4, 3), (5, 4), transA=1, transB=1),
    case("Gemm", (3, 4), normal(4, 5), normal(3, 5)),
    *(
        case("Einsum", *shapes, equation=equation)
        for equation, shapes in (
            ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 6, 5))),
            ("bhqk,bkhd->bqhd", ((2, 3, 4, 6), (2, 6, 3, 5))),
            ("btc,co->bto", ((2, 4, 3), normal(3, 5))),
            ("btc,hcd->bhtd", ((2, 4, 3), normal(2, 3, 5))),
            ("nchw,oc->nohw", (IMAGE, normal(7, 6))),
            ("nchw,nohw->no", (IMAGE, (1, 2, 4, 5))),
            ("...ij,...jk->...ik", ((2, 3, 4), (2, 4, 5))),
            ("i...,i...", ((3, 2, 4), (3, 2, 4))),
            ("bi,bj,bk->ijk", ((2, 3), (2, 4), (2, 5))),
            ("bij->ji", ((2, 3, 4),)),
            ("ij->", ((2, 3),)),
            ("i,i->i", ((3,), (3,))),
            (" i , j -> j i ", ((3,), normal(4))),
        )
    ),
]
NORMALISATIONS = [
    case("GroupNormalization", IMAGE, normal(6), normal(6), opset=21, num_groups=2),
    case("GroupNormalization", (2, 6, 4), normal(6), normal(6), opset=21, num_groups=3),
    case("InstanceNormalization", IMAGE, normal(6), normal(6)),
    case("MeanVarianceNormalization", IMAGE),
    case("MeanVarianceNormalization", IMAGE, axes=[1, 3]),
    case("LpNormalization", IMAGE, axis=1),
    case("LpNormalization", IMAGE, axis=-1, p=1),
    case("LayerNormalization", IMAGE, normal(4, 5), normal(4, 5), axis=2),
]
POOLS = [
    case("LpPool", IMAGE, kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1]),
    case("LpPool", (1, 3, 9), kernel_shape=[3], p=3),
    case("LpPool", IMAGE, kernel_shape=[2, 2], p=1, auto_pad="SAME_UPPER"),
    case("GlobalLpPool", IMAGE),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
]
RESIZES = [
    *(
        case(
            "Resize", (1, 2, 5, 6), NONE, floats(1, 1, *scales),
            mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=where,
        )
        for scales in ((1.7, 2.0), (0.6, 0.5))
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ),
    *(
        case("Resize", (1, 2, 5, 6), NONE, floats(1, 1, *scales), mode=mode, coordinate_transformation_mode=where)
        for mode in ("linear", "cubic")
        for scales in ((1.7, 2.0), (0.6, 0.5), (0.2, 1.0))
        for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ),
    case("Resize", (1, 2, 5, 6), NONE, NONE, ints(1, 2, 8, 3), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    case("Resize", (1, 2, 5, 6), NONE, floats(1.7, 2), opset=18, mode="linear", axes=[3, 2]),
    case("Resize", (2, 3, 7), NONE, floats(1, 1, 1.5), mode="linear"),
    case("Resize", (1, 2, 3, 4, 2), NONE, floats(1, 1, 2, 1.5, 2), mode="linear"),
    case("Resize", (2, 3), NONE, floats(2, 2), mode="nearest"),
    case(
        "Resize", (1, 2, 5, 6), NONE, floats(1, 1, 1.7, 2), opset=19,
        mode="linear", coordinate_transformation_mode="half_pixel_symmetric",
    ),
    *(case("Resize", (1, 2, 5, 6), floats(1, 1, *scales), opset=10) for scales in ((2, 3), (0.6, 0.5), (1.7, 1.2))),
    case("Resize", (1, 2, 5, 6), floats(1, 1, 1.7, 2), opset=10, mode="linear"),
    case("Upsample", (1, 2, 5, 6), floats(1, 1, 1.7, 2), opset=9),
]  # fmt: skip
RECURRENT = [
    *(
        Case(
            op=op,
            inputs=((5, 2, 3), *recurrent_weights(ways, gates), None, *start),
            attributes={"hidden_size": 4, "direction": direction, **more},
            outputs=2,
            kinds=(TensorProto.FLOAT, TensorProto.FLOAT),
        )
        for op, gates, more in (
            ("RNN", 1, {}), ("RNN", 1, {"activations": ["Relu"]}), ("GRU", 3, {}),
            ("GRU", 3, {"linear_before_reset": 1}), ("LSTM", 4, {}),
        )
        for direction, ways in (("forward", 1), ("bidirectional", 2))
        for start in ((), ((ways, 2, 4),))
        if "activations" not in more or ways == 1
    )
]  # fmt: skip
CASES = [
    *ACTIVATIONS, *ELEMENTWISE, *REDUCTIONS, *PLACES, *MATRICES, *NORMALISATIONS, *POOLS, *RESIZES, *RECURRENT,
    *DEFINED,
]  # fmt: skip


def model_of(given: Case, *, behind_conv: bool = False) -> onnx.ModelProto:
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(given.inputs)]
    values, constants, nodes = [], [], []
    for i, value in enumerate(given.inputs):
        if isinstance(value, tuple):
            values.append(helper.make_tensor_value_info(names[i], TensorProto.FLOAT, value))
        elif isinstance(value, Whole):
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
            values.append(helper.make_tensor_value_info(names[i], kind, value.shape))
        elif value is not None:
            constants.append(numpy_helper.from_array(value, names[i]))
    if behind_conv:
        channels = given.inputs[0][1]
        constants.append(numpy_helper.from_array(np.eye(channels, dtype=np.float32)[:, :, None, None], "eye"))
        nodes.append(helper.make_node("Conv", ["x0", "eye"], ["image"]))
        names[0] = "image"
    outputs = [f"y{i}" for i in range(given.outputs)]
    nodes.append(helper.make_node(given.op, names, outputs, **given.attributes))
    ends = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(outputs, given.kinds, strict=True)]
    graph = helper.make_graph(nodes, "one", values, ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", given.opset)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def feeds_for(given: Case, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    feeds = {}
    for i, value in enumerate(given.inputs):
        if isinstance(value, Whole):
            feeds[f"x{i}"] = random.integers(value.low, value.high, value.shape).astype(value.dtype)
        elif isinstance(value, tuple) and given.below:
            feeds[f"x{i}"] = random.integers(-given.below, given.below, value).astype(np.float32)
        elif isinstance(value, tuple):
            feeds[f"x{i}"] = (random.normal(size=value) * given.scale + given.around).astype(np.float32)
    return feeds


@pytest.mark.parametrize("given", CASES, ids=str)
def test_an_operator_gives_what_onnx_runtime_gives(given: Case):
    first = given.inputs[0]
    is_image = isinstance(first, tuple) and len(first) == 4
    for behind_conv in (False, True) if is_image else (False,):
        model = model_of(given, behind_conv=behind_conv)
        feeds = [feeds_for(given, seed) for seed in range(2)]
        parity = measure_parity(to_tflite(model), feeds, onnx_outputs(model.SerializeToString(), feeds))
        assert parity.relative <= ROUNDING


def test_an_attention_of_blocked_scores_gives_what_onnx_runtime_gives():
    """Minus infinity, as exporters write causal masks."""
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"]),
        helper.make_node("MatMul", ["shares", "x"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3, 5, 5)) for name in "xy"]
    graph = helper.make_graph(nodes, "masked", ends[:1], ends[1:], [numpy_helper.from_array(BLOCKED, "mask")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    feeds = [{"x": normal(2, 3, 5, 5)}]
    assert measure_parity(to_tflite(model), feeds, onnx_outputs(model.SerializeToString(), feeds)).relative <= ROUNDING


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (case("MatMul", Whole(shape=(2, 3)), Whole(shape=(3, 4))), "MatMul of int32"),
        (case("ReduceL2", Whole(shape=(2, 3)), ints(1)), "ReduceL2 of int32"),
        (case("Pow", Whole(shape=(2, 3)), Whole(shape=(2, 3))), "Pow of int32"),
        (case("Einsum", (3, 3), equation="ii->i"), "Einsum of a diagonal"),
        (case("Resize", IMAGE, NONE, floats(1, 1, 0.5, 0.5), mode="linear", antialias=1), "Resize with antialias"),
        (case("MeanVarianceNormalization", Whole(shape=(2, 3, 4, 4))), "MeanVarianceNormalization of int32"),
        (case("Range", floats(0).reshape(()), (), floats(1).reshape(())), "Range"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_by_its_own_name(given: Case, missing: str):
    with pytest.raises(UnsupportedModel) as told:
        to_tflite(model_of(given))
    assert list(told.value.operators) == [missing]
