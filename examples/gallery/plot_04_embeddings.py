"""
Embeddings in a Pipeline
========================

Embeddings that are good already need no network. :class:`~skanomaly.MahalanobisCosine` scores them
by the angle to the nearest training sample, after whitening, and is an estimator like any other of
scikit-learn.

What stands for embeddings here are the pixels of scikit-learn's digits. The zeros are normal.
"""

from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

X, digits = load_digits(return_X_y=True)
zeros, others = X[digits == 0], X[digits != 0]
X_train, X_held_out = train_test_split(zeros, test_size=0.3, random_state=0)

# %%
# A Pipeline passes ``score_samples``, ``decision_function`` and ``predict`` on to the detector.
# Angles are seen from the origin, so columns are not centred: hence a truncated SVD, which does
# not centre, instead of a PCA.

from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import make_pipeline

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine, NeighborDistance

detectors = MahalanobisCosine(), CenterCosine(), FeatureEnsemble(), NeighborDistance()
y = [1] * len(X_held_out) + [-1] * len(others)
for detector in detectors:
    pipeline = make_pipeline(TruncatedSVD(32, random_state=0), detector).fit(X_train)
    scores = [*pipeline.score_samples(X_held_out), *pipeline.score_samples(others)]
    print(f"{type(detector).__name__:18s} {roc_auc_score(y, scores):.4f}")

# %%
# Zeros are told from other digits with ease. ``contamination`` says which share of the training
# samples lies beyond the threshold, 5% by default, and so roughly how many held-out zeros are
# flagged.

import numpy as np

print(f"other digits that are flagged: {np.mean(pipeline.predict(others) == -1):.3f}")
print(f"zeros that are flagged:        {np.mean(pipeline.predict(X_held_out) == -1):.3f}")
