"""Files of fitted estimators that hold data and no code."""

# repeated, as it is for other packages of the project, and not public
from ._savable import SavableMixin as SavableMixin
from ._save import is_data, load, save, saved_versions
from ._types import TRUSTED_TYPES

__all__ = ["TRUSTED_TYPES", "is_data", "load", "save", "saved_versions"]
