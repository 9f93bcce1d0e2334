"""Files of fitted estimators that hold data and no code."""

from ._save import is_data, load, save, saved_versions
from ._types import TRUSTED_TYPES

__all__ = ["TRUSTED_TYPES", "is_data", "load", "save", "saved_versions"]
