"""Checks what is reported, and writes the page."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from importlib import resources
from numbers import Integral
from pathlib import Path
from typing import TextIO

import jinja2
from sklearn.utils.validation import check_is_fitted

from .._base import OutlierDetector
from .._files import beside, replacing_file
from .._samples import check_labels, count_samples
from .._validation import read_samples
from ._sections import describe


def write_report(detector, X, path, *, y=None, n_images=12, title=None):
    """Score samples, and write what was found as one HTML page.

    The page has the distribution of the scores with the threshold, the most anomalous and the
    most normal samples, p-values and what remains of them at a false-discovery rate, the
    contributions of the layers if the detector has ``explain``, its settings and the versions of
    the packages. Images are shown with their heatmaps and the nearest training images. The page
    loads nothing from elsewhere and runs no script.

    Parameters
    ----------
    detector : outlier detector
        A fitted detector of this package.
    X : images, array-like of shape (n_samples, n_features), or dict of str to such arrays
        Samples as the detector scores them, such as a folder of images.
    path : path-like
        File to write. It is replaced as a whole, when the page is complete.
    y : array-like of shape (n_samples,), optional
        Labels, +1 for normal samples and -1 for anomalies. With them the page also has the ROC
        and the precision-recall curve.
    n_images : int, default=12
        Number of the most anomalous samples, and of the most normal ones, that are shown: at most
        half of all.
    title : str, optional
        Heading of the page.

    Raises
    ------
    ValueError, TypeError
        If X is empty or not what was fitted, or y are no such labels.
    OSError
        If the file cannot be written, naming its path. Whether its folder exists and can be
        written to is found out before anything is scored.

    Warns
    -----
    UserWarning
        If training samples were left out of the fit by `trim`, as of ``p_values``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from skanomaly import MahalanobisCosine, write_report
    >>> X = np.random.default_rng(0).normal(size=(200, 3)) + [8, 4, 2]
    >>> detector = MahalanobisCosine().fit(X)
    >>> with TemporaryDirectory() as folder:
    ...     write_report(detector, -X, f"{folder}/report.html", title="Mirrored")
    ...     page = Path(folder, "report.html").read_text()
    >>> "<h1>Mirrored</h1>" in page
    True
    """
    if not isinstance(detector, OutlierDetector):
        raise TypeError(
            f"detector is {type(detector).__name__}; pass a fitted outlier detector of skanomaly"
        )
    check_is_fitted(detector)
    if not isinstance(n_images, Integral) or n_images < 1:
        raise ValueError(f"n_images={n_images!r}; pass an int of at least 1")
    with _replacing(Path(path)) as file:
        X = read_samples(detector, X, reset=False)
        n_samples = count_samples(X)
        if n_samples == 0:
            raise ValueError("X has no samples; pass at least one")
        labels = None if y is None else check_labels(y, n_samples)
        page = describe(detector, X, labels, int(n_images))
        page["title"] = title or f"{type(detector).__name__}: {n_samples} samples"
        file.write(_template().render(page))


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path`, if that can be written and nothing fails."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        beside(path).touch()
    except OSError as error:
        raise OSError(
            error.errno,
            f"the report cannot be written: {error.strerror}; pass a file in a folder that exists "
            "and that you may write to",
            str(path),
        ) from error
    with (
        replacing_file(path) as partial,
        # names of files may have bytes that are no text
        open(partial, "w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        yield file


def _template() -> jinja2.Template:
    source = resources.files(__package__).joinpath("report.html.jinja").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = lambda value: f"{value:.4g}"
    environment.filters["percent"] = lambda value: f"{100 * value:.3g} %"
    return environment.from_string(source)
