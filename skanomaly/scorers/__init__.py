"""Scores of feature vectors. Nothing here needs torch."""

from ._cosine import CenterCosine, MahalanobisCosine
from ._ensemble import FeatureEnsemble

__all__ = ["CenterCosine", "FeatureEnsemble", "MahalanobisCosine"]
