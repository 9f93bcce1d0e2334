"""Cross-validation for detectors that learn from normal samples only."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import BaseCrossValidator, KFold
from sklearn.utils.validation import column_or_1d


class OneClassKFold(BaseCrossValidator):
    """K-fold cross-validation for detectors that are trained on normal samples only.

    Each split trains on the normal samples (label +1) outside its fold and tests on the normal
    samples of the fold together with all anomalies (label -1). Plain ``KFold`` would train on
    anomalies, and a fold without anomalies has no ROC AUC. Use it with ``scoring="roc_auc"``. If
    anomalies were labelled 1 instead of -1, that score would silently be 1 - AUC, so such labels
    are refused.

    In a search pass ``refit=False`` and fit the best parameters on the normal samples: detectors
    ignore labels, and would be refitted on the anomalies too.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Shuffle the normal samples before they are split.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling.

    See Also
    --------
    skanomaly.datasets.one_vs_rest : One class to train on, all classes to test on.
    sklearn.model_selection.KFold : Folds over all samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import OneClassKFold
    >>> y = np.array([1, 1, 1, 1, -1])
    >>> for train, test in OneClassKFold(n_splits=2).split(np.zeros((5, 1)), y):
    ...     print(train, test)
    [2 3] [0 1 4]
    [0 1] [2 3 4]
    """

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None):
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def split(self, X, y=None, groups=None):
        """Yield the indices of the training and test samples of each split.

        Parameters
        ----------
        X : array-like of length n_samples
            Only its length is used.
        y : array-like of shape (n_samples,)
            +1 for normal samples, -1 for anomalies.
        groups : ignored

        Yields
        ------
        train, test : int arrays
            Sorted indices.

        Raises
        ------
        ValueError
            If y is missing or has other labels, or if there are fewer normal samples than folds.
        """
        if y is None:
            raise ValueError("OneClassKFold needs y: pass +1 for normal samples, -1 for anomalies")
        y = column_or_1d(y)
        labels = set(np.unique(y).tolist())
        if labels != {-1, 1}:
            raise ValueError(
                f"y has the labels {sorted(labels)}; pass +1 for normal samples and -1 for "
                "anomalies, at least one of each"
            )
        normal, anomalies = np.flatnonzero(y == 1), np.flatnonzero(y == -1)
        if self.n_splits > len(normal):
            raise ValueError(f"n_splits={self.n_splits}, but y has {len(normal)} normal samples")
        folds = KFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)
        for train, test in folds.split(normal):
            yield normal[train], np.sort(np.concatenate([normal[test], anomalies]))

    def get_n_splits(self, X=None, y=None, groups=None):
        """Number of splits.

        Parameters
        ----------
        X, y, groups : ignored

        Returns
        -------
        n_splits : int
        """
        return self.n_splits
