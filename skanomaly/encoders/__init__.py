"""Encoders: transformers that turn images and tables into features."""

from ._augmentations import ImageAugmentation
from ._pretrained import PretrainedEncoder
from ._row_views import ColumnCorruption
from ._self_supervised import SelfSupervisedEncoder
from .objectives import BYOL, Objective, ShiftedSimCLR, SimCLR, SimSiam

__all__ = [
    "BYOL",
    "ColumnCorruption",
    "ImageAugmentation",
    "Objective",
    "PretrainedEncoder",
    "SelfSupervisedEncoder",
    "ShiftedSimCLR",
    "SimCLR",
    "SimSiam",
]
