"""Files of fitted estimators that hold data and no code."""

from ._save import load, save
from ._types import TRUSTED_TYPES

__all__ = ["TRUSTED_TYPES", "load", "save"]
