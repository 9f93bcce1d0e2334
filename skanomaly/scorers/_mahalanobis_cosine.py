"""Angle to the nearest training samples: k-Cos and k-Cos (Mah)."""

from __future__ import annotations

from .._angles import angle_of_chord, directions
from .._array_api import Array, as_float64
from .._whitening import WHITENING_CONSTRAINTS
from ._block import Block
from ._leave_one_out import LeaveOneOut
from ._mean_direction import warn_without_mean_direction
from ._neighbor_scorer import NeighborScorer
from ._trees import TreeRows

# that are looked up in a tree, so that few rows can have nearer ones in the space without them
MORE_CANDIDATES = 6


class MahalanobisCosine(NeighborScorer):
    r"""Angle to the nearest training samples, after whitening (NSA section 2.5, equation 2).

    ``whiten=True`` is the score *k-Cos (Mah)* of [1]_, ``whiten=False`` its *k-Cos*. With
    :math:`u = \Sigma_m^{-1/2} x_m` and :math:`v = \Sigma_m^{-1/2} y` the whitened training and test
    sample, the anomaly score for one neighbour is

    .. math:: S_{k\text{-}Cos}(y) = \arccos \max_m \frac{u \cdot v}{\|u\|_2 \|v\|_2}

    and for more neighbours the mean of the k smallest angles. ``score_samples`` is its negative,
    in [-pi, 0] radians. With ``center=True`` the training mean :math:`\mu_m` is subtracted from
    :math:`x_m` and :math:`y` first, as equation 2 has it.

    Training samples are scored leave-one-out: by the nearest other sample, in the space whitened
    without them. They are recognised when they are passed again. A zero vector has no direction:
    its angle is pi / 2 to every other vector and 0 to another zero vector.

    Angles are seen from the origin. For columns that are centred or standardised, use
    :class:`NeighborDistance`.

    Parameters
    ----------
    n_neighbors : int, default=1
        Number k of nearest training samples, less than the number of training samples.
    whiten : bool, default=True
        Whiten with the shrunk covariance of the training samples.
    center : bool, default=False
        Subtract the training mean first, as equation 2 prints it. The covariance is that of the
        centred samples in either case.
    shrinkage : {"ledoit_wolf", "oas"}, float in [0, 1] or None, default="ledoit_wolf"
        Weight of the identity in the covariance. None and 0 are the pseudo-inverse, which is
        noise when there are fewer samples than features.
    n_components : int, float in (0, 1) or None, default=None
        Keep only the leading eigenvectors of the covariance: this many, or as many as explain this
        share of the variance. None keeps all.
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
    whitening_ : Whitening or None
        The fitted whitening map; None if `whiten` is False.
    mean_ : float64 array of shape (n_features,)
        Training mean.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    CenterCosine : The angle to the mean of the training samples.
    NeighborDistance : The Euclidean distance to the nearest training samples.
    FeatureEnsemble : Sums the scores of several blocks of features.

    References
    ----------
    .. [1] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA): compact
       distributions for robust self-supervised Anomaly Detection", 2022, section 2.5.
       `arXiv:2203.10344 <https://arxiv.org/abs/2203.10344>`_

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import MahalanobisCosine
    >>> X = np.random.default_rng(0).normal(size=(200, 3)) + [8, 4, 2]
    >>> detector = MahalanobisCosine(contamination=0.01).fit(X)
    >>> detector.predict([[8, 4, 2], [2, 4, 8]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **NeighborScorer._parameter_constraints,
        **WHITENING_CONSTRAINTS,
        "whiten": ["boolean"],
        "center": ["boolean"],
    }

    def __init__(
        self,
        n_neighbors=1,
        *,
        whiten=True,
        center=False,
        shrinkage="ledoit_wolf",
        n_components=None,
        index="exact",
        trim=0.0,
        contamination="auto",
    ):
        self.n_neighbors = n_neighbors
        self.whiten = whiten
        self.center = center
        self.shrinkage = shrinkage
        self.n_components = n_components
        self.index = index
        self.trim = trim
        self.contamination = contamination

    def _fit_space(self, block: Block) -> None:
        self.mean_ = block.column_means()
        self.whitening_ = None
        if not self.center:
            warn_without_mean_direction(self, self.mean_, block.total_variance(), block.n_rows)
        if self.whiten:
            self.whitening_ = block.fit_whitening(
                shrinkage=self.shrinkage, center=self.center, n_components=self.n_components
            )

    def _coordinates(self, block: Block) -> Array:
        return block.rows if self.whitening_ is None else block.whitened(self.whitening_)

    def _vectors(self, rows: Array) -> Array:
        is_centred = self.center and self.whitening_ is None  # a whitening has centred them
        return directions(as_float64(rows) - self.mean_ if is_centred else rows)

    def _from_euclidean(self, distances: Array) -> Array:
        return angle_of_chord(distances)

    def _distances_in_part(self, block, part, index, k, n_samples):
        if self.whitening_ is None:
            return super()._distances_in_part(block, part, index, k, n_samples)
        space = LeaveOneOut(self.whitening_, block.whitened(self.whitening_), n_samples)
        if part is None:
            return space.nearest_others(k)
        return space.nearest_others(k, others=part.whitened(self.whitening_))

    def _leave_one_out(self, block: Block) -> Array:
        if self.whitening_ is None:
            return super()._leave_one_out(block)
        space = LeaveOneOut(self.whitening_, block.whitened(self.whitening_))
        k = self.n_neighbors
        if isinstance(self._neighbors, TreeRows):
            n_candidates = min(k + MORE_CANDIDATES, len(self._neighbors) - 1)
            chords, candidates = self._neighbors.nearest_others(n_candidates)
            return space.nearest_of_candidates(k, angle_of_chord(chords), candidates)
        if self.index == "exact":
            return space.nearest_others(k)
        return space.candidate_angles(self._neighbors.nearest_others(k)[1])
