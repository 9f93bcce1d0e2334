"""The benchmark of frames with columns of all kinds."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import frames
from benchmarks.records import Records
from benchmarks.report_detection import render_frames

pytest.importorskip("skrub")


def test_anomalies_are_what_they_are_called():
    frame = frames.make_frame(2_000, 0)
    before = frame.copy()
    kinds = frames.add_anomalies(frame, np.random.default_rng(0))
    changed = [column for column in frame if not frame[column].equals(before[column])]
    assert changed == ["height", "degrees", "pressure", "country", "ordered", "delivered"]
    assert pd.Series(kinds[kinds != ""]).value_counts().to_dict() == dict.fromkeys(frames.KINDS, 10)
    wait = (frame["delivered"] - frame["ordered"]).dt.days
    assert wait[kinds == "delivery 60 days late"].min() >= 60
    assert wait[kinds == "order 500 days on"].max() < 30
    assert (frame["country"] != before["country"])[kinds == "city in another country"].all()


def test_rows(tmp_path):
    records = Records("frames", tmp_path)
    options = SimpleNamespace(small=True, seeds=1)
    frames.frames(options, records)
    rows = records.rows.set_index(["method", "kind"])
    assert len(rows) == 10 and rows.loc[("make_table_pipeline()", "number"), "auroc"] > 90
    frames.frames(options, records)
    assert len(records.rows) == 10
    assert "| make_table_pipeline() |" in render_frames(records.rows)
