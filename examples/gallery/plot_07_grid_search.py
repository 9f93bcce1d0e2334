"""
Choosing a score by a search
============================

With a few labelled anomalies, scikit-learn's ``GridSearchCV`` chooses the score.
:class:`~skanomaly.OneClassKFold` makes its folds: each one trains on normal images alone, and is
tested on the others and on the anomalies.

T-shirts, labelled +1, are normal; other clothes are labelled -1.
"""

import numpy as np

from skanomaly.datasets import load_fashion_mnist_sample

data = load_fashion_mnist_sample("t-shirt")
anomalies = data.X_test[data.y_test == -1][::20]
X = np.concatenate([data.X_train[:300], anomalies])
y = np.repeat([1, -1], [300, len(anomalies)])

# %%
# ``memory`` keeps trained encoders in a folder. All candidates of a fold share the encoder, so
# five scores on three folds take three trainings, not fifteen. The seed must be fixed.

from tempfile import TemporaryDirectory

from sklearn.model_selection import GridSearchCV

from skanomaly import (
    CenterCosine,
    FeatureEnsemble,
    MahalanobisCosine,
    NSADetector,
    OneClassKFold,
    SelfSupervisedEncoder,
)

scorers = {
    "k-Cos": MahalanobisCosine(whiten=False),
    "k-Cos (Mah)": MahalanobisCosine(),
    "c-Cos (Mah)": CenterCosine(),
    "all scores": FeatureEnsemble("all"),
    "robust": FeatureEnsemble("robust"),
}
encoder = SelfSupervisedEncoder(max_epochs=5, augment="grayscale")
folder = TemporaryDirectory()
search = GridSearchCV(
    NSADetector(encoder, memory=folder.name, random_state=0),
    {"scorer": list(scorers.values())},
    cv=OneClassKFold(3),
    scoring="roc_auc",
    refit=False,
).fit(X, y)

# %%
# The time of the first score includes the training.

import pandas as pd

columns = ["mean_test_score", "std_test_score", "mean_fit_time"]
pd.DataFrame(search.cv_results_)[columns].set_axis(list(scorers)).round(3)

# %%
# ``refit=False``, since detectors ignore labels: the search would refit the best one on the
# anomalies too. Fit it on the normal images, and test it on images that the search has not seen:
# the best of several results is too good to be true.

from sklearn.base import clone
from sklearn.metrics import roc_auc_score

best = clone(search.estimator).set_params(**search.best_params_).fit(X[y == 1])
unseen = np.concatenate([data.X_test[data.y_test == 1], data.X_test[data.y_test == -1][10::20]])
labels = np.repeat([1, -1], [(data.y_test == 1).sum(), len(unseen) - (data.y_test == 1).sum()])
print(f"in the search {search.best_score_:.3f}")
print(f"unseen images {roc_auc_score(labels, best.score_samples(unseen)):.3f}")
best
