"""The classes that files of models may hold."""

from __future__ import annotations

import importlib
from typing import Any

from sklearn.base import BaseEstimator

_OURS = {
    "CenterCosine": "skanomaly.scorers._center_cosine",
    "ChunkedRows": "skanomaly.scorers._chunked_rows",
    "DUMDetector": "skanomaly.dum",
    "EarlyStopping": "skanomaly._training._stopping",
    "EmbeddingDiagnostics": "skanomaly.diagnostics._recorder",
    "FaissRows": "skanomaly.scorers._faiss",
    "FeatureEnsemble": "skanomaly.scorers._ensemble",
    "MahalanobisCosine": "skanomaly.scorers._mahalanobis_cosine",
    "NSADetector": "skanomaly.nsa",
    "NearestRows": "skanomaly._nearest_rows",
    "NeighborDistance": "skanomaly.scorers._neighbor_distance",
    "OnnxBlocks": "skanomaly.encoders._onnx",
    "PatchCosine": "skanomaly.scorers._patch_cosine",
    "PretrainedEncoder": "skanomaly.encoders._pretrained",
    "SelfSupervisedEncoder": "skanomaly.encoders._self_supervised",
    "SpreadLimiter": "skanomaly._uncertainty._scaling",
    "TrainingRows": "skanomaly._training_rows",
    "TreeRows": "skanomaly.scorers._trees",
    "Whitening": "skanomaly._whitening",
}
TRUSTED_TYPES = [f"{module}.{name}" for name, module in _OURS.items()]
"""Classes of this package in fitted estimators: what ``skops.io.load`` takes as ``trusted``."""

# public ones; others, such as those of tests, would be run by being imported
_MODULES = [
    "sklearn.compose",
    "sklearn.covariance",
    "sklearn.decomposition",
    "sklearn.feature_extraction",
    "sklearn.feature_selection",
    "sklearn.frozen",
    "sklearn.impute",
    "sklearn.kernel_approximation",
    "sklearn.linear_model",
    "sklearn.mixture",
    "sklearn.neighbors",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.random_projection",
    "sklearn.svm",
]


def name_of_class(cls: type) -> str | None:
    """The name by which files know a class; None if they may not hold it."""
    if _OURS.get(cls.__name__) == cls.__module__:
        return cls.__name__
    # modules whose names begin with an underscore may be moved
    name = f"{cls.__module__.partition('._')[0]}.{cls.__name__}"
    try:
        return name if class_of_name(name) is cls else None
    except ValueError:
        return None


def class_of_name(name: str) -> Any:
    """The class that files know by a name.

    Raises
    ------
    ValueError
        If it is not one that they may hold.
    """
    if name in _OURS:
        return getattr(importlib.import_module(_OURS[name]), name)
    module, _, class_name = name.rpartition(".")
    if module in _MODULES:
        cls = getattr(importlib.import_module(module), class_name, None)
        if isinstance(cls, type) and issubclass(cls, BaseEstimator):
            return cls
    raise ValueError(f"{name!r} is not a class that a file of a model may hold")
