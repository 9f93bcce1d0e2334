"""How well classes can be told apart in embeddings: linear probe and nearest neighbours."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import type_of_target

from .._array_api import is_array_api_obj, to_numpy
from .._sklearn_compat import Interval, validate_params
from ._embedding_checks import check_rows, check_same_width, directions


def linear_probe_accuracy(
    X_train: ArrayLike, y_train: ArrayLike, X_test: ArrayLike, y_test: ArrayLike
) -> float:
    """Accuracy of a linear classifier on fixed embeddings (NSA section 2.2, figure 2c).

    The classifier is multinomial logistic regression on standardised features, with
    scikit-learn's default L2 penalty. If this accuracy stays while detection gets worse, the
    features are as good as before, and only their distribution has changed.

    Parameters
    ----------
    X_train : array-like of shape (n_train, n_features)
        Embeddings that the classifier is fitted on.
    y_train : array-like of shape (n_train,)
        Their classes, at least two.
    X_test : array-like of shape (n_test, n_features)
        Embeddings that it is tested on.
    y_test : array-like of shape (n_test,)
        Their classes, of the same type.

    Returns
    -------
    accuracy : float
        Share of the test samples that are classified correctly, in [0, 1].

    Raises
    ------
    ValueError
        If embeddings differ in width or are not finite, there are not as many labels as rows, or
        labels are not classes or of different types.

    Warns
    -----
    ConvergenceWarning
        If the classifier has not converged after 1000 iterations.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly.diagnostics import linear_probe_accuracy
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> y = X[:, 0] > X[:, 1]
    >>> linear_probe_accuracy(X[:200], y[:200], X[200:], y[200:])
    0.99
    """
    X, X_new = check_rows(X_train, "X_train"), check_rows(X_test, "X_test")
    check_same_width(X, X_new, ("X_train", "X_test"))
    y, y_new = _check_classes(y_train, y_test, len(X), len(X_new))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(X.astype(np.float64, copy=False), y)
    return float(np.mean(probe.predict(X_new.astype(np.float64, copy=False)) == y_new))


@validate_params(
    {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def knn_accuracy(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    n_neighbors: int = 20,
    temperature: float = 0.07,
) -> float:
    r"""Accuracy of the weighted k-NN classifier of self-supervised learning (NSA figure 3e).

    Each of the k training samples with the largest cosine similarity votes for its class with the
    weight :math:`\exp(\cos / \tau)`. Rows that are in both sets are their own neighbours.

    Parameters
    ----------
    X_train : array-like of shape (n_train, n_features)
        Embeddings of the training samples, with at least two features. Lengths of rows do not
        matter.
    y_train : array-like of shape (n_train,)
        Their classes, at least two.
    X_test : array-like of shape (n_test, n_features)
        Embeddings that are classified.
    y_test : array-like of shape (n_test,)
        Their classes, of the same type.
    n_neighbors : int, default=20
        Number k of neighbours, at most n_train. The paper plots 1 and 20.
    temperature : float, default=0.07
        :math:`\tau`, positive. The default is that of Wu et al.

    Returns
    -------
    accuracy : float
        Share of the test samples that are classified correctly, in [0, 1].

    Raises
    ------
    ValueError
        If embeddings differ in width, are not finite or have rows of zeros, there are not as many
        labels as rows, labels are not classes or of different types, or if a parameter is out of
        range.

    References
    ----------
    Wu, Xiong, Yu and Lin, "Unsupervised feature learning via non-parametric instance
    discrimination", CVPR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly.diagnostics import knn_accuracy
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> y = X[:, 0] > X[:, 1]
    >>> knn_accuracy(X[:200], y[:200], X[200:], y[200:])
    0.99
    """
    units, queries = directions(X_train, "X_train"), directions(X_test, "X_test")
    check_same_width(units, queries, ("X_train", "X_test"))
    y, y_new = _check_classes(y_train, y_test, len(units), len(queries))
    if n_neighbors > len(units):
        raise ValueError(
            f"n_neighbors={n_neighbors}, but X_train has {len(units)} rows; "
            f"pass at most {len(units)}"
        )

    def votes(distances: np.ndarray) -> np.ndarray:
        # |x - y|^2 / 2 = 1 - cos; relative to the nearest, since exp(1 / temperature) may overflow
        squared = distances**2
        return np.exp((squared.min(axis=1, keepdims=True) - squared) / (2 * temperature))

    # scikit-learn's search in blocks does not know the cosine, which orders directions alike
    classifier = KNeighborsClassifier(n_neighbors, weights=votes, algorithm="brute")
    return float(np.mean(classifier.fit(units, y).predict(queries) == y_new))


def _check_classes(
    y_train: Any, y_test: Any, n_train: int, n_test: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as two arrays of one type, as many as there are rows."""
    y = _check_labels(y_train, "y_train", "X_train", n_train)
    y_new = _check_labels(y_test, "y_test", "X_test", n_test)
    if (y == y[0]).all():
        raise ValueError(f"y_train has one class only, {y[0]}; pass at least two")
    if (y.dtype.kind in "OUS") != (y_new.dtype.kind in "OUS"):
        raise ValueError(
            f"y_train has labels like {y[0]}, but y_test like {y_new[0]}; pass labels of one type"
        )
    return y, y_new


def _check_labels(y: Any, name: str, name_of_rows: str, n_rows: int) -> np.ndarray:
    y = np.asarray(to_numpy(y) if is_array_api_obj(y) else y)
    if y.shape != (n_rows,):
        raise ValueError(
            f"{name} has shape {y.shape}, but {name_of_rows} has {n_rows} rows; "
            "pass one label for each row"
        )
    missing = np.flatnonzero(y != y)  # true of NaN in arrays of any type
    if len(missing):
        raise ValueError(f"{name}[{missing[0]}] is {y[missing[0]]}; drop samples without a label")
    kind = type_of_target(y, input_name=name)
    if kind not in ("binary", "multiclass"):
        raise ValueError(f"{name} has labels of type {kind!r}; pass a class for each row")
    return y
