"""
Beside scikit-learn and PyOD
============================

Detectors of three packages on one table, with one split. The measurements of benign tumours are
normal, those of malignant ones are not. PyOD is installed apart: ``pip install pyod``.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

X, y = load_breast_cancer(return_X_y=True)  # 1 is benign
train, held_out = train_test_split(X[y == 1], test_size=0.3, random_state=0)
scaler = StandardScaler().fit(train)
X_train = scaler.transform(train)
X_test = scaler.transform(np.concatenate([held_out, X[y == 0]]))
y_test = np.repeat([1, -1], [len(held_out), (y == 0).sum()])

# %%
# In scikit-learn and here, ``score_samples`` is higher for more *normal* samples, and ``predict``
# says -1 of outliers.

from sklearn.ensemble import IsolationForest

from skanomaly import DUMDetector, NeighborDistance

scores, flagged = {}, {}
for detector in (
    IsolationForest(contamination=0.05, random_state=0),
    NeighborDistance(5),
    DUMDetector(n_estimators=8, max_epochs=100, random_state=0),
):
    name = type(detector).__name__
    detector.fit(X_train)
    scores[name] = detector.score_samples(X_test)
    flagged[name] = detector.predict(X_test) == -1

# %%
# In PyOD ``decision_function`` is higher for more *anomalous* samples, and ``predict`` says 1 of
# them. A minus sign makes the scores comparable. The default of ``contamination`` is 0.1 there,
# 0.05 here, and a rule of its own in scikit-learn's forest, so all get the same value.
#
# ``ECOD`` ranks new samples among the training samples *and* the other new samples. Among 212
# malignant ones each looks usual, and the area falls to 0.62. It is therefore passed one sample
# at a time; to ``KNN`` this makes no difference.

from pyod.models.ecod import ECOD
from pyod.models.knn import KNN

for theirs in KNN(n_neighbors=5, contamination=0.05), ECOD(contamination=0.05):
    name = f"PyOD's {type(theirs).__name__}"
    theirs.fit(X_train)
    scores[name] = np.array([-theirs.decision_function(row[None])[0] for row in X_test])
    flagged[name] = scores[name] < -theirs.threshold_

# %%
# With labels of +1 and -1 the area under the ROC curve is that of normal scores. The false alarms
# are the benign samples that are flagged, which should be about 5%.

from sklearn.metrics import roc_auc_score

print(f"{'':17s} area   malignant found   false alarms")
for name in scores:
    area = roc_auc_score(y_test, scores[name])
    found, alarms = flagged[name][y_test == -1].mean(), flagged[name][y_test == 1].mean()
    print(f"{name:17s} {area:.3f} {found:17.2f} {alarms:14.2f}")

# %%
# One small table says little about which detector is best: :doc:`/benchmarks/results/detection`
# has the figures of 35 tables. :doc:`/docs/coming_from` tells what is called what.
