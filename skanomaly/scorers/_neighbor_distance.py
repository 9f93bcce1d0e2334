"""Euclidean distance to the nearest training samples."""

from __future__ import annotations

from .._array_api import Array, as_float64, namespace
from .._sklearn_compat import StrOptions
from ._block import Block
from ._neighbor_scorer import NeighborScorer

LARGEST = 1e15  # standard deviations; squares of more overflow in float32


class NeighborDistance(NeighborScorer):
    r"""Euclidean distance to the nearest training samples, in standard deviations.

    The score for tables, whose origin means nothing and whose columns have different units. With
    :math:`\sigma_j` the standard deviation of column j in the training samples :math:`x_m`, the
    anomaly score of a sample y is the mean, or the largest, of the distances

    .. math:: d(y, x_m) = \sqrt{\sum_j \left( \frac{y_j - x_{mj}}{\sigma_j} \right)^2}

    to its k nearest training samples. ``score_samples`` is its negative. Training samples are
    scored by the nearest other samples, and recognised when they are passed again. For embeddings
    of networks compare it with :class:`MahalanobisCosine`.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number k of nearest training samples, less than the number of training samples.
    aggregation : {"mean", "largest"}, default="mean"
        How the k distances are combined. "largest" is the distance to the k-th nearest sample
        [1]_, "mean" is in proportion to the sum of all k [2]_.
    standardize : bool, default=True
        Divide each column by its standard deviation in the training samples.
    index : {"exact", "faiss"}, default="exact"
        How nearest samples are found. "exact" is a k-d tree in at most 10 columns of numpy arrays,
        and compares all samples in more. "faiss", an optional dependency for training sets of 10^5
        samples and more, searches only the clusters of samples nearest to the query, and may miss
        a nearest sample.
    trim : float in [0, 0.5), default=0.0
        Share of the training samples that is left out of the final fit: the most anomalous ones,
        found by repeated fits without labels. For training data that contains anomalies.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold: on clean training data the
        false-positive rate. "auto" is 0.05.

    Attributes
    ----------
    training_scores_ : float64 array of shape (n_samples,)
        Leave-one-out ``score_samples`` of the training samples.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    mean_, scale_ : float64 arrays of shape (n_features,)
        Mean and standard deviation of the columns; 0 and 1 without standardising.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    MahalanobisCosine : The angle instead of the distance.
    FeatureEnsemble : Sums the scores of several blocks of features.
    NSADetector : Scores tables by this distance by default.

    References
    ----------
    .. [1] S. Ramaswamy, R. Rastogi and K. Shim, "Efficient algorithms for mining outliers from
       large data sets", SIGMOD 2000.
    .. [2] F. Angiulli and C. Pizzuti, "Fast outlier detection in high dimensional spaces",
       PKDD 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import NeighborDistance
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = NeighborDistance(contamination=0.01).fit(X)
    >>> detector.predict([[0, 0, 0], [5, 0, 5]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **NeighborScorer._parameter_constraints,
        "aggregation": [StrOptions({"mean", "largest"})],
        "standardize": ["boolean"],
    }

    def __init__(
        self,
        n_neighbors=5,
        *,
        aggregation="mean",
        standardize=True,
        index="exact",
        trim=0.0,
        contamination="auto",
    ):
        self.n_neighbors = n_neighbors
        self.aggregation = aggregation
        self.standardize = standardize
        self.index = index
        self.trim = trim
        self.contamination = contamination

    def _fit_space(self, block: Block) -> None:
        columns = block.columns()
        xp = namespace(columns.units)
        self.mean_ = xp.zeros_like(columns.units)
        self.scale_ = xp.ones_like(columns.units)
        if self.standardize:
            self.mean_, self.scale_ = columns.column_means, columns.deviations

    def _vectors(self, rows: Array) -> Array:
        vectors = (as_float64(rows) - self.mean_) / self.scale_
        return namespace(vectors).clip(vectors, min=-LARGEST, max=LARGEST)

    def _from_euclidean(self, distances: Array) -> Array:
        return distances
