"""
Polluted training data
======================

What if there are anomalies among the training images, and nobody knows which? An outlier that is
like one of the training has a near neighbour there, and looks normal. Scores that look at more
than the nearest image suffer less.

:func:`~skanomaly.datasets.one_vs_rest` makes the papers' protocol: T-shirts to train on, a tenth
of which are other clothes.
"""

import numpy as np

from skanomaly.datasets import load_fashion_mnist_sample, one_vs_rest

data = load_fashion_mnist_sample("t-shirt")
X = np.concatenate([data.X_train[:400], data.X_test[::2]])
kinds = np.concatenate([np.full(400, "t-shirt"), data.class_test[::2]])
splits = {
    share: one_vs_rest(X, kinds, "t-shirt", pollution=share, test_size=0.3, random_state=0)
    for share in (0.0, 0.1)
}

# %%
# One network is trained on each set, for ten epochs, and shared by the scores. The ensemble "all"
# is the default of :class:`~skanomaly.NSADetector`; "robust" averages the angles to the nearest 5%
# of the training images.

from sklearn.metrics import roc_auc_score

from skanomaly import FeatureEnsemble, MahalanobisCosine, SelfSupervisedEncoder

scorers = {
    "nearest image, last block": MahalanobisCosine(),
    'FeatureEnsemble("all")': FeatureEnsemble("all"),
    'FeatureEnsemble("robust")': FeatureEnsemble("robust"),
}
areas = {name: [] for name in scorers}
for split in splits.values():
    encoder = SelfSupervisedEncoder(max_epochs=10, augment="grayscale", random_state=0)
    blocks = encoder.fit(split.X_train).transform_blocks(split.X_train)
    new_blocks = encoder.transform_blocks(split.X_test)
    last = list(blocks)[-1]
    for name, scorer in scorers.items():
        whole = isinstance(scorer, FeatureEnsemble)
        scorer.fit(blocks if whole else blocks[last])
        scores = scorer.score_samples(new_blocks if whole else new_blocks[last])
        areas[name].append(roc_auc_score(split.y_test, scores))

# %%
# A tenth of outliers costs all of them something. One draw of 400 images says little about a
# difference of a point; :doc:`/docs/scores` has the means over classes and seeds.

import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 3), layout="tight")
for name, values in areas.items():
    ax.plot(["clean", "10% outliers"], values, "o-", label=name)
    print(f"{name:26s} {values[0]:.3f} {values[1]:.3f}")
ax.set(ylabel="area under the ROC curve")
ax.legend()
