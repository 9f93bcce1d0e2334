"""One class is normal, all others are outliers: how the papers evaluate detectors."""

from __future__ import annotations

from decimal import ROUND_DOWN, Context
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import column_or_1d

from .._sklearn_compat import Interval, num_samples, safe_indexing, validate_params

LISTED_CLASSES = 20  # in messages


@validate_params(
    {
        "pollution": [Interval(Real, 0, 1, closed="left")],
        "test_size": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def one_vs_rest(
    X,
    y,
    normal,
    *,
    pollution=0.0,
    X_test=None,
    y_test=None,
    test_size=0.25,
    random_state=None,
):
    """Split a labelled set to train on one class and test on all (NSA section 3.1, appendix B).

    The training samples are those of the normal class in X, the test samples are those of
    every class in X_test. With `pollution`, outliers are mixed into the training samples
    (NSA section 3.2.2).

    Parameters
    ----------
    X : array-like of length n_samples
        Samples of all classes: an array of images, a table, a DataFrame or a memory map.
    y : array-like of shape (n_samples,)
        The class of each sample.
    normal : label or list of labels
        The normal class, or several classes that are normal together.
    pollution : float in [0, 1), default=0.0
        Share of outliers among the training samples: ``n * pollution / (1 - pollution)``,
        rounded, are added to n normal ones. They are drawn from the other classes without
        replacement, each outlier with the same probability. With the same seed, more pollution
        adds to the outliers of less pollution.
    X_test, y_test : array-like, optional
        Samples and classes to test on, for sets that have a test split. Then X is used for
        training only.
    test_size : float in (0, 1), default=0.25
        Without X_test, this share of each class of X, rounded, is held out for testing. Outliers
        for `pollution` are drawn from the rest. Ignored with X_test.
    random_state : int, RandomState instance or None, default=None
        Seed of the held-out samples, the outliers and the order of the training samples. The test
        samples do not depend on `pollution`.

    Returns
    -------
    data : Bunch
        X_train : training samples in random order, of the type of X;
        y_train : int array (n_train,), +1 for normal samples and -1 for outliers, for reporting
        only, never for ``fit``;
        X_test : test samples;
        y_test : int array (n_test,), +1 for normal samples and -1 for outliers;
        class_test : array (n_test,), the class of each test sample.

    Raises
    ------
    ValueError
        If labels are missing or are not as many as the samples, X_test comes without y_test,
        `normal` is not a class of y, there are fewer outliers than `pollution` needs, there would
        be nothing to train on, or the test samples would be all normal or all outliers.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skanomaly.datasets import one_vs_rest
    >>> X, y = load_digits(return_X_y=True)
    >>> data = one_vs_rest(X, y, normal=3, pollution=0.1, random_state=0)
    >>> data.X_train.shape, int((data.y_train == -1).sum())
    ((152, 64), 15)
    >>> data.X_test.shape, int((data.y_test == 1).sum())
    ((450, 64), 46)
    """
    rng = check_random_state(random_state)
    labels = _check_labels("X", X, "y", y)
    classes = _check_classes(normal, labels)
    y_all = _as_signs(labels, classes)
    if X_test is None and y_test is None:
        train, test = _hold_out(labels, y_all, test_size, rng)
        X_test, class_test = safe_indexing(X, test), labels[test]
    else:
        train, class_test = np.arange(len(labels)), _check_test(X_test, y_test, classes)
    rows = _draw_training(train[y_all[train] == 1], train[y_all[train] == -1], pollution, rng)
    return Bunch(
        X_train=safe_indexing(X, rows),
        y_train=y_all[rows],
        X_test=X_test,
        y_test=_as_signs(class_test, classes),
        class_test=class_test,
    )


def _check_labels(samples_name: str, samples: Any, labels_name: str, labels: Any) -> np.ndarray:
    n_samples, labels = num_samples(samples), column_or_1d(labels)
    if len(labels) != n_samples:
        raise ValueError(
            f"{samples_name} has {n_samples} samples, but {labels_name} has {len(labels)} labels; "
            "pass one label for each sample"
        )
    listed = labels.tolist()
    missing = [i for i, label in enumerate(listed) if _is_missing(label)]
    if missing:
        raise ValueError(
            f"{labels_name} has {len(missing)} missing labels, the first is "
            f"{labels_name}[{missing[0]}]={labels[missing[0]]}; leave such samples out"
        )
    types = sorted({type(label).__name__ for label in listed})
    if "str" in types and len(types) > 1:
        raise ValueError(f"{labels_name} has labels of the types {types}; pass labels of one type")
    return labels


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)  # as nan does
    except TypeError:  # pandas' NA is neither equal nor unequal
        return True


def _check_classes(normal: Any, labels: np.ndarray) -> set:
    if isinstance(normal, (set, frozenset)) or np.ndim(normal):
        classes = list(normal)
    else:
        classes = [normal.item() if isinstance(normal, np.ndarray) else normal]
    known = np.unique(labels).tolist()
    unknown = [label for label in classes if label not in known]
    if unknown or not len(classes):
        raise ValueError(f"normal={normal!r}; pass one or several of y's classes, {_list(known)}")
    return set(classes)


def _list(classes: list) -> str:
    listed = ", ".join(map(repr, classes[:LISTED_CLASSES]))
    return listed if len(classes) <= LISTED_CLASSES else f"{listed}, ... ({len(classes)} in all)"


def _as_signs(labels: np.ndarray, classes: set) -> np.ndarray:
    # numpy's isin would take the text '3' for the number 3
    return np.array([1 if label in classes else -1 for label in labels.tolist()], dtype=int)


def _check_test(X_test: Any, y_test: Any, classes: set) -> np.ndarray:
    if X_test is None or y_test is None:
        given, missing = ("X_test", "y_test") if y_test is None else ("y_test", "X_test")
        raise ValueError(f"{given} is given without {missing}; pass both or neither")
    labels = _check_labels("X_test", X_test, "y_test", y_test)
    n_normal = int((_as_signs(labels, classes) == 1).sum())
    if not 0 < n_normal < len(labels):
        raise ValueError(
            f"y_test has {n_normal} normal samples and {len(labels) - n_normal} outliers, its "
            f"classes are {_list(np.unique(labels).tolist())}; pass at least one of each"
        )
    return labels


def _hold_out(
    labels: np.ndarray, y: np.ndarray, test_size: float, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to test on, with the same share of each class."""
    if (y == 1).all():
        raise ValueError(
            f"normal is every class of y, {_list(np.unique(labels).tolist())}: no outliers are "
            "left to test on; pass fewer classes, or outliers in X_test and y_test"
        )
    is_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        is_test[rows[: round(test_size * len(rows))]] = True
    held_out = {sign: int((y[is_test] == sign).sum()) for sign in (1, -1)}
    if not (held_out[1] and held_out[-1] and (y[~is_test] == 1).any()):
        raise ValueError(
            f"test_size={test_size} holds out {held_out[1]} of {(y == 1).sum()} normal samples "
            f"and {held_out[-1]} of {(y == -1).sum()} outliers; pass a share that tests at least "
            "one of each and leaves a normal one to train on, or pass X_test and y_test"
        )
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _draw_training(
    normal: np.ndarray, outliers: np.ndarray, pollution: float, rng: np.random.RandomState
) -> np.ndarray:
    """The normal rows and as many of the others as `pollution` asks for, in random order."""
    n_wanted = round(len(normal) * pollution / (1 - pollution))
    if n_wanted > len(outliers):
        n_all = len(normal) + len(outliers)
        most = float(Context(prec=4, rounding=ROUND_DOWN).divide(len(outliers), n_all))
        raise ValueError(
            f"pollution={pollution} of {len(normal)} normal training samples needs {n_wanted} "
            f"outliers, but there are {len(outliers)}; pass at most {most:g}"
        )
    drawn = rng.permutation(outliers)[:n_wanted]
    return rng.permutation(np.concatenate([normal, drawn]))
