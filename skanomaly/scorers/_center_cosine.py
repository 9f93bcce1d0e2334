"""Angle to the centre of the training samples: c-Cos and c-Cos (Mah)."""

from __future__ import annotations

from .._angles import angle, unit_rows
from .._array_api import BLOCK_BYTES, Array, as_float64, namespace, row_slices
from .._whitening import WHITENING_CONSTRAINTS
from ._block import Block
from ._block_scorer import BlockScorer
from ._leave_one_out import LeaveOneOut
from ._mean_direction import warn_without_mean_direction


class CenterCosine(BlockScorer):
    r"""Angle to the mean of the training samples, after whitening (NSA section 2.5).

    ``whiten=True`` is the score *c-Cos (Mah)* of [1]_, ``whiten=False`` its *c-Cos*. With
    :math:`u = \Sigma_m^{-1/2} \mu_m` and :math:`v = \Sigma_m^{-1/2} y` the whitened training mean
    and test sample, the anomaly score is

    .. math:: S_{c\text{-}Cos}(y) = \arccos \frac{u \cdot v}{\|u\|_2 \|v\|_2}

    and ``score_samples`` its negative, in [-pi, 0] radians. Equation 2 subtracts the mean from
    both, but the whitened mean is then the zero vector, which has no direction.

    The score is cheap and tolerates anomalies among the training samples. It does not suit columns
    that are centred or standardised, whose mean has no direction but noise: use
    :class:`NeighborDistance`. Training samples are scored leave-one-out: by the mean of the others,
    in the space whitened without them. They are recognised when they are passed again.

    Parameters
    ----------
    whiten : bool, default=True
        Whiten with the shrunk covariance of the training samples.
    shrinkage : {"ledoit_wolf", "oas"}, float in [0, 1] or None, default="ledoit_wolf"
        Weight of the identity in the covariance. None and 0 are the pseudo-inverse.
    n_components : int, float in (0, 1) or None, default=None
        Keep only the leading eigenvectors of the covariance: this many, or as many as explain this
        share of the variance. None keeps all.
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
    MahalanobisCosine : The angle to the nearest training samples.
    FeatureEnsemble : Sums the scores of several blocks of features.

    References
    ----------
    .. [1] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA): compact
       distributions for robust self-supervised Anomaly Detection", 2022, section 2.5 and
       appendices C and G.
       `arXiv:2203.10344 <https://arxiv.org/abs/2203.10344>`_

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import CenterCosine
    >>> X = np.random.default_rng(0).normal(size=(200, 3)) + [8, 4, 2]
    >>> detector = CenterCosine(contamination=0.01).fit(X)
    >>> detector.predict([[8, 4, 2], [2, 4, 8]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **BlockScorer._parameter_constraints,
        **WHITENING_CONSTRAINTS,
        "whiten": ["boolean"],
    }

    def __init__(
        self,
        *,
        whiten=True,
        shrinkage="ledoit_wolf",
        n_components=None,
        trim=0.0,
        contamination="auto",
    ):
        self.whiten = whiten
        self.shrinkage = shrinkage
        self.n_components = n_components
        self.trim = trim
        self.contamination = contamination

    def _fit_rows(self, block: Block) -> Array:
        self._fit_space(block)
        return self._leave_one_out(block, block.n_rows)

    def _fit_space(self, block: Block) -> None:
        self.mean_ = block.column_means()
        xp = namespace(self.mean_)
        if not xp.any(self.mean_ != 0):
            raise ValueError(
                "the training mean is the zero vector, which has no direction; "
                "pass samples that are not centred, or use NeighborDistance"
            )
        warn_without_mean_direction(self, self.mean_, block.total_variance(), block.n_rows)
        self.whitening_ = None
        center = self.mean_
        if self.whiten:
            self.whitening_ = block.fit_whitening(
                shrinkage=self.shrinkage, center=False, n_components=self.n_components
            )
            center = self.whitening_.mean_
        self._center = unit_rows(center[None, :])

    def _leave_one_out(self, block: Block, n_samples: int) -> Array:
        """Angles of some of the n training rows to the mean of the others, whitened without it."""
        vectors, whitening = self._vectors_of(block), self.whitening_
        xp = namespace(vectors)
        center = self.mean_ if whitening is None else whitening.mean_
        space = None if whitening is None else LeaveOneOut(whitening, vectors, n_samples)
        angles = []
        for part in row_slices(vectors.shape[0], 8 * vectors.shape[1], BLOCK_BYTES):
            rows = vectors[part, :]
            others = center - (rows - center) / (n_samples - 1)
            if space is not None:
                rows, others = space.stretch(rows, part), space.stretch(others, part)
            angles.append(angle(unit_rows(rows), unit_rows(others)))
        return xp.concat(angles)

    def score_block(self, block: Block) -> Array:
        """Angles of new rows to the centre."""
        return angle(unit_rows(self._vectors_of(block)), self._center)

    def _vectors_of(self, block: Block) -> Array:
        if self.whitening_ is None:
            return as_float64(block.rows)
        return block.whitened(self.whitening_)
