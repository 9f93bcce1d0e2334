"""
Has the input changed?
======================

A detector in use sees samples that come in over months. Do they still come from the distribution
that it was trained on? :meth:`~skanomaly.DUMDetector.shift_test` compares the scores of each
window of a stream with those of the training samples.

The stream is made up: six measurements, one of which starts to drift after 1,000 samples.
"""

import numpy as np

rng = np.random.default_rng(0)
mixing = rng.normal(size=(6, 6))
X = rng.normal(size=(1000, 6)) @ mixing
stream = rng.normal(size=(2000, 6)) @ mixing
stream[1000:, 0] += np.linspace(0, 4 * X[:, 0].std(), 1000)

# %%
# The deep uncertainty model learns how certain it can be of a sample. Fewer networks and epochs
# than by default do for a demonstration.

from skanomaly import DUMDetector

detector = DUMDetector(n_estimators=8, max_epochs=100, random_state=0).fit(X)
result = detector.shift_test(stream, window=100)
print("windows with p < 0.001:", np.flatnonzero(result.p_value < 0.001))

# %%
# The drift starts in window 10. A small one is found late or not at all, so look at the effect
# size as well: it grows with the drift.

from skanomaly.plotting import ShiftDisplay

ShiftDisplay.from_estimator(detector, stream, window=100)
