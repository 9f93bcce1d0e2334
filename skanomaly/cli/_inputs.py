"""Tables and images as the commands read them."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from ._messages import say

if TYPE_CHECKING:
    import pandas as pd

    from ..images import Images

TABLES = (".csv", ".parquet")
MAX_NAMED = 10  # columns in a message
OTHER_SEPARATORS = (";", "\t", "|")
UNNAMED = "Unnamed: 0"  # what pandas calls an index without a name, after writing and reading it


def is_table(source: str) -> bool:
    """Whether a source is a table, by its name; all else is images."""
    return source.lower().endswith(TABLES)


def check_source(source: str) -> None:
    """Refuse a folder or file that does not exist.

    Raises
    ------
    FileNotFoundError
        If it does not, and is no pattern.
    """
    from glob import has_magic

    if not has_magic(source) and not os.path.exists(source):
        raise FileNotFoundError(f"{source!r} does not exist; pass a folder of images or a CSV file")


def require_pandas() -> None:
    """Refuse what needs pandas before it has cost time.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise ImportError("this needs pandas: pip install 'skanomaly[cli]'") from error


def read_table(source: str) -> pd.DataFrame:
    """The rows of a CSV or Parquet file.

    Raises
    ------
    ValueError
        If it has no rows or is no such file.
    ImportError
        If pandas is not installed, or what it needs for Parquet.
    """
    require_pandas()
    import pandas as pd

    read = pd.read_csv if source.lower().endswith(".csv") else pd.read_parquet
    try:
        table = read(source)
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{source} cannot be read as a table: {error}") from error
    if table.empty:
        raise ValueError(f"{source} has no rows; pass a table with a line of names and one a row")
    names = [str(name) for name in table.columns]
    separators = [sign for sign in OTHER_SEPARATORS if len(names) == 1 and sign in names[0]]
    if separators:
        raise ValueError(
            f"{source} has one column, {names[0]!r}; separate columns by commas instead of "
            f"{separators[0]!r}"
        )
    if names[0] == UNNAMED:
        warnings.warn(f"{source}: the first column has no name and is left out", stacklevel=2)
        table = table.drop(columns=UNNAMED)
    return table


def match_columns(table: pd.DataFrame, model: Any, source: str) -> pd.DataFrame:
    """The columns that a model was fitted on, in their order.

    Columns that it does not know are left out with a warning: an export with one more column has
    the same scores. A missing one would change them.

    Raises
    ------
    ValueError
        If columns are missing.
    """
    expected = getattr(model, "feature_names_in_", None)
    if expected is None:  # fitted on an array in Python
        return table
    missing = [name for name in expected if name not in table.columns]
    extra = [name for name in table.columns if name not in set(expected)]
    if missing:
        raise ValueError(
            f"{source} lacks {_name(missing)}, which the model was fitted on"
            f"{f'; it has {_name(extra)} instead' if extra else ''}"
        )
    if extra:
        warnings.warn(
            f"{source}: the model was not fitted on {_name(extra)}, which is left out", stacklevel=2
        )
    return table[list(expected)]


def read_pictures(source: str, detector: Any, on_error: str) -> Images:
    """Images in the size and with the channels that a detector was fitted on."""
    from ..images import read_images

    shape: Any = getattr(detector, "sample_shape_", ())
    return read_images(
        source,
        image_size=getattr(detector, "image_size", None),
        resize=getattr(detector, "resize", "pad"),
        channels=3 if len(shape) == 3 and shape[0] == 3 else None,
        on_error=on_error,
    )


def describe_images(images: Images, source: str) -> None:
    """Say what was read."""
    height, width = images.pixels.shape[1:3]
    kind = "colour" if images.pixels.ndim == 4 else "gray"
    say(f"{source}: {len(images)} {kind} images, as {height} x {width} pixels")


def _name(columns: list) -> str:
    named = ", ".join(repr(str(name)) for name in columns[:MAX_NAMED])
    more = f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else ""
    return f"the column{'s' if len(columns) > 1 else ''} {named}{more}"
