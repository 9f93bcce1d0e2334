"""What the sections of a report show, as the template takes it."""

from __future__ import annotations

import contextlib
import inspect
import os
import platform
import textwrap
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control
from sklearn import config_context
from sklearn.utils import Bunch

from .. import _version
from .._array_api import to_numpy
from .._base import OutlierDetector
from .._samples import take_samples
from ..images import read_images
from ._agreement import agreement
from ._figures import histogram
from ._pictures import data_uri, gradient, overlay, thumbnail

DISCOVERY_RATES = (0.05, 0.1)
N_LARGEST = 3  # contributions that are named beside a row
PACKAGES = ("numpy", "torch", "scikit-learn")
LONGEST_VALUE = 500  # characters of a setting


def describe(
    detector: OutlierDetector, X: Any, labels: np.ndarray | None, n_shown: int
) -> dict[str, Any]:
    """All that the template needs but the title."""
    scored = detector.score_samples(X)
    detector._warn_if_trimmed()
    scores, p_values = to_numpy(scored), to_numpy(detector._p_values(scored))
    flagged = scores < detector.offset_
    training_scores = to_numpy(detector.training_scores_)
    sets = {"training samples": training_scores}
    if labels is None:
        sets["samples"] = scores
    else:
        sets |= {"normal samples": scores[labels == 1], "anomalies": scores[labels == -1]}
    n_anomalous = min(n_shown, (len(scores) + 1) // 2)
    n_normal = min(n_shown, len(scores) - n_anomalous)
    order = np.argsort(scores, kind="stable")
    shown = np.concatenate([order[:n_anomalous], order[len(scores) - n_normal :][::-1]])
    names = getattr(X, "paths", None)
    if hasattr(X, "iloc"):
        names = X.index
    entries = [
        {
            "name": str(i if names is None else names[i]),
            "score": scores[i],
            "p_value": p_values[i],
            "is_flagged": flagged[i],
            "label": None if labels is None else {1: "normal", -1: "anomaly"}[labels[i]],
            "largest": [],
        }
        for i in shown.tolist()
    ]
    return {
        "n_samples": len(scores),
        "n_flagged": int(flagged.sum()),
        "n_training": len(training_scores),
        "threshold": detector.offset_,
        "contamination": detector._rate,
        "is_trimmed": detector._is_trimmed,
        "discoveries": _discoveries(p_values, labels),
        "histogram": histogram(sets, detector.offset_),
        "accuracy": None if labels is None else agreement(labels, scores, detector.offset_),
        "lists": [
            ("Most anomalous", entries[:n_anomalous]),
            ("Most normal", entries[n_anomalous:]),
        ],
        **_explain_entries(entries, detector, take_samples(X, shown), n_anomalous),
        "detector": type(detector).__name__,
        "settings": list(_settings(detector)),
        "fitted_parts": list(_fitted_parts(detector)),
        "versions": _versions(),
    }


def _explain_entries(
    entries: list[dict], detector: Any, rows: Any, n_anomalous: int
) -> dict[str, Any]:
    """Add to entries what explains them; what the template needs besides."""
    checked = detector._check_input(rows, "explain")
    has_images = len(getattr(detector, "sample_shape_", ())) == 3
    _add_nearest(entries, detector, checked, has_images)
    explanation = Bunch(members=[], contributions=None, heatmaps=None)
    if hasattr(detector, "explain"):
        explanation |= detector.explain(rows)
    has_parts = len(explanation.members) > 1
    folder, scale = "", None
    if has_images:
        scale = _add_pictures(entries, checked, explanation.heatmaps)
        folder = _shorten_paths(entries)
    elif has_parts:
        _add_largest(entries, explanation)
    return {
        "has_images": has_images,
        "folder": folder,
        "scale": scale,
        "gradient": gradient(),
        "contributions": _contributions(explanation, n_anomalous) if has_parts else [],
    }


def _add_nearest(entries: list[dict], detector: Any, checked: Any, has_images: bool) -> None:
    """The nearest training sample as in `predict_frame`: its file or position, and its picture."""
    _, nearest = detector._scores_and_nearest(checked, detector._find_known(checked))
    paths = getattr(detector, "training_paths_", None)
    for place, entry in enumerate(entries):
        entry["nearest"] = entry["nearest_picture"] = None
        if nearest is not None:
            position = int(nearest[place])
            entry["nearest"] = position if paths is None else paths[position]
        if has_images and isinstance(entry["nearest"], str):
            entry["nearest_picture"] = _read_picture(entry["nearest"], detector)


def _read_picture(path: str, detector: Any) -> str | None:
    """A file as the detector sees it; None if it is no longer there or cannot be read."""
    channels, *size = detector.sample_shape_
    resize = getattr(detector, "resize", "pad")
    try:
        images = read_images([path], image_size=size, resize=resize, channels=channels)
    except (OSError, ValueError):
        return None
    return data_uri(thumbnail(images.pixels[0]))


def _add_pictures(
    entries: list[dict], images: np.ndarray, heatmaps: np.ndarray | None
) -> tuple[float, float] | None:
    """Pictures of images, and of their heatmaps; the least and the largest angle of all."""
    scale = None if heatmaps is None else (float(heatmaps.min()), float(heatmaps.max()))
    for place, entry in enumerate(entries):
        picture = thumbnail(images[place].transpose(1, 2, 0))
        entry["picture"], entry["heatmap"] = data_uri(picture), None
        if heatmaps is not None and scale is not None:
            entry["heatmap"] = data_uri(overlay(picture, heatmaps[place], *scale))
    return scale


def _shorten_paths(entries: list[dict]) -> str:
    """Cut from all paths the folder that they are in, and return it."""
    paths = [value for entry in entries for value in (entry["name"], entry["nearest"])]
    paths = [path for path in paths if isinstance(path, str)]
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # of which some are absolute, or on another drive
        return ""
    start = os.path.join(folder, "")
    if len(folder) < 2 or not all(path.startswith(start) for path in paths):
        return ""
    for entry in entries:
        for key in ("name", "nearest"):
            if isinstance(entry[key], str):
                entry[key] = entry[key][len(start) :]
    return folder


def _add_largest(entries: list[dict], explanation: Bunch) -> None:
    """Names and values of the largest contributions to each score."""
    for entry, values in zip(entries, to_numpy(explanation.contributions), strict=True):
        largest = np.argsort(-values, kind="stable")[:N_LARGEST]
        entry["largest"] = [(explanation.members[i], values[i]) for i in largest]


def _contributions(explanation: Bunch, n_anomalous: int) -> list[dict]:
    """Tables of the contributions to the scores of the most anomalous samples.

    One is by layer, if there are several, and one by member. A last column has the mean of the
    most normal samples.
    """
    values = to_numpy(explanation.contributions)
    has_normal = len(values) > n_anomalous
    by_layer = sum_by_layer(explanation.members, values)
    tables = [("member", dict(zip(explanation.members, values.T, strict=True)))]
    if 1 < len(by_layer) < len(explanation.members):
        tables.insert(0, ("layer", by_layer))
    return [
        {
            "by": by,
            "rows": [
                (name, row[:n_anomalous], row[n_anomalous:].mean() if has_normal else None)
                for name, row in table.items()
            ],
            "largest": max(max(row.max() for row in table.values()), 1e-300),
        }
        for by, table in tables
    ]


def sum_by_layer(members: list[str], contributions: np.ndarray) -> dict[str, np.ndarray]:
    """For each layer the sum of what its members contribute to the scores (n_samples,)."""
    layers = np.array([member.rpartition("/")[0] or member for member in members])
    return {
        str(layer): contributions[:, layers == layer].sum(axis=1) for layer in dict.fromkeys(layers)
    }


def _discoveries(p_values: np.ndarray, labels: np.ndarray | None) -> list[dict]:
    adjusted = false_discovery_control(p_values)
    return [
        {
            "rate": rate,
            "n_remaining": int((adjusted <= rate).sum()),
            "n_normal": None if labels is None else int((labels[adjusted <= rate] == 1).sum()),
        }
        for rate in DISCOVERY_RATES
    ]


def _settings(estimator: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Parameters that are not defaults, and all seeds."""
    defaults = inspect.signature(type(estimator).__init__).parameters
    for name, value in estimator.get_params(deep=False).items():
        is_part = hasattr(value, "get_params") and not isinstance(value, type)
        default = getattr(defaults.get(name), "default", inspect.Parameter.empty)
        if is_part:
            yield prefix + name, type(value).__name__
            yield from _settings(value, f"{prefix}{name}__")
        elif name == "random_state" or repr(value) != repr(default):
            yield prefix + name, textwrap.shorten(repr(value), LONGEST_VALUE)


def _fitted_parts(detector: Any) -> Iterator[tuple[str, str]]:
    """Encoder and scorer with the parameters and seeds that they were fitted with."""
    with config_context(print_changed_only=True):
        for name in ("encoder_", "scorer_"):
            if getattr(detector, name, None) is not None:
                yield name, textwrap.shorten(repr(getattr(detector, name)), LONGEST_VALUE)


def _versions() -> dict[str, str]:
    versions = {"skanomaly": _version.__version__, "Python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # torch is not needed by all
            versions[name] = metadata.version(name)
    return versions
