"""Diagnostics of each epoch of a training."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._accuracy import knn_accuracy, linear_probe_accuracy
from ._concentration import concentration
from ._uniformity import alignment, mmd_to_uniform, uniformity


class EmbeddingDiagnostics:
    """Callback that records diagnostics of an embedding in ``history_`` after each epoch.

    Pass it in the `callbacks` of a :class:`~skanomaly.SelfSupervisedEncoder`. Each epoch's record
    gets ``concentration``, ``mmd_to_uniform`` and ``uniformity`` of the embedding of X, and
    ``alignment`` and the two accuracies if the data for them is passed. These are the values that
    figures 2 to 8 of NSA show besides AUROC. The samples are not trained on.

    Parameters
    ----------
    X : images or table
        Samples as ``fit`` takes them, at least 2. A few hundred are enough: they are embedded, and
        all pairs compared, after each epoch.
    X_views : images or table, optional
        Another view of each sample of X, for ``alignment``.
    y : array-like of shape (n_samples,), optional
        Classes of X, for ``linear_probe_accuracy`` and ``knn_accuracy`` on X_test and y_test.
    X_test, y_test : optional
        Samples, and their classes, on which the accuracies are measured.
    layer : str, optional
        The layer whose outputs are the embedding. None is the last one that the encoder returns.
    prefix : str, default=""
        Prefix of the names in the record, for example to tell normal samples from outliers.

    Raises
    ------
    ValueError
        If only some of y, X_test and y_test are given.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import SelfSupervisedEncoder
    >>> from skanomaly.diagnostics import EmbeddingDiagnostics
    >>> X, X_new = np.random.default_rng(0).normal(size=(2, 60, 4))
    >>> encoder = SelfSupervisedEncoder(max_epochs=2, callbacks=[EmbeddingDiagnostics(X_new)])
    >>> [epoch["uniformity"] < 0 for epoch in encoder.fit(X).history_]
    [True, True]
    """

    def __init__(
        self,
        X: Any,
        *,
        X_views: Any = None,
        y: Any = None,
        X_test: Any = None,
        y_test: Any = None,
        layer: str | None = None,
        prefix: str = "",
    ):
        if len({y is None, X_test is None, y_test is None}) > 1:
            raise ValueError("pass y, X_test and y_test together, or none of them")
        self.X = X
        self.X_views = X_views
        self.y = y
        self.X_test = X_test
        self.y_test = y_test
        self.layer = layer
        self.prefix = prefix

    def record(self, encoder: Any) -> dict[str, float]:
        """Compute the diagnostics of an encoder.

        Parameters
        ----------
        encoder : SelfSupervisedEncoder or PretrainedEncoder
            The encoder, fitted or in training.

        Returns
        -------
        figures : dict of str to float

        Raises
        ------
        ValueError
            If the encoder has no such layer, or samples do not suit it.
        """
        embeddings = self._embed(encoder, self.X)
        figures = {
            "concentration": concentration(embeddings),
            "mmd_to_uniform": mmd_to_uniform(embeddings),
            "uniformity": uniformity(embeddings),
        }
        if self.X_views is not None:
            figures["alignment"] = alignment(embeddings, self._embed(encoder, self.X_views))
        if self.y is not None:
            split = embeddings, self.y, self._embed(encoder, self.X_test), self.y_test
            n_neighbors = min(20, len(embeddings))
            figures["linear_probe_accuracy"] = linear_probe_accuracy(*split)
            figures["knn_accuracy"] = knn_accuracy(*split, n_neighbors=n_neighbors)
        return {f"{self.prefix}{name}": value for name, value in figures.items()}

    def _embed(self, encoder: Any, X: Any) -> np.ndarray:
        layers = list(encoder.layer_slices_)
        layer = layers[-1] if self.layer is None else self.layer
        if layer not in layers:
            raise ValueError(
                f"layer={layer!r} is not returned by the encoder; pass one of {layers}"
            )
        return encoder.transform_blocks(X)[layer]
