from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.errors import ModelError, WrongUse
from edgepareto.host.export import read_model, sha256_of, write_model, write_whole
from fakes.models import classifier, save


def with_weights_beside(path: Path, location: str = "weights.bin") -> Path:
    onnx.save_model(
        classifier(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    model = onnx.load_model(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    return save(model, path)


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as told:
        read_model(path)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_model_that_was_written_is_read_back_and_equal_models_give_equal_bytes(tmp_path: Path):
    write_model(classifier(), tmp_path / "a.onnx")
    write_model(read_model(tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert sha256_of(tmp_path / "a.onnx") == sha256_of(tmp_path / "b.onnx")
    assert read_model(tmp_path / "b.onnx") == classifier()


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "text.onnx").write_text("this is a text and no model at all")
    (tmp_path / "empty.onnx").touch()
    assert "no such file" in refusal(tmp_path / "missing.onnx")
    assert "is a folder" in refusal(tmp_path)
    assert "no ONNX model" in refusal(tmp_path / "empty.onnx")
    assert "ONNX model" in refusal(tmp_path / "text.onnx")


def test_a_model_cut_off_anywhere_is_refused(tmp_path: Path):
    whole = classifier().SerializeToString()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        refusal(tmp_path / "cut.onnx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_model_that_may_not_be_read_is_refused(tmp_path: Path):
    path = save(classifier(), tmp_path / "m.onnx")
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_weights_in_files_beside_the_model_come_inside(tmp_path: Path):
    read = read_model(with_weights_beside(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(read.graph.initializer[0]), np.eye(4, 3))
    (tmp_path / "weights.bin").unlink()
    assert "missing beside the model" in refusal(tmp_path / "m.onnx")


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_weights_outside_of_the_models_folder_are_never_read(tmp_path: Path, location: str):
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert "outside the model's folder" in refusal(with_weights_beside(folder / "m.onnx", location))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "m.onnx", b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("m.onnx", b"old")]


def test_a_missing_output_folder_is_refused_and_not_created(tmp_path: Path):
    with pytest.raises(WrongUse, match="does not exist; create it first"):
        write_model(classifier(), tmp_path / "typo" / "m.onnx")
    assert not (tmp_path / "typo").exists()


def test_a_written_file_has_the_users_own_permissions_and_a_pipe_stays_a_pipe(tmp_path: Path):
    write_whole(tmp_path / "m.onnx", b"data")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "m.onnx").stat().st_mode) == 0o666 & ~umask
    write_whole(Path(os.devnull), b"data")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
