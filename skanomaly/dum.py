"""DUMDetector: the deep uncertainty model, whose variance is the anomaly score."""

from __future__ import annotations

import copy
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._array_api import is_dask
from ._base import OutlierDetector, atomic_fit
from ._dask import InMemoryTransformerMixin, draw_samples
from ._sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_feature_names_in,
    with_callbacks,
)
from ._training import DeepEstimator, SeededDraws
from ._training_rows import TrainingRows
from ._uncertainty import (
    OBJECTIVES,
    ROW_VIEWS,
    SCALINGS,
    UncertaintyTask,
    compare_with,
    draw_rows,
    embed,
    embed_views,
    fit_encoder,
    fit_scaler,
    held_out_mask,
    held_out_norms,
    log_norm,
    log_variances,
    make_networks,
    mean_of_columns,
    networks_of_state,
    networks_state,
    stack_embeddings,
)
from ._validation import check_samples, refuse_overflow
from .encoders import PRESETS

DASK_SAMPLES = 100_000  # that are drawn from a Dask collection
LARGEST = 1e150  # value of an embedding; sums of larger ones may overflow to nan


class DUMDetector(DeepEstimator, InMemoryTransformerMixin, OutlierDetector):
    """Deep uncertainty model: how uncertain the embedding of a sample is tells how anomalous it is.

    Small networks learn from random views of the training samples how far a view is from its
    sample, coordinate by coordinate: the variance of a Gaussian whose mean is the embedding that
    the network is given. Where normal samples are dense a view is most likely unchanged and the
    variance low; elsewhere it must come from another place. The score is minus the logarithm of
    the norm of that variance, averaged over the networks. X is a table or embeddings
    (n, n_features), which need no encoder, or images, which are embedded first.

    The method as it was published (DUM sections 3 and 4.2) is
    ``DUMDetector(**DUMDetector.PUBLISHED)``: bags of samples whose products of experts have a
    large dot product. Whether its variance is high or low for anomalies depends on the data.

    A sample that is identical to a training sample gets that one's training score.

    Parameters
    ----------
    encoder : transformer, optional
        Embeds samples first; anything with ``fit`` and ``transform``. One that is fitted already
        is passed as ``sklearn.frozen.FrozenEstimator(encoder)``. None embeds images by the last
        block of a :class:`SelfSupervisedEncoder`, and takes tables as they are.
    covariance : {"diag", "circular"}, default="diag"
        A variance for each coordinate of the embedding, or one for all.
    objective : {"likelihood", "dot", "cosine", "distance"}, default="likelihood"
        "likelihood" trains the distribution of a bag of views of one sample for the likelihood of
        that sample. The others train the means of two bags of different samples for a large dot
        product, as published, a large cosine or a small squared distance.
    bag_size : int, default=1
        Number m of experts in a bag. Only the likelihood knows the variance of a single one.
    expectation : {"analytic", "sampled"}, default="analytic"
        Whether distributions stand in the objective with their means or with random draws.
    views : {"uniform", "marginal", "noise", "mask"}, callable or None, default="uniform"
        Random views of embeddings: a random share of the coordinates is replaced by uniform
        values, by the same coordinates of other samples, by themselves with noise, or by 0. A
        callable gets a batch of scaled embeddings and a torch generator.
    augment : str, callable, torch.nn.Module or None, default=None
        Random views of images, of which 8 are embedded of each that is trained on: as for
        :class:`SelfSupervisedEncoder`. None embeds images as they are.
    scaling : {"auto", "standard", "minmax", "quantile", "whitened"}, default="auto"
        How the columns of embeddings are scaled. "whitened" takes the whitened principal
        components with 99% of the variance instead of the columns. "auto" does so for what an
        encoder returns and for more than 256 columns, and is "standard" otherwise.
    hidden_layers : tuple of int, default=(64, 64)
        Widths of the hidden layers of a network.
    n_estimators : int, default=16
        Number of networks, which are trained side by side.
    max_samples : int or None, default=256
        Number of random samples on which each network is trained, at most four fifths of all, so
        that others can tell what scores new samples will have. None trains each on all.
    max_features : int or None, default=32
        Number of random coordinates of the embedding that each network sees, or more if that is
        needed for all of them to be seen. None shows all to each.
    trim : float in [0, 0.5), default=0.2
        Share of each batch, the samples with the largest norms, that training leaves out, since
        they may be anomalies.
    norm : float, default=4
        Order of the Schatten norm of the covariance: 2 is the Frobenius norm, infinity the
        largest variance.
    max_epochs : int or None, default=300
        Passes over the samples of each network. None lets `max_time` alone decide.
    max_time : float, optional
        Seconds of training at most. Results are then no longer the same on each run.
    batch_size : int, default=256
        Samples per step.
    learning_rate : float, default=1e-3
        Largest step size.
    schedule : {"cosine", "constant"}, default="cosine"
        Schedule of the learning rate.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Arithmetic of the networks in training. Scores are float64.
    callbacks : list of callable, optional
        Functions that are called after each epoch with ``history_`` so far; training ends when one
        returns True.
    checkpoint : path-like, optional
        File that keeps the state of the training, as of :class:`SelfSupervisedEncoder`. It needs
        an int as `random_state`.
    device : str, default="auto"
        "auto" is the CUDA device, if there is one, and else the CPU.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold. "auto" is 0.05.
    random_state : int, RandomState instance or None, default=None
        Seed. With an int, refits on the same device are identical.
    verbose : int, default=0
        1 shows one progress bar, or about ten lines where standard error is not a terminal.

    Attributes
    ----------
    networks_ : torch.nn.Module
        The trained networks, on the CPU.
    encoder_ : transformer or None
        The fitted encoder.
    scaler_ : transformer
        Scales the columns of embeddings.
    history_ : list of dict
        Per epoch: the mean ``loss`` of a network, the mean ``log_variance``, ``learning_rate``,
        ``seconds`` and ``samples_per_second``.
    training_scores_ : float64 array of shape (n_samples,)
        Scores of the training samples by the networks that were not trained on them. These are
        few, so their mean is shrunk until it spreads as the scores of new samples do.
    held_out_ : bool array of shape (n_samples,)
        Whether there was such a network. If not, the score is by all of them.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    sample_shape_ : tuple
        (channels, height, width) of the images or (n_features,).
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    NSADetector : Detector that scores self-supervised features by angles.
    SelfSupervisedEncoder : The encoder of images.

    References
    ----------
    .. [1] M. Wu and N. Goodman, "A Simple Framework for Uncertainty in Contrastive Learning",
       2020. `arXiv:2010.02038 <https://arxiv.org/abs/2010.02038>`_

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import DUMDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 4)) + [4, 3, 2, 1]
    >>> detector = DUMDetector(random_state=0).fit(X)
    >>> detector.predict([[4, 3, 2, 1], [-9, 9, -9, 9]])
    array([ 1, -1])
    >>> float(detector.shift_test(X[:100] + 2).p_value) < 1e-6
    True
    """

    PUBLISHED: ClassVar[dict[str, Any]] = {
        "objective": "dot",
        "bag_size": 8,
        "views": None,
        "scaling": "minmax",
        "hidden_layers": (4096, 4096, 4096),
        "n_estimators": 1,
        "max_samples": None,
        "max_features": None,
        "trim": 0.0,
        "norm": 2,
        "max_epochs": 100,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "schedule": "constant",
    }

    _parameter_constraints: dict = {
        **OutlierDetector._parameter_constraints,
        **DeepEstimator._parameter_constraints,
        "encoder": [HasMethods(["fit", "transform"]), None],
        "covariance": [StrOptions({"diag", "circular"})],
        "objective": [StrOptions(set(OBJECTIVES))],
        "bag_size": [Interval(Integral, 1, None, closed="left")],
        "expectation": [StrOptions({"analytic", "sampled"})],
        "views": [StrOptions(set(ROW_VIEWS)), callable, None],
        "augment": [StrOptions(set(PRESETS)), callable, None],
        "scaling": [StrOptions(set(SCALINGS))],
        "hidden_layers": [tuple, list],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "max_features": [Interval(Integral, 1, None, closed="left"), None],
        "trim": [Interval(Real, 0, 0.5, closed="left")],
        "norm": [Interval(Real, 1, np.inf, closed="both")],
        "schedule": [StrOptions({"cosine", "constant"})],
    }

    def __init__(
        self,
        encoder=None,
        *,
        covariance="diag",
        objective="likelihood",
        bag_size=1,
        expectation="analytic",
        views="uniform",
        augment=None,
        scaling="auto",
        hidden_layers=(64, 64),
        n_estimators=16,
        max_samples=256,
        max_features=32,
        trim=0.2,
        norm=4,
        max_epochs=300,
        max_time=None,
        batch_size=256,
        learning_rate=1e-3,
        schedule="cosine",
        precision="float32",
        callbacks=None,
        checkpoint=None,
        device="auto",
        contamination="auto",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            max_epochs=max_epochs,
            max_time=max_time,
            batch_size=batch_size,
            learning_rate=learning_rate,
            precision=precision,
            callbacks=callbacks,
            checkpoint=checkpoint,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.encoder = encoder
        self.covariance = covariance
        self.objective = objective
        self.bag_size = bag_size
        self.expectation = expectation
        self.views = views
        self.augment = augment
        self.scaling = scaling
        self.hidden_layers = hidden_layers
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.max_features = max_features
        self.trim = trim
        self.norm = norm
        self.schedule = schedule
        self.contamination = contamination

    @atomic_fit
    @with_callbacks
    def fit(self, X, y=None):
        """Train the networks, and the encoder unless it is frozen.

        Parameters
        ----------
        X : images, table, or Dask array or frame of a table
            Mostly normal samples, at least 2, and as many as two bags of samples hold. Of a
            ``dask.array`` or ``dask.dataframe`` 100,000 random rows are drawn in one pass, and
            these are the training samples.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X is neither a table nor images, or does not suit the encoder, or parameters do
            not suit X or each other, or the checkpoint is damaged or of another training.
        OSError
            If the checkpoint cannot be written or read.
        FloatingPointError
            If training diverges.
        KeyboardInterrupt
            If interrupted before the first epoch ended.
        """
        self._check_parameters()
        device, seed = self._start_training()
        if is_dask(X) and getattr(X, "ndim", None) == 2:
            X = draw_samples(X, DASK_SAMPLES, seed)
        X = check_samples(self, X, reset=True)
        if X.ndim == 2 and self.augment is not None:
            raise ValueError("augment is for images, but X is a table; pass views")
        if self.objective != "likelihood" and len(X) < 2 * self.bag_size:
            raise ValueError(
                f"Found {len(X)} samples, but two bags of bag_size={self.bag_size} need "
                f"{2 * self.bag_size}; pass a smaller bag_size"
            )
        self.encoder_ = fit_encoder(
            self.encoder, X, None if self.random_state is None else seed, self.verbose
        )
        embeddings = embed(self.encoder_, X)
        refuse_overflow(embeddings)
        self.scaler_ = fit_scaler(self.scaling, embeddings, seed, encoded=self.encoder_ is not None)
        scaled = self.scaler_.transform(embeddings)
        random_state = np.random.RandomState(seed)
        rows = draw_rows(len(X), self.n_estimators, self.max_samples, random_state)
        with SeededDraws(seed):
            networks = make_networks(
                scaled,
                self.n_estimators,
                self.max_features,
                self.hidden_layers,
                self.covariance,
                random_state,
            )
        stacks = stack_embeddings(scaled[:, None], rows, networks)
        if self.augment is not None:
            used, place = np.unique(rows, return_inverse=True)
            views = embed_views(X[used], self.augment, self._scale, seed)
            views = stack_embeddings(views, place.reshape(rows.shape), networks)
            stacks = np.concatenate([stacks, views], axis=2)
        task = UncertaintyTask(
            networks.to(device),
            self.views,
            objective=self.objective,
            bag_size=self.bag_size,
            trim=self.trim,
            norm=self.norm,
            sampled=self.expectation == "sampled",
        )
        self._run_training(
            task.to(device),
            stacks,
            X,
            self._make_recipe(optimizer="adam", weight_decay=0.0, schedule=self.schedule),
            device=device,
            seed=seed,
            fitted_attributes=lambda task: {"networks_": copy.deepcopy(task.networks).cpu().eval()},
        )
        self.networks_ = networks.cpu().eval()
        self._score_training_samples(X, scaled, rows)
        return self

    def transform(self, X):
        """Log-variance of each sample's embedding: the logarithm of the networks' geometric mean.

        Parameters
        ----------
        X : images or table
            Samples of the shape that was fitted.

        Returns
        -------
        log_variance : float64 array of shape (n_samples, n_outputs)
            In units of the scaled embedding: a column for each of its coordinates, which are the
            principal components if they were whitened, or one for all if the covariance is
            circular.
        """
        scaled = self._scale(self._check_input(X, "transform"))
        means = [
            mean_of_columns(self.networks_, values).cpu().numpy()
            for _, values in log_variances(self.networks_, scaled, self.device)
        ]
        return np.concatenate(means)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of ``transform``: ``log_variance_<number>``.

        Parameters
        ----------
        input_features : array-like of str, optional
            Checked against the names seen in ``fit`` and otherwise ignored.

        Returns
        -------
        names : array of str
        """
        check_is_fitted(self)
        if len(self.sample_shape_) == 1:
            check_feature_names_in(self, input_features)
        n_outputs = len(self.networks_.low) if self.covariance == "diag" else 1
        return np.asarray([f"log_variance_{i}" for i in range(n_outputs)], dtype=object)

    def rank_certainty(self, X):
        """Samples in the order of how certain their embeddings are (DUM section 4.1).

        Views of one image, such as those of ``ImageAugmentation``, are ranked like samples.

        Parameters
        ----------
        X : images or table
            Samples of the shape that was fitted.

        Returns
        -------
        index : int array of shape (n_samples,)
            From the most certain sample to the least certain one.
        """
        return np.argsort(-self._checked_scores(X, "rank_certainty"), kind="stable")

    def shift_test(self, X, *, window=None, reference=None):
        """Whether the norms of samples are those of the training distribution (section 4.1).

        Welch's t-test of the log-norms of X against those of training samples by networks that
        were not trained on them.

        Parameters
        ----------
        X : images or table
            New samples, at least 2, of the shape that was fitted.
        window : int, optional
            Number of samples of a stream that are tested together, one test after the other; a
            last window of fewer is left out. None tests all samples at once.
        reference : images or table, optional
            Samples of the training distribution that were not trained on. None takes the training
            samples with ``held_out_``.

        Returns
        -------
        result : Bunch
            ``statistic``, positive if X is less certain than the training samples; ``p_value``;
            and ``effect_size``, Cohen's d. Floats, or arrays with an entry for each window.

        Raises
        ------
        ValueError
            If there are fewer than 2 samples in X, in a window or among those that were held out.
        """
        norms = -self._checked_scores(X, "shift_test")
        if reference is not None:
            expected = -self._checked_scores(reference, "shift_test")
        else:
            expected = -self.training_scores_[self.held_out_]
        if len(expected) < 2:
            raise ValueError(
                f"{len(expected)} samples of the training distribution are held out, at least 2 "
                "are needed; pass them as `reference`, or fit with max_samples and more estimators"
            )
        return compare_with(expected, norms, window)

    def _check_parameters(self) -> None:
        self._check_training_parameters()
        if self.bag_size == 1 and self.objective != "likelihood":
            raise ValueError(
                f"bag_size=1 with objective={self.objective!r}: the mean of a bag of one is the "
                "embedding itself, so that the variance is not in the objective (DUM section 3); "
                "pass a bag_size of at least 2"
            )
        if not all(isinstance(width, Integral) and int(width) > 0 for width in self.hidden_layers):
            raise ValueError(f"hidden_layers={self.hidden_layers}; pass widths of at least 1")
        if self.objective == "likelihood" and self.views is None and self.augment is None:
            raise ValueError("views and augment are both None; the likelihood needs one of them")
        if self.checkpoint is not None and not isinstance(self.random_state, Integral):
            raise ValueError(
                f"checkpoint with random_state={self.random_state}: a later call would draw other "
                "samples for the networks; pass an int as random_state"
            )

    def _scale(self, X: np.ndarray) -> np.ndarray:
        embeddings = embed(self.encoder_, X).clip(-LARGEST, LARGEST)
        with np.errstate(over="ignore"):  # of samples far outside
            return np.nan_to_num(self.scaler_.transform(embeddings))

    def _score_training_samples(self, X: np.ndarray, scaled: np.ndarray, rows: np.ndarray) -> None:
        held_out = held_out_mask(rows, len(scaled))
        self.held_out_ = held_out.any(axis=1)
        norms = np.concatenate([norms for _, norms in self._log_norms(scaled)])
        scores = -held_out_norms(norms, held_out)
        if not np.isfinite(scores).all():
            raise FloatingPointError(
                "the scores of training samples are not finite: pass a learning_rate below "
                f"{self.learning_rate:g}"
            )
        self._finish_fit(scores, TrainingRows.of(X))

    def _score_samples(self, X):
        scaled = self._scale(X)
        return np.concatenate([-norms.mean(axis=1) for _, norms in self._log_norms(scaled)])

    def _validate_input(self, X, *, reset):
        return check_samples(self, X, reset=reset)

    def _log_norms(self, scaled: np.ndarray):
        """Slices of the samples and each network's log-norms (n, n_estimators) of them."""
        for batch, log_variance in log_variances(self.networks_, scaled, self.device):
            yield batch, log_norm(log_variance, self.norm).T.cpu().numpy()

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "networks_" in state:
            state["networks_"] = networks_state(state["networks_"])
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "networks_" in state:
            self.networks_ = networks_of_state(state["networks_"])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags
