"""OneClassKFold, and searches with it."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skanomaly import MahalanobisCosine, OneClassKFold


@pytest.mark.parametrize("shuffle", [False, True])
def test_trains_on_normal_tests_on_the_rest(rng, shuffle):
    y = rng.permutation(np.repeat([1, -1], [20, 7]))
    folds = OneClassKFold(4, shuffle=shuffle, random_state=0 if shuffle else None)
    tested = []
    for train, test in folds.split(np.zeros((27, 2)), y):
        assert (y[train] == 1).all() and len(train) == 15
        assert (y[test] == -1).sum() == 7
        assert not set(train) & set(test)
        tested.extend(test[y[test] == 1])
    assert sorted(tested) == np.flatnonzero(y == 1).tolist()
    assert folds.get_n_splits() == 4


@pytest.mark.parametrize(
    "y, message",
    [
        (None, "needs y"),
        ([1, 1, 1], "at least one of each"),
        ([0, 1, 1], r"labels \[0, 1\]; pass \+1 for normal samples and -1"),
        ([1, -1, -1], "n_splits=2, but y has 1 normal samples"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        next(OneClassKFold(2).split(np.zeros((3, 1)), y))


def test_grid_search_prefers_what_ranks_anomalies_last(rng):
    """Anomalies differ in a direction of little variance: only whitening sees it."""
    X = rng.normal(size=(120, 3)) * [5, 5, 0.1] + [20, 20, 0]
    X[100:, 2] += 1
    y = np.repeat([1, -1], [100, 20])
    search = GridSearchCV(
        MahalanobisCosine(), {"whiten": [False, True]}, cv=OneClassKFold(3), scoring="roc_auc"
    ).fit(X, y)
    assert search.best_params_ == {"whiten": True}
    assert search.best_score_ > 0.95


def test_seed_decides_the_shuffle():
    y = np.repeat([1, -1], [20, 3])
    tested = [
        [test.tolist() for _, test in OneClassKFold(4, shuffle=True, random_state=seed).split(y, y)]
        for seed in (0, 0, 1)
    ]
    assert tested[0] == tested[1] != tested[2]
