"""
Data larger than memory
=======================

Detectors score `Dask <https://docs.dask.org>`_ collections chunk by chunk, and three of them are
fitted to Dask arrays. It needs Dask: ``pip install 'skanomaly[dask]'``.

The rows are made up, and drawn only when a chunk is computed. Every thousandth one is an anomaly.
"""

import dask.array as da
import numpy as np

n_features = 8
mixing = np.random.default_rng(0).normal(size=(n_features, n_features))
rows = da.random.default_rng(0).normal(size=(100_000, n_features), chunks=(10_000, n_features))
is_anomaly = da.arange(len(rows), chunks=10_000) % 1000 == 0
X = da.where(is_anomaly[:, None], 3 * rows, rows @ mixing) + 5
X

# %%
# Nothing is computed yet. A detector that was fitted in memory, to every hundredth row, scores
# all of them, and the result is lazy as well. Threads compute it; a cluster would with the same
# lines.

from skanomaly import MahalanobisCosine

sample = X[50::100].compute(scheduler="threads")
detector = MahalanobisCosine().fit(sample)
scores = detector.score_samples(X)
scores

# %%

from sklearn.metrics import roc_auc_score

y = da.where(is_anomaly, -1, 1).compute()
print(f"area under the ROC curve {roc_auc_score(y, scores.compute(scheduler='threads')):.3f}")

# %%
# What is a function of the scores can be computed without holding them: here the share of the
# rows that are flagged, about the 5% of ``contamination``.

share = (detector.predict(X) == -1).mean()
print(f"flagged {share.compute(scheduler='threads'):.3f}")

# %%
# The fit itself takes a Dask array: one pass for the moments of the chunks, another one for their
# rows, which are compared with each other. That is quadratic in the number of rows, so here
# it gets one tenth of them. :doc:`/docs/dask` says what larger fits cost.

import dask

with dask.config.set(scheduler="threads"):
    lazily_fitted = MahalanobisCosine().fit(X[:10_000].rechunk((2_500, n_features)))
    in_memory = lazily_fitted.compute()
new = X[-1000:].compute(scheduler="threads")
print("scores of three new rows", in_memory.score_samples(new)[:3].round(3))

# %%
# The same rows in memory give the same scores.

whole = MahalanobisCosine().fit(X[:10_000].compute(scheduler="threads"))
difference = np.abs(whole.score_samples(new) - in_memory.score_samples(new))
print(f"largest difference {difference.max():.0e}")
