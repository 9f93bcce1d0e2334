"""Tables with strings, categories, dates and gaps, as pandas and polars frames have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from .nsa import NSADetector

TEXT_COLUMNS = 5  # that stand for a column of many strings: as many as for a date with its hour


def make_table_pipeline(detector: Any = None) -> Pipeline:
    """Detector for frames with strings, categories, booleans, dates and gaps.

    A pipeline of skrub's ``TableVectorizer``, scikit-learn's ``SimpleImputer`` and the detector,
    all of whose columns are numbers then:

    - Numbers, booleans and durations stay as they are.
    - Strings and categories with at most 40 values become a column for each value. A value that is
      new when scoring is none of them.
    - A column with more values becomes 5 columns, from the pieces of the strings that occur
      together.
    - A date becomes year, month, day, hour and seconds since 1970.
    - Gaps are filled with the column's mean, and marked in a column of their own, without which
      rows with many gaps would look the most normal. For strings and categories, a gap is a value.
      A gap in a column of numbers or dates that had none in ``fit`` is filled, but not marked.
    - Columns that are empty in ``fit`` are left out.

    Parameters
    ----------
    detector : outlier detector, optional
        Any of this package or of scikit-learn. By default ``NSADetector()``, which scores by the
        distance to the 5 nearest rows, in standard deviations of the columns.

    Returns
    -------
    pipeline : sklearn.pipeline.Pipeline
        Its steps are "vectorizer", "imputer" and "detector": a search sets
        ``vectorizer__cardinality_threshold`` or ``detector__n_neighbors``. Frames to score need the
        columns of ``fit`` in the same order, which ``frame[list(pipeline.feature_names_in_)]``
        gives. Methods that a Pipeline does not pass on are called as
        ``pipeline[-1].p_values(pipeline[:-1].transform(frame))``.

    Raises
    ------
    ImportError
        If skrub is not installed, which the extra "tables" brings.

    See Also
    --------
    NSADetector : The default detector.
    NeighborDistance : The same score, whose parameters can be searched.

    Examples
    --------
    >>> import pandas as pd
    >>> from skanomaly import make_table_pipeline
    >>> frame = pd.DataFrame({"city": ["Oslo", "Rome"] * 50, "degrees": [4.0, 19.0] * 50})
    >>> frame["degrees"] += [i / 100 for i in range(100)]
    >>> pipeline = make_table_pipeline().fit(frame)
    >>> new = pd.DataFrame({"city": ["Oslo", "Oslo", "Bern"], "degrees": [4.5, 19.5, 4.5]})
    >>> pipeline.predict(new)
    array([ 1, -1, -1])
    """
    try:
        from skrub import StringEncoder, TableVectorizer
    except ImportError as error:
        raise ImportError(
            "tables with strings and dates need skrub: pip install 'skanomaly[tables]'"
        ) from error
    vectorizer = TableVectorizer(
        # with a column for both of two values, a third one differs from either
        low_cardinality=OneHotEncoder(
            handle_unknown="ignore", sparse_output=False, dtype=np.float32
        ),
        high_cardinality=StringEncoder(n_components=TEXT_COLUMNS, random_state=0),
    )
    return Pipeline(
        [
            ("vectorizer", vectorizer),
            ("imputer", SimpleImputer(add_indicator=True)),
            ("detector", NSADetector() if detector is None else detector),
        ]
    )
