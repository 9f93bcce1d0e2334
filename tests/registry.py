"""Small instances of every estimator, for the tests that all of them must pass."""

import torch
from torch import nn

from skanomaly import (
    CenterCosine,
    DUMDetector,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    PatchCosine,
    PretrainedEncoder,
    SelfSupervisedEncoder,
)

SHORT = {"n_estimators": 2, "hidden_layers": (8, 8), "max_epochs": 4}


class AnyWidth(nn.Module):
    """A network for tables of any number of columns: sums of sines of them.

    It has no weights, since joblib's hash, by which scikit-learn compares parameters, differs
    between a tensor and its copy.
    """

    def forward(self, x):
        frequencies = torch.linspace(0.1, 1, 8, dtype=x.dtype)
        return torch.sin(x[:, :, None] * frequencies + 1).sum(dim=1)


def make_estimators():
    """Estimators that take tables: one of each class, then `make_variants`."""
    return [*make_one_of_each_class(), *make_variants()]


def make_one_of_each_class():
    """Defaults, but for trainings as short as can be."""
    return [
        MahalanobisCosine(),
        NeighborDistance(),
        PatchCosine(),
        CenterCosine(),
        FeatureEnsemble(),
        SelfSupervisedEncoder(max_epochs=2),
        PretrainedEncoder(AnyWidth()),
        DUMDetector(**SHORT),
        NSADetector(SelfSupervisedEncoder(max_epochs=1)),
    ]


def make_variants():
    """Those with other parameters that take another path."""
    return [
        MahalanobisCosine(3, whiten=False),
        MahalanobisCosine(center=True, shrinkage=None, n_components=2, trim=0.1),
        MahalanobisCosine(index="faiss"),
        NeighborDistance(2, aggregation="largest", standardize=False),
        PatchCosine(whiten=True, sampling="coreset", max_patches=20, pooling="max", max_shift=0),
        CenterCosine(whiten=False),
        FeatureEnsemble("all"),
        SelfSupervisedEncoder("simsiam", max_epochs=1),
        DUMDetector(covariance="circular", bag_size=3, views="noise", max_features=2, **SHORT),
        DUMDetector(objective="dot", bag_size=2, max_samples=None, scaling="minmax", **SHORT),
        # what is encoded is whitened
        DUMDetector(PretrainedEncoder(AnyWidth()), trim=0.0, **SHORT),
        NSADetector(),
        NSADetector(PretrainedEncoder(AnyWidth()), MahalanobisCosine()),
        NSADetector(SelfSupervisedEncoder("byol", max_epochs=1, layers="last"), CenterCosine()),
    ]


def make_image_estimators():
    """Estimators that do not take tables."""
    return [PretrainedEncoder("mobilenet_v3_small", weights=None, image_size=32)]


def make_detectors():
    """The estimators that have ``score_samples``."""
    return [e for e in make_estimators() if hasattr(e, "score_samples")]


def identify(estimator):
    """Test id: the estimator with the parameters that are not defaults."""
    return "".join(str(estimator).split())
