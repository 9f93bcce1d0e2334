"""
Parts of your own
=================

Objective, network, views and score can each be replaced by a few lines.
"""

from skanomaly.datasets import load_fashion_mnist_sample

data = load_fashion_mnist_sample("t-shirt")
images, X, y = data.X_train[:300], data.X_test[::10], data.y_test[::10]

# %%
# An objective is a subclass of :class:`~skanomaly.encoders.Objective`. It gets the embeddings of
# both views, one after the other, and returns a scalar. This one pulls the two views of a sample
# together and pushes the samples apart (Wang and Isola, 2020).

import torch

from skanomaly.encoders import Objective


class AlignAndSpread(Objective):
    def forward(self, embedding):
        z = self.project(embedding)
        z1, z2 = z.chunk(2)
        alignment = (z1 - z2).square().sum(dim=1).mean()
        return alignment + torch.pdist(z).square().mul(-2).exp().mean().log()


# %%
# A network is any module. Its blocks are found by running it.

from torch import nn

backbone = nn.Sequential(
    nn.Conv2d(1, 16, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(32, 64, 3, stride=2, padding=1),
)

# %%
# Views are made by a function of a batch of floats in [0, 1] and a generator, from which it takes
# all its random numbers. Here images get noise, and a piece of each is covered.


def augment(batch, generator):
    n, _, height, width = batch.shape
    corners = torch.rand(n, 2, generator=generator, device=batch.device) * 0.7
    rows = torch.arange(height, device=batch.device) / height - corners[:, :1]
    columns = torch.arange(width, device=batch.device) / width - corners[:, 1:]
    in_rows, in_columns = (rows > 0) & (rows < 0.3), (columns > 0) & (columns < 0.3)
    is_covered = in_rows[:, :, None] & in_columns[:, None]
    noise = torch.randn(batch.shape, generator=generator, device=batch.device)
    return (batch + 0.1 * noise).masked_fill(is_covered[:, None], 0).clip(0, 1)


# %%
# What the views look like:

from skanomaly import NSADetector, SelfSupervisedEncoder
from skanomaly.plotting import ViewDisplay

encoder = SelfSupervisedEncoder(
    AlignAndSpread, backbone=backbone, augment=augment, max_epochs=10, random_state=0
)
ViewDisplay.from_estimator(encoder, images[:4], n_views=4)

# %%
# A score is any estimator with ``fit`` and ``score_samples``, which is higher for more normal
# samples. It gets the features of all blocks in one array. This one is minus the distance to
# the center, in units of the mean distance.

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin


class CenterDistance(OutlierMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.center_ = X.mean(axis=0)
        self.scale_ = np.linalg.norm(X - self.center_, axis=1).mean()
        return self

    def score_samples(self, X):
        return -np.linalg.norm(X - self.center_, axis=1) / self.scale_


# %%
# The detector adds what is missing: threshold, labels and p-values, from scores of training
# images by copies that were fitted to others. The default score on the same encoder stands beside.

from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score

frozen = FrozenEstimator(encoder.fit(images))
for name, scorer in ("own score", CenterDistance()), ("default", None):
    detector = NSADetector(frozen, scorer).fit(images)
    print(f"{name:10s} {roc_auc_score(y, detector.score_samples(X)):.3f}")

# %%
# As everywhere, parts can be searched: they are parameters like any other. Define their classes
# in a module that can be imported if the detector is to be pickled.

NSADetector(SelfSupervisedEncoder(AlignAndSpread, backbone=backbone), CenterDistance())
