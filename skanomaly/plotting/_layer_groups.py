"""Explanations of scores, layer by layer or member by member."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._array_api import to_numpy
from ..nsa import NSADetector
from ..report import sum_by_layer
from ..scorers import FeatureEnsemble
from ._style import check_option

GROUPS = ("layer", "member")


def explain(detector: Any, X: Any) -> tuple[np.ndarray, list[str]]:
    """Contributions (n_samples, n_members), and what the members are called."""
    if isinstance(detector, NSADetector):
        explanation = detector.explain(X, layer=None)
    elif isinstance(detector, FeatureEnsemble):
        explanation = detector.explain(X)
    else:
        raise TypeError(
            f"estimator is {type(detector).__name__}; pass a fitted NSADetector or FeatureEnsemble"
        )
    return to_numpy(explanation.contributions), explanation.members


def group(contributions: np.ndarray, members: list[str], by: str) -> dict[str, np.ndarray]:
    """Contributions (n_samples,) of each layer or member, by its name."""
    check_option("by", by, GROUPS)
    if by == "layer":
        return sum_by_layer(members, contributions)
    return dict(zip(members, contributions.T, strict=True))
