"""Whatever is wrong with the input: one line that says what, the right exit code, no traceback, nothing written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes.models import batchless, classifier, convolution, save

SEARCH = ("search", "--devices", "pi1")
Spoil = Callable[[Path], None]


def validation(**changes: object) -> Spoil:
    def spoil(project: Path) -> None:
        with np.load(project / "validation.npz") as data:
            arrays = {key: data[key] for key in data.files}
        np.savez(project / "validation.npz", **{key: value for key, value in (arrays | changes).items()
                                                if value is not None})  # fmt: skip

    return spoil


def setting(old: str, new: str) -> Spoil:
    def spoil(project: Path) -> None:
        file = project / "edgepareto.toml"
        file.write_text(file.read_text().replace(old, new))

    return spoil


def cut_model(project: Path) -> None:
    (project / "net.onnx").write_bytes((project / "net.onnx").read_bytes()[:300])


def open_sizes(project: Path) -> None:
    save(classifier(side=("H", "W")), project / "net.onnx")


def nothing(project: Path) -> None:
    return None


X = np.zeros((60, 1, 6, 6), np.float32)
Y = np.zeros(60, int)
WRONG_USE = [
    (("inspect", "no.onnx"), nothing, "no.onnx: no such file"),
    (("inspect", "validation.npz"), nothing, "is no ONNX model"),
    (("inspect", "net.onnx"), cut_model, "cut off at 300 bytes"),
    (("inspect", "."), nothing, "is a folder"),
    ((*SEARCH, "--model", "no.onnx"), nothing, "no.onnx: no such file"),
    (SEARCH, cut_model, "cut off at 300 bytes"),
    (SEARCH, open_sizes, "--shape x=1,1,SIZE,SIZE"),
    (("profile", "net.onnx", "--devices", "pi1"), open_sizes, "--shape x=1,1,SIZE,SIZE"),
    ((*SEARCH, "--shape", "z=1,2"), nothing, "no such input; it has x"),
    (("prune", "flat.onnx", "--ratio", ".5", "-o", "out.onnx"),
     lambda p: save(classifier(), p / "flat.onnx"), "nothing can be pruned (logits: reaches the model's output"),
    (("prune", "net.onnx", "--ratio", "1", "-o", "out.onnx"), nothing, "--ratio 1: must be 0 or more and below 1"),
    (("prune", "net.onnx", "--ratio", ".5", "-o", "no/out.onnx"), nothing, "the folder no does not exist"),
    (("prune", "net.onnx", "--ratio", ".5", "-o", "out.onnx", "--calibration", "no.npz"), nothing, "no.npz: no such"),
    ((*SEARCH, "--validation", "no.npz"), nothing, "no.npz: no such file"),
    (SEARCH, validation(x=X[:, :, :5]), "x has shape (60, 1, 5, 6), the model takes (any, 1, 6, 6)"),
    (SEARCH, validation(x=X.astype("U1")), "x holds <U1, the model takes float32"),
    (SEARCH, validation(x=np.full_like(X, np.nan)), "NaN or infinity, first in row 0"),
    (SEARCH, validation(y=Y + 3), "y holds 3 in row 0; allowed is 0 to 2, the model gives 3 classes"),
    (SEARCH, validation(y=Y.astype(float)), "labels are integers"),
    (SEARCH, validation(y=None), "no key y; scoring needs labels, it has x; --metric agreement needs none"),
    (SEARCH, setting('calibration = "calibration.npz"', ""), "no calibration data: give --calibration FILE"),
    (SEARCH, setting('validation = "validation.npz"', ""), "no validation data: give --validation FILE"),
    ((*SEARCH, "--metric", "agreement"), setting('validation = "validation.npz"', ""),
     "no validation samples: candidates are scored on them; give --validation, labels are not needed (of the 64"),
    ((*SEARCH, "--search-images", "0"), nothing, "--search-images 0: must be a whole number, 1 or more"),
    ((*SEARCH, "--finalist-images", "0"), nothing, "--finalist-images 0: must be a whole number, 1 or more"),
    (("search", "--devices", "pi2"), nothing, "device pi2 is not known; known are pi1, gone, local"),
    ((*SEARCH, "--metric", "top5"), nothing, "choose top1, precision, agreement, module:function"),
    ((*SEARCH, "--metric", "no_such_module:f"), nothing, "cannot import no_such_module"),
    ((*SEARCH, "--algorithm", "nsga3"), nothing, "sms-emoa, random; did you mean nsga2?"),
    ((*SEARCH, "--measurements", "many"), nothing, "Invalid value for '--measurements'"),
    (SEARCH, setting("population", "popluation"), "edgepareto.toml:9: [search] popluation is not a setting; did you "
                                                  "mean population?"),
    (("config", "check"), setting("quick", "swift"), 'edgepareto.toml:10: [search] preset = "swift": is not known'),
    (("config", "check"), validation(y=Y + 7), "y holds 7 in row 0"),
    (("config", "check"), setting("[search]", "[search"), "edgepareto.toml:7: is no TOML"),
    (("init",), nothing, "exists already and is never overwritten"),
    (("front",), nothing, "study"),
    (("front", "--format", "xml"), nothing, "xml is not known; choose table, csv or json"),
    (("export", "--device", "pi1"), nothing, "Missing option '--output'"),
    (("serach",), nothing, "Did you mean 'search'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "spoil", "told"), WRONG_USE, ids=[told for _, _, told in WRONG_USE])
def test_wrong_use_is_one_line_and_exit_code_2(project: Path, host, words, spoil, told):
    spoil(project)
    before = sorted(project.iterdir())
    result = host(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("host: ")
    assert result.err.count("\n") == 1, result.err
    assert told in result.err
    assert sorted(project.iterdir()) == before


def test_an_agent_that_does_not_answer_is_a_failure_in_one_line(host, project: Path):
    result = host("profile", "net.onnx", "--devices", "gone")
    assert result.code == 1
    assert result.err.startswith("host: gone: ")
    assert result.err.count("\n") == 1
    assert "127.0.0.1:9" in result.err


def test_a_full_disk_is_a_failure_in_one_line(host, project: Path):
    result = host("prune", "net.onnx", "--ratio", "0.5", "-o", "/dev/full")
    assert result.code == 1
    assert result.err == (
        "host: the disk is full; make room and run it again (a search with --resume, its batches are kept)\n"
    )


def test_a_mistake_of_ours_is_one_line_that_asks_for_a_report_and_debug_shows_where(host, monkeypatch):
    from edgepareto.host import api

    def broken(model: Path, on_progress: object) -> None:
        raise KeyError("conv1")

    monkeypatch.setattr(api, "inspect", broken)
    result = host("inspect", "net.onnx")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "unexpected KeyError: 'conv1'" in result.err
    assert "--debug" in result.err
    for words in (("--debug", "inspect", "net.onnx"), ("inspect", "net.onnx", "--debug")):
        assert "Traceback" in host(*words).err


def test_ctrl_c_is_exit_code_130(host, monkeypatch):
    from edgepareto.host import api

    def interrupted(model: Path, on_progress: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "inspect", interrupted)
    result = host("inspect", "net.onnx")
    assert result.code == 130
    assert result.err == "host: interrupted\n"


def test_ctrl_c_in_a_search_says_how_it_goes_on(host, project: Path, monkeypatch):
    from edgepareto.host import api

    def interrupted(*words: object, **flags: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "search", interrupted)
    result = host("search")
    assert (result.code, result.err) == (130, "host: interrupted; go on with --resume\n")


def test_inspect_and_prune_never_refuse_symbolic_sizes(host, project: Path):
    model = convolution()
    for axis, name in ((2, "H"), (3, "W")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    save(model, project / "open.onnx")
    (project / "edgepareto.toml").unlink()
    assert host("inspect", "open.onnx").code == 0
    assert host("prune", "open.onnx", "--ratio", "0.5", "-o", "half.onnx").code == 0


def test_a_model_without_any_layer_to_prune_is_still_shown(host, project: Path):
    save(batchless(), project / "plain.onnx")
    assert host("inspect", "plain.onnx").code == 0


def test_a_missing_library_names_the_extra_to_install(monkeypatch, capsys):
    from edgepareto.host.__main__ import main

    for name in [name for name in sys.modules if name.startswith("edgepareto.host.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["--help"]) == 1
    assert "pip install 'edgepareto[host]'" in capsys.readouterr().err
