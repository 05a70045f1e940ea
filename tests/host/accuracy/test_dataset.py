from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.accuracy import Dataset, load_dataset
from edgepareto.host.config import DataConfig
from edgepareto.host.errors import ConfigError, DataError
from PIL import Image


@dataclass(frozen=True)
class Input:
    name: str
    shape: tuple[int | str | None, ...]
    dtype: str = "float32"


IMAGE = Input("x", ("N", 1, 4, 6))
RAW = np.arange(3 * 24, dtype=np.uint8).reshape(3, 1, 4, 6)


def load(folder: Path, inputs=(IMAGE,), data: DataConfig | None = None, labelled=True, **arrays: object) -> Dataset:
    np.savez(folder / "data.npz", **arrays)
    return load_dataset(
        "data.npz", data or DataConfig(), inputs, folder=folder, labelled=labelled, classes=3 if labelled else None
    )


def test_integers_are_scaled_and_floats_are_taken_as_they_are(tmp_path: Path):
    scaled = DataConfig(scale=1 / 255, offset=-0.5)
    integers = load(tmp_path, data=scaled, x=RAW, labelled=False).feed(slice(None))["x"]
    assert integers.dtype == np.float32
    np.testing.assert_array_equal(integers, RAW.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5))
    floats = load(tmp_path, data=scaled, x=RAW.astype(np.float64), labelled=False).feed(slice(None))["x"]
    np.testing.assert_array_equal(floats, RAW.astype(np.float32))


def test_token_ids_reach_an_integer_input_unscaled(tmp_path: Path):
    tokens = Input("ids", ("N", 5), "int64")
    ids = np.arange(10, dtype=np.int32).reshape(2, 5)
    fed = load(tmp_path, [tokens], DataConfig(scale=1 / 255), ids=ids, labelled=False).feed(slice(1, 2))["ids"]
    assert fed.dtype == np.int64
    assert fed.tolist() == [[5, 6, 7, 8, 9]]


def test_nhwc_files_are_turned_to_the_model(tmp_path: Path):
    turned = load(tmp_path, data=DataConfig(layout="NHWC"), x=np.moveaxis(RAW, 1, -1), labelled=False)
    np.testing.assert_array_equal(turned.inputs["x"], RAW)


@pytest.mark.parametrize(
    ("shape", "rows", "run_shape"),
    [
        (("N", 1, 4, 6), (1, 4, 6), (1, 1, 4, 6)),
        ((1, 1, 4, 6), (1, 4, 6), (1, 1, 4, 6)),
        ((2, 1, 4, 6), (1, 4, 6), (2, 1, 4, 6)),
        ((1, 4, 6), (1, 4, 6), (1, 4, 6)),
    ],
    ids=["symbolic batch", "batch of one", "batch of two", "no batch axis"],
)
def test_one_run_is_fed_what_the_model_takes(tmp_path: Path, shape, rows, run_shape):
    dataset = load(tmp_path, [Input("x", shape)], x=RAW.reshape(3, *rows), labelled=False)
    assert dataset.run_feed(1)["x"].shape == run_shape
    assert dataset.run_feed(1)["x"].flat[0] == RAW[shape[0] if shape[0] == 2 else 1].flat[0]


def test_the_same_samples_are_the_same_data_whatever_file_they_come_from(tmp_path: Path):
    whole = load(tmp_path, x=RAW, y=np.array([0, 1, 2]))
    np.savez_compressed(tmp_path / "copy.npz", y=np.array([0, 1, 2], dtype=np.uint8), x=RAW)
    copy = load_dataset("copy.npz", DataConfig(), [IMAGE], folder=tmp_path, labelled=True, classes=3)
    assert copy.sha256 == whole.sha256
    assert whole.first(2).sha256 != whole.sha256
    assert len(whole.first(2)) == 2


