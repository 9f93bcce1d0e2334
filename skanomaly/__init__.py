"""Anomaly detection with scikit-learn's interface.

Importing the package is cheap: each public name, and torch with those that need it, is imported
when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

_HOME = {
    "CenterCosine": "scorers",
    "DUMDetector": "dum",
    "EarlyStopping": "_training",
    "FeatureEnsemble": "scorers",
    "Images": "images",
    "MahalanobisCosine": "scorers",
    "NSADetector": "nsa",
    "NeighborDistance": "scorers",
    "OneClassKFold": "model_selection",
    "PatchCosine": "scorers",
    "PretrainedEncoder": "encoders",
    "SelfSupervisedEncoder": "encoders",
    "load": "saving",
    "make_table_pipeline": "tables",
    "read_images": "images",
    "save": "saving",
    "write_report": "report",
}

if TYPE_CHECKING:
    from ._training import EarlyStopping
    from .dum import DUMDetector
    from .encoders import PretrainedEncoder, SelfSupervisedEncoder
    from .images import Images, read_images
    from .model_selection import OneClassKFold
    from .nsa import NSADetector
    from .report import write_report
    from .saving import load, save
    from .scorers import (
        CenterCosine,
        FeatureEnsemble,
        MahalanobisCosine,
        NeighborDistance,
        PatchCosine,
    )
    from .tables import make_table_pipeline

__all__ = [
    "CenterCosine",
    "DUMDetector",
    "EarlyStopping",
    "FeatureEnsemble",
    "Images",
    "MahalanobisCosine",
    "NSADetector",
    "NeighborDistance",
    "OneClassKFold",
    "PatchCosine",
    "PretrainedEncoder",
    "SelfSupervisedEncoder",
    "__version__",
    "load",
    "make_table_pipeline",
    "read_images",
    "save",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
