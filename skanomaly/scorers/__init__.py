"""Scores of feature vectors. Nothing here needs torch."""

from ._center_cosine import CenterCosine
from ._ensemble import FeatureEnsemble
from ._ensemble import terms_of as terms_of  # for other modules of the project
from ._mahalanobis_cosine import MahalanobisCosine
from ._neighbor_distance import NeighborDistance
from ._patch_cosine import PatchCosine

__all__ = [
    "CenterCosine",
    "FeatureEnsemble",
    "MahalanobisCosine",
    "NeighborDistance",
    "PatchCosine",
]