def test_several_inputs_have_a_key_each(tmp_path: Path):
    inputs = [Input("left", ("N", 2)), Input("right", ("N", 3))]
    dataset = load(tmp_path, inputs, left=np.ones((4, 2)), right=np.ones((4, 3)), labelled=False)
    assert dataset.feed(slice(0, 2))["right"].shape == (2, 3)
    with pytest.raises(DataError, match="same number of samples"):
        load(tmp_path, inputs, left=np.ones((4, 2)), right=np.ones((5, 3)), labelled=False)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": RAW}, "no key x; it has images, it needs x"),
        ({"x": RAW}, "no key y; scoring needs labels"),
        ({"x": RAW[:, :, :2], "y": np.zeros(3, int)}, "x has shape (3, 1, 2, 6), the model takes (any, 1, 4, 6)"),
        ({"x": np.moveaxis(RAW, 1, -1), "y": np.zeros(3, int)}, 'set layout = "NHWC" under [data]'),
        ({"x": RAW.astype("U3"), "y": np.zeros(3, int)}, "x holds <U3, the model takes float32"),
        ({"x": RAW, "y": np.zeros(3)}, "y holds float64; labels are integers"),
        ({"x": RAW, "y": np.zeros(2, int)}, "y has shape (2,); one label per sample is (3,)"),
        ({"x": RAW, "y": np.array([0, 1, 3])}, "y holds 3 in row 2; allowed is 0 to 2, the model gives 3 classes"),
        ({"x": RAW, "y": np.array([0, -1, 1])}, "y holds -1 in row 1"),
        ({"x": RAW[:0], "y": np.zeros(0, int)}, "holds no sample"),
        ({"x": np.where(RAW == 30, np.nan, RAW), "y": np.zeros(3, int)}, "NaN or infinity, first in row 1"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_what_was_seen_and_what_is_allowed(tmp_path: Path, arrays, words):
    with pytest.raises(DataError) as told:
        load(tmp_path, **arrays)
    assert str(told.value).startswith("data.npz: ")
    assert words in str(told.value)


def test_a_file_that_is_no_npz_is_refused_and_python_objects_are_never_loaded(tmp_path: Path):
    def refused(name: str) -> str:
        with pytest.raises(DataError) as told:
            load_dataset(name, DataConfig(), [IMAGE], folder=tmp_path, labelled=True)
        return str(told.value)

    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "one.npy", RAW)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    np.savez(tmp_path / "cut.npz", x=RAW, y=np.zeros(3, int))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    assert "no such file or folder" in refused("missing.npz")
    assert "cannot be read as .npz" in refused("text.npz")
    assert "holds one array" in refused("one.npy")
    assert "never loaded" in refused("objects.npz")
    assert "cannot be read" in refused("cut.npz")


def test_a_folder_of_images_gives_its_subfolders_as_classes(tmp_path: Path):
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (12, 8), (10 * number + index,) * 3).save(tmp_path / "photos" / name / f"{index}.png")
    dataset = load_dataset("photos", DataConfig(), [IMAGE], folder=tmp_path, labelled=True, classes=3)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.inputs["x"].shape == (4, 1, 4, 6)
    assert dataset.inputs["x"][:, 0, 0, 0].tolist() == [0, 1, 10, 11]
    (tmp_path / "photos" / "dog" / "1.png").write_text("no image")
    with pytest.raises(DataError, match=r"1\.png: cannot be read as an image"):
        load_dataset("photos", DataConfig(), [IMAGE], folder=tmp_path, labelled=True)


def test_a_function_of_the_user_gives_the_keys_of_an_npz(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "samples_of_ada.py").write_text(
        "import numpy\n"
        "def load():\n    return {'x': numpy.ones((2, 1, 4, 6)), 'y': [0, 1]}\n"
        "def broken():\n    return 1 / 0\n"
        "def wrong():\n    return 5\n"
    )

    def loaded(name: str) -> Dataset:
        return load_dataset(name, DataConfig(), [IMAGE], folder=tmp_path, labelled=True, classes=3)

    assert len(loaded("samples_of_ada:load")) == 2
    with pytest.raises(DataError, match="raised ZeroDivisionError"):
        loaded("samples_of_ada:broken")
    with pytest.raises(DataError, match="returned int; it must return a mapping"):
        loaded("samples_of_ada:wrong")
    with pytest.raises(ConfigError, match="has no function missing"):
        loaded("samples_of_ada:missing")
    with pytest.raises(ConfigError, match="cannot import samples_of_bob"):
        loaded("samples_of_bob:load")


def test_values_that_the_models_type_cannot_hold_are_refused_after_scaling(tmp_path: Path):
    half = Input("x", ("N", 1, 4, 6), "float16")
    wide = np.full((3, 1, 4, 6), -70_000)
    for values in (wide, wide.astype(np.float32)):
        with pytest.raises(DataError, match="x holds 70000, more than the model's float16 can hold; scale it"):
            load(tmp_path, [half], x=values, labelled=False)
    assert load(tmp_path, [half], DataConfig(scale=0.5), x=wide, labelled=False).feed(slice(None))["x"].max() == -35_000
