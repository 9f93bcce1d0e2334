"""
p-values and a false-discovery rate
===================================

``predict`` flags a fixed share of the normal samples. Among many new samples, most of which are
normal, that can be more false alarms than finds. With p-values you choose instead which share of
the flagged samples may be normal: the false-discovery rate.

The data are made up: 2,000 normal samples to train on, and 1,000 new ones, 30 of which are
anomalies.
"""

import numpy as np

rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 4))
X_new = rng.normal(size=(1000, 4))
X_new[:30] += 5
is_anomaly = np.arange(1000) < 30

# %%
# ``p_values`` compares the score of a new sample with the leave-one-out scores of the training
# samples. The least possible p-value is 1 / (n + 1), so low rates need many training samples.

from scipy.stats import false_discovery_control

from skanomaly import NeighborDistance

detector = NeighborDistance().fit(X)
p_values = detector.p_values(X_new)
flagged = {"predict": detector.predict(X_new) == -1}
for rate in (0.2, 0.1):
    flagged[f"rate {rate}"] = false_discovery_control(p_values) <= rate
for name, found in flagged.items():
    print(f"{name:9s} flagged {found.sum():3d}, of which normal {(found & ~is_anomaly).sum():3d}")

# %%
# The rate holds on average, not in each set: this one has more false alarms than most. Over 50
# draws of training and new samples the mean share of normal ones among the flagged is close to 0.1.

shares = []
for seed in range(50):
    rng = np.random.default_rng(seed)
    detector.fit(rng.normal(size=(2000, 4)))
    X_new = rng.normal(size=(1000, 4))
    X_new[:30] += 5
    found = false_discovery_control(detector.p_values(X_new)) <= 0.1
    shares.append((found & ~is_anomaly).sum() / max(found.sum(), 1))
print(f"{np.mean(shares):.3f} +- {np.std(shares) / np.sqrt(50):.3f}")

import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 3), layout="tight")
ax.hist(shares, np.linspace(0, 0.5, 21))
ax.set(xlabel="share of normal samples among the flagged", ylabel="draws")
