"""skanomaly info: what a model is."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from ._models import TRUST, detector_of, is_of_images, load_model

SUMMARY = "print what a model is"
DESCRIPTION = f"""\
Print what a model is, on what it was fitted, the parameters that differ from the defaults, and the
versions of the packages that wrote it and that are installed here.

{TRUST}
"""
EXAMPLES = """\
example:
  skanomaly info parts.model
"""
PACKAGES = ("skanomaly", "numpy", "scikit-learn", "torch")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that skanomaly fit has written")


def run(options: argparse.Namespace) -> None:
    for name, value in _describe(load_model(options.model), options.model):
        print(f"{name + ':':<18}{value}")


def _describe(model: Any, path: str) -> Iterator[tuple[str, Any]]:
    from sklearn import config_context

    from ..saving import is_data, saved_versions

    detector = detector_of(model)
    yield "model", f"{path}, {os.path.getsize(path) / 2**20:.1f} MiB"
    with config_context(print_changed_only=True):
        yield "detector", " ".join(repr(model).split())
    for part in ("encoder_", "scorer_"):
        if hasattr(detector, part):
            yield part[:-1], type(getattr(detector, part)).__name__
    yield "training samples", len(detector.training_scores_)
    if is_of_images(model):
        channels, height, width = detector.sample_shape_
        kind = "colour" if channels == 3 else "gray"
        yield "images", f"{kind}, {height} x {width} pixels"
        if getattr(detector, "image_size", None) is not None:
            yield "resize", detector.resize
    else:
        names = getattr(model, "feature_names_in_", None)
        columns = model.n_features_in_ if names is None else ", ".join(map(str, names))
        yield "columns", columns
    share = f"{100 * detector._rate:.3g} % of the training samples were"
    yield "threshold", f"{detector.offset_:.6g}; samples below are outliers, as {share}"
    if is_data(path):
        yield "saved with", ", ".join(" ".join(pair) for pair in saved_versions(path).items())
    versions = [f"{package} {metadata.version(package)}" for package in PACKAGES]
    yield "versions here", ", ".join([f"Python {platform.python_version()}", *versions])
