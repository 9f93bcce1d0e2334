"""The pipeline for frames with strings, categories, booleans, dates and gaps."""

import datetime
import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from skanomaly import NeighborDistance, OneClassKFold, make_table_pipeline

pytest.importorskip("skrub")
DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2024-01-01", tz="Europe/Berlin")
COUNTRIES = np.array(["de", "fr", "it", "es", "uk"])
PLANS = np.array(["basic", "plus", "pro"])
WORDS = np.array(["red", "blue", "small", "large", "chair", "table", "lamp", "bed", "box", "of"])
GAPPY = ["degrees", "items", "plan", "member", "delivered"]


def make_frame(n_rows, seed=0):
    """15 columns of all kinds; the country follows from the city."""
    rng = np.random.default_rng(seed)
    city = rng.choice(20, n_rows, p=np.arange(20, 0, -1) / 210)
    size = rng.normal(size=n_rows)
    frame = pd.DataFrame(
        {
            "height": size + rng.normal(size=n_rows) / 2,
            "weight": size + rng.normal(size=n_rows) / 2,
            "amount": rng.lognormal(size=n_rows),
            "degrees": rng.normal(20, 5, n_rows),
            "pressure": rng.gamma(3, size=n_rows),
            "speed": rng.uniform(0, 100, n_rows),
            "items": pd.array(rng.poisson(3, n_rows), dtype="Int64"),
            "city": np.char.add("city ", city.astype(str)),
            "country": COUNTRIES[city % 5],
            "plan": pd.Categorical(PLANS[rng.integers(3, size=n_rows)]),
            "member": pd.array(rng.random(n_rows) < 0.3, dtype="boolean"),
            "express": rng.random(n_rows) < 0.2,
            "note": [" ".join(words) for words in WORDS[rng.integers(10, size=(n_rows, 4))]],
            "ordered": START + rng.uniform(0, 365, n_rows) * DAY,
            "delivered": START.tz_localize(None) + rng.uniform(0, 365, n_rows) * DAY,
        }
    )
    for name in GAPPY:
        frame.loc[rng.random(n_rows) < 0.05, name] = None
    return frame


@pytest.fixture(scope="module")
def frame():
    return make_frame(400)


@pytest.fixture(scope="module")
def pipeline(frame):
    return make_table_pipeline().fit(frame)


def add_anomalies(frame, rng):
    """2% of the rows, and for each row the kind of anomaly or ""."""
    kinds = np.full(len(frame), "", dtype=object)
    rows = rng.permutation(len(frame))[: len(frame) // 50]
    number, combination, date = np.array_split(rows, 3)
    kinds[number], kinds[combination], kinds[date] = "number", "combination", "date"
    for column, some in zip(
        ["height", "degrees", "pressure"], np.array_split(number, 3), strict=True
    ):
        frame.loc[some, column] = frame[column].mean() + 7 * frame[column].std()
    other = dict(zip(COUNTRIES, np.roll(COUNTRIES, 1), strict=True))
    frame.loc[combination, "country"] = frame["country"][combination].map(other)
    frame.loc[date, "ordered"] += 500 * DAY
    return kinds


def test_twenty_thousand_rows(rng):
    """No kind of column drowns another: each kind of anomaly is found among the training rows."""
    frame = make_frame(20_000)
    kinds = add_anomalies(frame, rng)
    pipeline = make_table_pipeline().fit(frame)
    columns = pipeline[:-1].transform(frame)
    forest = IsolationForest(n_estimators=50, random_state=0).fit(columns)
    for kind, least in [("number", 0.95), ("combination", 0.85), ("date", 0.95)]:
        chosen = np.isin(kinds, ["", kind])
        ours, theirs = (
            roc_auc_score(kinds[chosen] == kind, -scores[chosen])
            for scores in (pipeline[-1].training_scores_, forest.score_samples(columns))
        )
        assert ours > max(least, theirs)
    some = frame[:50]
    assert_allclose(pipeline.score_samples(some), pipeline[-1].training_scores_[:50])


N = 60
NUMBERS = np.arange(N, dtype=np.float64)
DAYS = pd.date_range("2024-01-01", periods=N)


def cycle(*values):
    return [values[i % len(values)] for i in range(N)]


COLUMNS = {
    "numbers": (NUMBERS, ["x"]),
    "numbers with gaps": ([None, *NUMBERS[1:]], ["x", "missingindicator_x"]),
    "Int64 with gaps": (pd.array(cycle(1, 2, None), dtype="Int64"), ["x", "missingindicator_x"]),
    "booleans": (cycle(True, False), ["x"]),
    "boolean with gaps": (
        pd.array(cycle(True, False, None), dtype="boolean"),
        ["x", "missingindicator_x"],
    ),
    "strings": (cycle("a", "b"), ["x_a", "x_b"]),
    "strings with gaps": (cycle("a", "b", None), ["x_a", "x_b", "x_nan"]),
    "string": (pd.array(cycle("a", "b"), dtype="string"), ["x_a", "x_b"]),
    "categories": (pd.Categorical(cycle("a", "b", None)), ["x_a", "x_b", "x_nan"]),
    "objects": (np.array(cycle(1, "a"), dtype=object), ["x_1", "x_a"]),
    "many strings": ([f"user {i}" for i in range(N)], [f"x_{i}" for i in range(5)]),
    "numbers as strings": ([str(i) for i in range(N)], ["x"]),
    "days": (DAYS, ["x_year", "x_month", "x_day", "x_total_seconds"]),
    "days with a time zone": (
        DAYS.tz_localize("Asia/Tokyo"),
        ["x_year", "x_month", "x_day", "x_total_seconds"],
    ),
    "durations": (DAYS - DAYS[0], ["x"]),
    "constant": (cycle(3), ["x"]),
    "empty": (cycle(None), []),
    "polars strings": (pl.Series(cycle("a", None)), ["x_a", "x_None"]),
    "polars categories": (pl.Series(cycle("a", "b"), dtype=pl.Categorical), ["x_a", "x_b"]),
    "polars integers": (pl.Series(cycle(1, 2, None)), ["x", "missingindicator_x"]),
    "polars booleans": (pl.Series(cycle(True, None)), ["x", "missingindicator_x"]),
    "polars dates": (
        pl.Series([day.date() for day in DAYS]),
        ["x_year", "x_month", "x_day", "x_total_seconds"],
    ),
    "polars durations": (pl.Series([datetime.timedelta(i) for i in range(N)]), ["x"]),
    "polars empty": (pl.Series(cycle(None)), []),
}


@pytest.mark.parametrize("values, expected", COLUMNS.values(), ids=COLUMNS)
def test_columns_of_all_kinds(values, expected):
    library = pl if isinstance(values, pl.Series) else pd
    frame = library.DataFrame({"number": np.sin(NUMBERS), "x": values})
    pipeline = make_table_pipeline().fit(frame)
    names = pipeline[:-1].get_feature_names_out()
    assert names.tolist() == ["number", *expected]
    assert_allclose(pipeline.score_samples(frame), pipeline[-1].training_scores_)


def test_a_third_value_differs_from_both():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=N), "answer": cycle("yes", "no")})
    new = pd.DataFrame({"x": [0.0, 0.0, 0.0], "answer": ["yes", "no", "perhaps"]})
    yes, no, perhaps = make_table_pipeline().fit(frame).score_samples(new)
    assert perhaps < min(yes, no) - 0.5


