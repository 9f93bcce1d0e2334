"""NSADetector: No Shifted Augmentations (NSA), self-supervised anomaly detection.

NSA is here the method of the paper "No Shifted Augmentations (NSA): compact distributions for
robust self-supervised anomaly detection", not Natural Synthetic Anomalies and not the Negative
Selection Algorithm, which elsewhere share the abbreviation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch, check_random_state, gen_batches
from sklearn.utils.validation import check_memory

from ._base import OutlierDetector, atomic_fit, seed_parts, training_scores
from ._sklearn_compat import CallbackSupportMixin, HasMethods, pass_callbacks_on, with_callbacks
from ._training_rows import TrainingRows
from ._validation import check_samples
from .scorers import FeatureEnsemble, MahalanobisCosine

SCORING_BATCH = 2048  # samples whose features are held at once
# what detects best in tables, over 35 data sets: distances rather than angles, of few layers
TABLE_OPTIONS: dict[str, Any] = {"layers": ["columns", "dense_block_1"], "max_epochs": 50}
TABLE_NEIGHBORS = 5


class NSADetector(CallbackSupportMixin, OutlierDetector):
    """Anomaly detector that learns features from X itself and scores them by angles.

    ``fit`` trains the encoder on X without labels, then fits the scorer on the features of X. X is
    images, (n, height, width), (n, height, width, channels) or (n, channels, height, width) of
    uint8 or of floats in [0, 1], or a table (n, n_features).

    A sample that is identical to a training sample gets that sample's leave-one-out score: its
    nearest neighbour is the nearest *other* training sample.

    Parameters
    ----------
    encoder : transformer, optional
        Anything with ``fit`` and ``transform``. None is ``SelfSupervisedEncoder()``, all of whose
        blocks are used; of tables the standardised columns and the first block. Parameters of one
        that is passed are searched as ``encoder__objective``.
    scorer : outlier detector, optional
        Anything with ``fit`` and ``score_samples``, higher for normal samples. None is
        a :class:`FeatureEnsemble` whose groups are the encoder's layers: "all" if there are
        several layers, "ens" otherwise; of tables that a :class:`SelfSupervisedEncoder` learned,
        its score is the mean angle to the 5 nearest samples. Parameters of one that is passed are
        searched as ``scorer__n_neighbors``. Detectors from elsewhere score training samples by
        copies that were fitted on four fifths of the others.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold: on clean training data the
        false-positive rate. "auto" is 0.05. No anomalies are needed to set it.
    memory : str or joblib.Memory, optional
        Caches trained encoders, so that a grid search over the scorer's parameters trains the
        encoder once for each fold. Set a `random_state` with it. Encoders that have a torch module
        among their parameters are not recognised, and trained anew.
    random_state : int, RandomState instance or None, default=None
        Seeds the parts whose own ``random_state`` is None. With an int, refits on the same device
        are identical.
    verbose : int, default=0
        1 shows the training's progress bar, if `encoder` is None.

    Attributes
    ----------
    encoder_ : transformer
        The trained encoder.
    scorer_ : outlier detector
        The scorer, fitted on the features of the training samples.
    training_scores_ : float64 array of shape (n_samples,)
        Leave-one-out ``score_samples`` of the training samples.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    sample_shape_ : tuple
        (channels, height, width) of the images or (n_features,).
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import NSADetector, SelfSupervisedEncoder
    >>> X = np.random.default_rng(0).normal(size=(100, 4)) + [4, 3, 2, 1]
    >>> encoder = SelfSupervisedEncoder(max_epochs=2)
    >>> detector = NSADetector(encoder, random_state=0).fit(X)
    >>> detector.predict([[4, 3, 2, 1], [-9, 9, -9, 9]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **OutlierDetector._parameter_constraints,
        "encoder": [HasMethods(["fit", "transform"]), None],
        "scorer": [HasMethods(["fit", "score_samples"]), None],
        "memory": [str, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        encoder=None,
        scorer=None,
        *,
        contamination="auto",
        memory=None,
        random_state=None,
        verbose=0,
    ):
        self.encoder = encoder
        self.scorer = scorer
        self.contamination = contamination
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    def explain(self, X, *, layer="auto"):
        """Why samples have the scores that they have.

        Parameters
        ----------
        X : images or table
            Samples of the shape that was fitted.
        layer : str, default="auto"
            Block of the encoder, such as "conv_block_2", whose positions the heatmaps compare.
            "auto" is the first one, which has the finest grid. Not used for tables.

        Returns
        -------
        explanation : Bunch
            ``members``, the m labels ``"layer/score"``; ``contributions``, a float64 array
            (n_samples, m), whose rows sum to ``-score_samples(X)``; ``neighbors``, for each
            member that looks for nearest samples a pair (angles, indices) of arrays
            (n_samples, n_neighbors): angles in radians, indices into the X of ``fit``; and for
            images ``heatmaps``, a float64 array (n_samples, height, width): the angle in radians
            of the features at each position to the nearest ones in normal images (at most 200
            training images), interpolated to the images' resolution. None without a
            convolutional encoder.

        Raises
        ------
        ValueError
            If X is not what was fitted, or the encoder has no such layer.
        """
        X = self._check_input(X, "explain")
        known = self._known.find(X)
        explanation = self._explain_scores(X, known)
        explanation.heatmaps = None if self._reference is None else self._heatmaps(X, known, layer)
        return explanation

    @atomic_fit
    @with_callbacks
    def fit(self, X, y=None):
        """Train the encoder and fit the scorer.

        Parameters
        ----------
        X : images or table
            Mostly normal samples, at least 2.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X is neither a table nor images, or does not suit the encoder or the scorer.
        """
        X = check_samples(self, X, reset=True)
        random_state = check_random_state(self.random_state)
        encoder = self._make_encoder(X)
        if self.random_state is not None:
            seed_parts(encoder, random_state)
        train = check_memory(self.memory).cache(_fit_encoder, ignore=["detector"])
        self.encoder_ = train(encoder, X, detector=self)
        scorer = self._make_scorer(len(X))
        if self.random_state is not None:
            seed_parts(scorer, random_state)
        self._known = TrainingRows.of(X)
        self._scores_layers = _scores_layers(self.encoder_, scorer)
        if self._scores_layers:
            scorer._fit_groups(self.encoder_.transform_blocks(X))
            self.scorer_, scores = scorer, scorer.training_scores_
        else:
            features = self.encoder_.transform(X)
            self.scorer_ = scorer.fit(features)
            scores = training_scores(self.scorer_, features)
        self._reference = self._choose_reference(X)
        self._finish_fit(scores)
        return self

    def _score_samples(self, X):
        batches = [X[rows] for rows in gen_batches(len(X), SCORING_BATCH)]
        scores = np.concatenate([self._score_batch(batch) for batch in batches])
        return self._known.recall(X, scores, self.training_scores_)

    def _score_batch(self, X):
        if self._scores_layers:
            return self.scorer_._score_rows(self.encoder_.transform_blocks(X))
        return self.scorer_.score_samples(self.encoder_.transform(X))

    def _explain_scores(self, X, known) -> Bunch:
        if self._scores_layers:
            return self.scorer_._explain_groups(self.encoder_.transform_blocks(X), known)
        features = self.encoder_.transform(X)
        if isinstance(self.scorer_, FeatureEnsemble):
            return self.scorer_.explain(features)
        scores = self._known.recall(X, self.scorer_.score_samples(features), self.training_scores_)
        name = type(self.scorer_).__name__
        has_neighbors = isinstance(self.scorer_, MahalanobisCosine)
        neighbors = {name: self.scorer_._kneighbors_rows(features, known)} if has_neighbors else {}
        return Bunch(members=[name], contributions=-scores[:, None], neighbors=neighbors)

    def _choose_reference(self, X) -> Any:
        """Some training images, to compare with in heatmaps, and which these are."""
        if X.ndim == 2 or not hasattr(self.encoder_, "transform_map"):
            return None
        from ._heatmaps import choose_reference

        index = choose_reference(X)
        return index, X[index]

    def _heatmaps(self, X, known, layer: str) -> np.ndarray:
        from ._heatmaps import angle_heatmaps

        index, reference = self._reference
        own = np.where(np.isin(known, index), np.searchsorted(index, known), -1)
        maps, reference_maps = (
            self.encoder_.transform_map(images, layer) for images in (X, reference)
        )
        return angle_heatmaps(maps, reference_maps, own, X.shape[2:])

    def _validate_input(self, X, *, reset):
        return check_samples(self, X, reset=reset)

    def _make_encoder(self, X):
        if self.encoder is not None:
            return clone(self.encoder)
        from .encoders import SelfSupervisedEncoder

        options = TABLE_OPTIONS if X.ndim == 2 else {}
        return SelfSupervisedEncoder(**options, verbose=self.verbose)

    def _make_scorer(self, n_samples: int):
        if self.scorer is not None:
            return clone(self.scorer)
        if getattr(getattr(self.encoder_, "network_", None), "constants", None):
            # angles between the layers of a table stand for distances
            n_neighbors = min(TABLE_NEIGHBORS, n_samples - 1)
            return FeatureEnsemble([("k_cos", MahalanobisCosine(n_neighbors, whiten=False))])
        # the center, of several layers, stands more anomalies in training than nearest samples do
        has_layers = len(getattr(self.encoder_, "layer_slices_", ())) > 1
        return FeatureEnsemble("all" if has_layers else "ens")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _scores_layers(encoder, scorer) -> bool:
    """Whether the scorer can take the encoder's layers one by one, without joining them."""
    return (
        isinstance(scorer, FeatureEnsemble)
        and scorer.groups == "auto"
        and hasattr(encoder, "transform_blocks")
    )


def _fit_encoder(encoder, X: np.ndarray, *, detector: NSADetector):
    with pass_callbacks_on(detector, encoder):
        return encoder.fit(X)
