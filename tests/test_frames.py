"""Detectors refuse columns of a frame that hold no numbers, and name them."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from skanomaly import MahalanobisCosine
from tests.registry import identify, make_estimators

N = 30
NUMBERS = np.random.default_rng(0).normal(size=N) + 3
DAYS = pd.date_range("2024-01-01", periods=N)


def cycle(*values):
    return [values[i % len(values)] for i in range(N)]


def objects(*values):
    return np.array(cycle(*values), dtype=object)


def polars(values, dtype=None):
    return pl.Series(values, dtype=dtype)


REFUSED = {
    "strings": (cycle("a", "b"), "strings, such as 'a' in row 0"),
    "strings after a gap": (cycle(None, "b"), "strings, such as 'b' in row 1"),
    "strings of digits": (cycle("1", "2"), "strings, such as '1' in row 0"),
    "strings in objects": (objects("a", "b"), "strings, such as 'a' in row 0"),
    "string": (pd.array(cycle(pd.NA, "b"), dtype="string"), "strings, such as 'b' in row 1"),
    "categories": (pd.Categorical(cycle("a", "b")), "strings, such as 'a' in row 0"),
    "numbers and strings": (objects(1, 2.5, "a"), "strings, such as 'a' in row 2"),
    "missing and strings": (objects(pd.NA, True, "a"), "strings, such as 'a' in row 2"),
    "bytes": (objects(b"a"), "bytes, such as \"b'a'\" in row 0"),
    "long strings": (cycle("a" * 1000), f"strings, such as '{'a' * 40}' in row 0"),
    "days": (DAYS, "dates, such as '2024-01-01 00:00:00' in row 0"),
    "days with a time zone": (DAYS.tz_localize("UTC"), "dates, such as '2024-01-01 00:00:00+00:0"),
    "dates in objects": (objects(datetime.date(2024, 1, 2)), "dates, such as '2024-01-02' in row"),
    "no dates": (cycle(pd.NaT), "dates, such as 'NaT' in row 0"),
    "durations": (DAYS - DAYS[1], "durations, such as '-1 days +00:00:00' in row 0"),
    "periods": (DAYS.to_period("D"), "values of type Period, such as '2024-01-01' in row 0"),
    "lists": (cycle([1], [2]), r"values of type list, such as '\[1\]' in row 0"),
    "dicts": (cycle({}), "values of type dict, such as '{}' in row 0"),
    "polars strings": (polars(cycle(None, "b")), "strings, such as 'b' in row 1"),
    "polars categories": (polars(cycle("a", "b"), pl.Categorical), "strings, such as 'a' in row 0"),
    "polars enum": (polars(cycle("a", "b"), pl.Enum(["a", "b"])), "strings, such as 'a' in row 0"),
    "polars dates": (polars(cycle(datetime.date(2024, 1, 2))), "dates, such as '2024-01-02' in"),
    "polars times": (polars(cycle(datetime.time(9))), "times, such as '09:00:00' in row 0"),
    "polars durations": (polars(cycle(datetime.timedelta(2))), "durations, such as '2 days, 0:00"),
    "polars lists": (polars(cycle([1], [2])), r"values of type list, such as '\[1\]' in row 0"),
}

GAPS = {
    "numbers": (cycle(1.0, np.nan), 1),
    "infinity": (cycle(1.0, 2.0, np.inf), 2),
    "Int64": (pd.array(cycle(1, 2, None), dtype="Int64"), 2),
    "Float64": (pd.array(cycle(1.5, None), dtype="Float64"), 1),
    "boolean": (pd.array(cycle(True, None), dtype="boolean"), 1),
    "booleans in objects": (objects(True, None), 1),
    "numbers in objects": (objects(1, 2.5, None), 2),
    "nothing": (cycle(None), 0),
    "polars integers": (polars(cycle(1, None)), 1),
    "polars booleans": (polars(cycle(True, None)), 1),
    "polars nothing": (polars(cycle(None)), 0),
}

ACCEPTED = {
    "integers": cycle(1, 2),
    "Int64": pd.array(cycle(1, 2), dtype="Int64"),
    "booleans": cycle(True, False),
    "boolean": pd.array(cycle(True, False), dtype="boolean"),
    "numbers in objects": objects(1, 2.5, np.float32(3), np.bool_(True)),
    "decimals": objects(Decimal("1.5"), 2),
    "categories of numbers": pd.Categorical(cycle(1, 2)),
    "polars integers": polars(cycle(1, 2)),
    "polars booleans": polars(cycle(True, False)),
    "polars decimals": polars(cycle(Decimal("1.5"), Decimal("2.5"))),
}


def make_frame(values):
    library = pl if isinstance(values, pl.Series) else pd
    return library.DataFrame({"number": NUMBERS, "city": values})


@pytest.mark.parametrize("values, found", REFUSED.values(), ids=REFUSED)
def test_columns_without_numbers(values, found):
    message = rf"column 'city' of X holds {found}.*; pass numbers, or .*make_table_pipeline\("
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        MahalanobisCosine().fit(make_frame(values))


@pytest.mark.parametrize("values, row", GAPS.values(), ids=GAPS)
def test_gaps(values, row):
    message = rf"row {row} of column 'city' is (nan|inf); drop .* by skanomaly\.make_table_pipeline"
    with pytest.raises(ValueError, match=message):
        MahalanobisCosine().fit(make_frame(values))


@pytest.mark.parametrize("values", ACCEPTED.values(), ids=ACCEPTED)
def test_columns_of_numbers(values):
    detector = MahalanobisCosine().fit(make_frame(values))
    assert detector.feature_names_in_.tolist() == ["number", "city"]


@pytest.mark.parametrize("estimator", make_estimators(), ids=identify)
def test_every_estimator_names_the_column(estimator):
    frame = pd.DataFrame({"number": NUMBERS, "other": NUMBERS**2, "city": NUMBERS**3})
    estimator = clone(estimator)
    before = vars(estimator).copy()
    with pytest.raises(ValueError, match="column 'city' of X holds strings, such as 'a' in row 0"):
        estimator.fit(frame.assign(city=cycle("a", "b")))
    assert vars(estimator) == before


def test_columns_are_named_when_scoring():
    detector = MahalanobisCosine().fit(make_frame(NUMBERS**2))
    for method in (detector.score_samples, detector.predict, detector.p_values):
        with pytest.raises(ValueError, match="column 'city' of X holds dates"):
            method(make_frame(DAYS))


def test_names_may_occur_twice():
    frame = pd.DataFrame([[1.0, "a"]] * 3, columns=["x", "x"])
    with pytest.raises(ValueError, match="column 'x' of X holds strings"):
        MahalanobisCosine().fit(frame)
