"""One class against the rest: who trains, who is tested, how many pollute."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skanomaly.datasets import one_vs_rest

COUNTS = {"ant": 40, "bee": 30, "cow": 50}
PARTS = ("X_train", "y_train", "X_test", "y_test", "class_test")


@pytest.fixture
def rows():
    """Samples that are their own positions, and their classes."""
    y = np.repeat(list(COUNTS), list(COUNTS.values()))
    return np.arange(120), np.random.default_rng(1).permutation(y)


@given(
    n_normal=st.integers(1, 200),
    n_outliers=st.integers(1, 400),
    pollution=st.floats(0, 0.95),
    seed=st.integers(0, 9),
)
@example(n_normal=90, n_outliers=40, pollution=0.1, seed=0)
def test_share_of_outliers(n_normal, n_outliers, pollution, seed):
    n_wanted = round(n_normal * pollution / (1 - pollution))
    assume(n_wanted <= n_outliers)
    y = np.repeat([7, 1, 2], [n_normal, n_outliers // 2, n_outliers - n_outliers // 2])
    data = one_vs_rest(
        np.arange(len(y)), y, 7, pollution=pollution, X_test=y, y_test=y, random_state=seed
    )
    # all normal samples, no sample twice, and the share to within half a sample
    assert_array_equal(np.sort(data.X_train[data.y_train == 1]), np.arange(n_normal))
    assert len(np.unique(data.X_train)) == len(data.X_train) == n_normal + n_wanted
    assert abs((data.y_train == -1).sum() * (1 - pollution) - n_normal * pollution) <= 0.5
    assert_array_equal(data.y_train, np.where(data.X_train < n_normal, 1, -1))
    assert data.X_test is y
    assert_array_equal(data.y_test, np.where(y == 7, 1, -1))


@given(test_size=st.floats(0.05, 0.95), pollution=st.floats(0, 0.3), seed=st.integers(0, 2**32 - 1))
def test_held_out_share_of_each_class(test_size, pollution, seed):
    y = np.repeat(list(COUNTS), list(COUNTS.values()))
    data = one_vs_rest(
        np.arange(120), y, "ant", pollution=pollution, test_size=test_size, random_state=seed
    )
    assert not set(data.X_train) & set(data.X_test)
    assert_array_equal(data.class_test, y[data.X_test])
    assert_array_equal(data.y_test, np.where(data.class_test == "ant", 1, -1))
    assert_array_equal(data.y_train, np.where(y[data.X_train] == "ant", 1, -1))
    for name, count in COUNTS.items():
        assert abs((data.class_test == name).sum() - test_size * count) <= 0.5
    # every normal sample is in one of the two
    assert (data.y_train == 1).sum() + (data.y_test == 1).sum() == 40


def test_each_outlier_is_as_likely_as_any_other(rows):
    X, y = rows
    draws = [
        one_vs_rest(X, y, "ant", pollution=0.2, X_test=X, y_test=y, random_state=seed)
        for seed in range(400)
    ]
    counts = np.bincount(np.concatenate([d.X_train[d.y_train == -1] for d in draws]), minlength=120)
    assert not counts[y == "ant"].any()
    # 10 of 80 outliers, 400 times: 50 each, with a standard deviation of 6.6
    assert counts[y != "ant"].min() > 20 and counts.max() < 80


def test_training_samples_are_shuffled(rows):
    X, y = rows
    data = one_vs_rest(X, y, "ant", pollution=0.2, X_test=X, y_test=y, random_state=0)
    places = np.flatnonzero(data.y_train == -1) / len(data.y_train)
    assert places.min() < 0.3 and places.max() > 0.7
    order = data.X_train[data.y_train == 1]
    assert (np.diff(order) < 0).any()


def test_seed_decides_everything(rows):
    X, y = rows
    draws = [one_vs_rest(X, y, "bee", pollution=0.2, random_state=seed) for seed in (3, 3, 4)]
    for part in PARTS:
        assert_array_equal(draws[0][part], draws[1][part])
    assert set(draws[0].X_train) != set(draws[2].X_train)
    assert set(draws[0].X_test) != set(draws[2].X_test)
    generator = np.random.RandomState(3)
    first, second = (one_vs_rest(X, y, "bee", random_state=generator) for _ in range(2))
    assert_array_equal(first.X_test, draws[0].X_test)
    assert set(second.X_test) != set(first.X_test)


def test_more_pollution_adds_outliers_and_keeps_the_test(rows):
    X, y = rows
    clean, little, much = (
        one_vs_rest(X, y, "bee", pollution=p, random_state=0) for p in (0, 0.1, 0.3)
    )
    assert (clean.y_train == 1).all()
    assert set(clean.X_train) < set(little.X_train) < set(much.X_train)
    assert_array_equal(clean.X_test, much.X_test)


def test_several_classes_are_normal_together(rows):
    X, y = rows
    data = one_vs_rest(X, y, ["ant", "cow"], pollution=0.1, random_state=0)
    assert_array_equal(data.y_test == 1, data.class_test != "bee")
    assert_array_equal(data.y_train == -1, y[data.X_train] == "bee")
    for classes in {"ant", "cow"}, np.array(["ant", "cow"]), pd.Series(["cow", "ant"]):
        again = one_vs_rest(X, y, classes, pollution=0.1, random_state=0)
        assert_array_equal(data.y_test, again.y_test)
    one, same = (one_vs_rest(X, y, name, random_state=0) for name in ("ant", np.array("ant")))
    assert_array_equal(one.y_test, same.y_test)


def test_classes_that_only_the_test_has_are_outliers():
    data = one_vs_rest([[1], [2]], [0, 0], 0, X_test=[[3], [4], [5]], y_test=[0, 1, 2])
    assert sorted(data.X_train) == [[1], [2]]
    assert data.y_test.tolist() == [1, -1, -1]


@pytest.mark.parametrize("kind", ["images", "memmap", "list", "frame", "sparse", "tensor"])
def test_kinds_of_samples(kind, tmp_path):
    rng = np.random.default_rng(0)
    y = np.tile([0, 1, 2], 20)
    X = rng.integers(0, 256, (60, 4, 4, 3) if kind == "images" else (60, 3), dtype=np.uint8)
    X[:, 0] = np.arange(60).reshape(-1, *[1] * (X.ndim - 2))
    if kind == "memmap":
        np.save(tmp_path / "X.npy", X)
        given = np.load(tmp_path / "X.npy", mmap_mode="r")
    else:
        convert = {
            "list": np.ndarray.tolist,
            "frame": lambda X: pd.DataFrame(X, columns=list("abc"), index=range(100, 160)),
            "sparse": scipy.sparse.csr_array,
            "tensor": torch.from_numpy,
        }
        given = convert.get(kind, np.asarray)(X)
    data = one_vs_rest(given, y, 1, pollution=0.1, random_state=0)
    expected = one_vs_rest(np.arange(60), y, 1, pollution=0.1, random_state=0)
    for part in ("X_train", "X_test"):
        found = data[part]
        if kind == "frame":
            assert_array_equal(found.index, expected[part] + 100)
        assert_array_equal(
            found.toarray() if kind == "sparse" else np.asarray(found), X[expected[part]]
        )
    assert isinstance(data.X_train, np.ndarray if kind == "memmap" else type(given))


@pytest.mark.parametrize("convert", [list, pd.Series, pd.Categorical, torch.as_tensor])
def test_kinds_of_labels(convert):
    y = np.tile([0, 1, 2], 20)
    data = one_vs_rest(np.arange(60), convert(y), 1, pollution=0.1, random_state=0)
    assert_array_equal(data.y_test == 1, y[data.X_test] == 1)
    assert_array_equal(data.class_test, y[data.X_test])


X, Y = np.arange(20), np.tile([0, 1, 2, 3], 5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"normal": 7}, r"normal=7; pass one or several of y's classes, 0, 1, 2, 3$"),
        ({"normal": "1"}, r"normal='1'; pass one or several of y's classes, 0, 1, 2, 3$"),
        ({"normal": [0, 9]}, r"normal=\[0, 9\]; pass one or several"),
        ({"normal": []}, r"normal=\[\]; pass one or several"),
        ({"y": X, "X": X, "normal": -1}, r"classes, 0, 1, .*, 19$"),
        ({"y": range(30), "X": range(30), "normal": -1}, r", 19, \.\.\. \(30 in all\)$"),
        ({"normal": [0, 1, 2, 3]}, "normal is every class of y, 0, 1, 2, 3: no outliers are left"),
        ({"pollution": 1.0}, r"'pollution' parameter .* range \[0.0, 1.0\). Got 1.0"),
        ({"pollution": -0.1}, r"'pollution' parameter .* Got -0.1"),
        ({"pollution": np.nan}, r"'pollution' parameter .* Got nan"),
        ({"pollution": "0.1"}, r"'pollution' parameter .* Got '0.1'"),
        (
            {"pollution": 0.9},
            r"pollution=0.9 of 4 normal training samples needs 36 outliers, but there are 12; "
            r"pass at most 0.75$",
        ),
        (
            {"pollution": 0.4, "y": [0] * 13 + [1] * 7, "X_test": X, "y_test": Y},
            r"needs 9 outliers, but there are 7; pass at most 0.35$",
        ),
        (
            {"pollution": 0.1, "y": [0] * 20, "X_test": X, "y_test": Y},
            r"needs 2 outliers, but there are 0; pass at most 0$",
        ),
        ({"y": Y[:19]}, "X has 20 samples, but y has 19 labels; pass one label for each"),
        ({"y": Y.reshape(10, 2)}, "1d array"),
        ({"y": np.where(Y == 3, np.nan, Y)}, r"y has 5 missing labels, the first is y\[3\]=nan"),
        ({"X_test": X, "y_test": np.where(Y > 1, None, Y)}, r"y_test has 10 .* y_test\[2\]=None"),
        ({"y": np.array(["a", pd.NA] * 10, object)}, r"y has 10 missing labels, .* y\[1\]=<NA>"),
        ({"y": np.array(["a", 1] * 10, object)}, r"y has labels of the types \['int', 'str'\]"),
        ({"X_test": X, "y_test": Y[:3]}, "X_test has 20 samples, but y_test has 3 labels"),
        ({"X_test": X}, "X_test is given without y_test; pass both or neither"),
        ({"y_test": Y}, "y_test is given without X_test; pass both or neither"),
        (
            {"X_test": X, "y_test": Y + 1},
            "y_test has 0 normal samples and 20 outliers, its classes are 1, 2, 3, 4; pass",
        ),
        ({"X_test": X, "y_test": Y.astype(str)}, "0 normal .* its classes are '0', '1', '2', '3'"),
        ({"X_test": X, "y_test": 0 * Y}, "20 normal samples and 0 outliers"),
        ({"test_size": 0.0}, r"'test_size' parameter .* range \(0.0, 1.0\). Got 0.0"),
        ({"test_size": 5}, r"'test_size' parameter .* Got 5"),
        (
            {"test_size": 0.05},
            "test_size=0.05 holds out 0 of 5 normal samples and 0 of 15 outliers; pass a share",
        ),
        ({"test_size": 0.95}, "holds out 5 of 5 normal samples .* leaves a normal one"),
        ({"random_state": "0"}, "'random_state' parameter"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        one_vs_rest(**{"X": X, "y": Y, "normal": 0, **arguments})


@given(n_normal=st.integers(1, 10_000), n_outliers=st.integers(0, 1000))
@example(n_normal=10_000, n_outliers=1)
def test_largest_pollution_that_is_named_can_be_had(n_normal, n_outliers):
    y = np.repeat([0, 1], [n_normal, n_outliers])
    arguments = {"X": y, "y": y, "normal": 0, "X_test": [0, 1], "y_test": [0, 1]}
    with pytest.raises(ValueError, match="pass at most") as error:
        one_vs_rest(**arguments, pollution=(n_outliers + 1) / (n_normal + n_outliers + 1))
    largest = float(str(error.value).split()[-1])
    n_polluting = (one_vs_rest(**arguments, pollution=largest).y_train == -1).sum()
    # four digits of the share: at most 0.1% and a sample less than all
    assert 0.998 * n_outliers * (1 - largest) - 1 <= n_polluting <= n_outliers
