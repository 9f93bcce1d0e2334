"""Files of models, and what the commands ask of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._files import replacing_file

if TYPE_CHECKING:
    import pandas as pd

    from .._base import OutlierDetector

TRUST = """\
Models of images, and of tables of numbers, are data. Others, and what joblib writes, are programs:
load only such models from people you trust."""


def save_model(model: Any, path: Path) -> None:
    """Write a model, as a whole or not at all, as data or else by joblib."""
    import joblib

    from ..saving import save

    try:
        save(model, path)
    except TypeError:  # encoders of strings and dates hold more than data
        with replacing_file(path) as partial:
            joblib.dump(model, partial)


def load_model(path: str) -> Any:
    """A fitted detector, or a pipeline that ends with one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it is no model, or one of something else.
    """
    import joblib

    from ..saving import is_data, load

    try:
        model = load(path) if is_data(path) else joblib.load(path)
    except OSError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # unpickling what is no pickle raises errors of all kinds
        raise ValueError(
            f"{path} is no model, or it is damaged ({type(error).__name__}: {error}); pass what "
            "skanomaly fit has written"
        ) from error
    _check_model(model, path)
    return model


def detector_of(model: Any) -> OutlierDetector:
    """The detector at the end of a pipeline, or the model itself."""
    from sklearn.pipeline import Pipeline

    return model.steps[-1][1] if isinstance(model, Pipeline) else model


def features_of(model: Any, table: pd.DataFrame) -> Any:
    """What the detector of a model scores of a table."""
    return table if detector_of(model) is model else model[:-1].transform(table)


def is_of_images(model: Any) -> bool:
    """Whether a model was fitted on images."""
    return len(getattr(detector_of(model), "sample_shape_", ())) == 3


def check_kind(model: Any, source: str, wants_table: bool) -> None:
    """Refuse to score a table with a model of images, and the other way round.

    Raises
    ------
    ValueError
        If that is asked for.
    """
    if wants_table == is_of_images(model):
        fitted, found = ("images", "a table") if wants_table else ("a table", "images")
        wanted = "a folder of images" if wants_table else "a .csv or .parquet file"
        raise ValueError(
            f"the model was fitted on {fitted}, but {source} is {found}; pass {wanted}"
        )


def _check_model(model: Any, path: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    from .._base import OutlierDetector

    detector = detector_of(model)
    if not isinstance(detector, OutlierDetector):
        raise TypeError(
            f"{path} holds {type(model).__name__}, no detector of skanomaly; pass what skanomaly "
            "fit has written"
        )
    try:
        check_is_fitted(detector)
    except NotFittedError as error:
        raise ValueError(f"{path} holds a detector that is not fitted; fit it first") from error