def test_rows_with_many_gaps_are_not_normal(pipeline):
    new = make_frame(200, seed=1)
    emptied = new.copy()
    for name in GAPPY:
        emptied[name] = new[name].where(new.index < 0)
    normal, anomalous = pipeline.score_samples(new), pipeline.score_samples(emptied)
    assert roc_auc_score(np.repeat([1, 0], 200), np.concatenate([normal, anomalous])) > 0.9


def test_scores_do_not_depend_on_the_order_of_rows(pipeline, rng):
    new = make_frame(100, seed=1)
    order = rng.permutation(100)
    scores = pipeline.score_samples(new)
    assert_array_equal(pipeline.score_samples(new.iloc[order]), scores[order])
    assert_allclose(pipeline.score_samples(new[:1]), scores[:1], rtol=1e-6)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda frame: frame[frame.columns[::-1]], ValueError, "Columns of dataframes .* differ"),
        (lambda frame: frame.drop(columns="speed"), ValueError, r"differ:(.|\n)*- speed"),
        (lambda frame: frame.assign(more=1), ValueError, r"differ:(.|\n)*\+ more"),
        (lambda frame: frame.to_numpy(), ValueError, "Columns of dataframes .* differ"),
        (lambda frame: pl.DataFrame({"x": [1, 2]}), TypeError, "fitted to a pandas dataframe but"),
        (lambda frame: frame.assign(speed=np.inf), ValueError, "Input X contains infinity"),
    ],
)
def test_other_columns_are_refused(pipeline, frame, change, error, message):
    with pytest.raises(error, match=message):
        pipeline.score_samples(change(frame))


def test_columns_are_put_in_order_by_their_names(pipeline, frame):
    changed = frame[frame.columns[::-1]].assign(more=1)
    scores = pipeline.score_samples(changed[list(pipeline.feature_names_in_)])
    assert_array_equal(scores, pipeline.score_samples(frame))


def test_refits_and_pickles_score_alike(pipeline, frame):
    new = make_frame(50, seed=1)
    expected = pipeline.score_samples(new)
    assert_array_equal(pickle.loads(pickle.dumps(pipeline)).score_samples(new), expected)
    assert_array_equal(clone(pipeline).fit(frame).score_samples(new), expected)


def test_grid_search(frame):
    anomalies = frame[:40].assign(speed=1e4)
    X = pd.concat([frame, anomalies], ignore_index=True)
    y = np.repeat([1, -1], [len(frame), len(anomalies)])
    search = GridSearchCV(
        make_table_pipeline(NeighborDistance()),
        {"detector__n_neighbors": [1, 5]},
        cv=OneClassKFold(2),
        scoring="roc_auc",
        refit=False,
        error_score="raise",
    ).fit(X, y)
    assert search.best_score_ > 0.95


def test_frames_between_the_steps(pipeline, frame):
    """The detector keeps the index of the frame, and the names of the columns."""
    named = clone(pipeline).set_output(transform="pandas").fit(frame)
    new = make_frame(20, seed=1).add_prefix("")
    new.index = [f"order {i}" for i in range(20)]
    columns = named[:-1].transform(new)
    assert {"height", "city_city 3", "missingindicator_items"} < set(columns)
    assert_array_equal(named[-1].feature_names_in_, columns.columns)
    table = named[-1].predict_frame(columns)
    assert table.index.tolist() == new.index.tolist()
    assert_allclose(table["score"], pipeline.score_samples(new), rtol=1e-6)


def test_any_detector(frame):
    changed = frame.assign(speed=1e4, weight=1e4, amount=1e4)
    forest = IsolationForest(n_estimators=20, random_state=0)
    pipeline = make_table_pipeline(forest).fit(frame)
    assert pipeline[-1] is forest
    assert (pipeline.score_samples(changed) < pipeline.score_samples(frame)).mean() > 0.9


def test_without_skrub(monkeypatch):
    monkeypatch.setitem(sys.modules, "skrub", None)
    with pytest.raises(ImportError, match=r"need skrub: pip install 'skanomaly\[tables\]'"):
        make_table_pipeline()
