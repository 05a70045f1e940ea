"""`host recompute` and `host remeasure` as a user types them, on a simulated board."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path


def test_a_finished_study_is_measured_again_and_drawn_again_from_its_one_file(host, project: Path):
    assert host("search", "--devices", "pi1", "--measurements", "4", "--quiet").code == 0
    shown = host("front", "--format", "json").out
    again = host("recompute", "--format", "json")
    assert (again.code, json.loads(again.out)) == (0, json.loads(shown))
    assert "are the same" in again.err

    measured = host("remeasure", "--preset", "quick", "--quiet")
    assert (measured.code, measured.err) == (0, "")
    for word in ("shown before", "again", "pooled", "held", "intervals held", "SIMULATED"):
        assert word in measured.out
    (before,), (after,) = (json.loads(text)["devices"] for text in (shown, host("front", "--format", "json").out))
    for point in before["front"]:
        assert point["candidate"] in measured.out
    assert after["repeatability"]["anchor_jobs"] > before["repeatability"]["anchor_jobs"]

    (project / "copy").mkdir()
    shutil.copy(project / "study" / "study.sqlite", project / "copy")
    shutil.rmtree(project / "study" / "models")
    copied = host("recompute", "--study", "copy")
    assert copied.code == 0
    assert "SIMULATED" in copied.out
    assert "are the same" in copied.out
    assert (project / "copy" / "fronts.html").is_file()
    assert (project / "copy" / "fronts.png").is_file()

    with sqlite3.connect(project / "copy" / "study.sqlite") as file:
        file.execute("UPDATE traces SET data = x'00' WHERE rowid = (SELECT max(rowid) FROM traces WHERE position > 0)")
    file.close()
    damaged = host("recompute", "--study", "copy")
    assert damaged.code == 1
    assert damaged.err.count("left out: ") == 1
    assert "a stored trace cannot be read" in damaged.err
    assert "candidates measured" in damaged.out
    assert "Spearman" not in shown + measured.out + damaged.out  # of so few a rank correlation says nothing

    for words, said in (
        (("remeasure", "knee"), "is gone; delete"),
        (("remeasure", "nosuch"), "nosuch is no candidate measured there"),
        (("remeasure", "--device", "pi9"), "device pi9 is not in"),
        (("remeasure", "--preset", "long"), "long"),
        (("recompute", "--format", "xml"), "choose table, csv or json"),
        (("recompute", "--study", "nowhere"), "holds no study"),
        (("front", "--study", "copy"), "a stored trace cannot be read"),
    ):
        refused = host(*words)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), words
        assert said in refused.err
