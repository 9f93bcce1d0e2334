"""Encoders: transformers that turn images and tables into features."""

# names that are repeated are for other packages of the project, and not public
from ._augmentations import PRESETS as PRESETS
from ._augmentations import ImageAugmentation
from ._augmentations import draw_views as draw_views
from ._augmentations import make_augmentation as make_augmentation
from ._base_encoder import BaseEncoder as BaseEncoder
from ._onnx_export import export_features as export_features
from ._preprocessing import as_float as as_float
from ._pretrained import PretrainedEncoder
from ._row_views import ROW_VIEWS as ROW_VIEWS
from ._row_views import ColumnCorruption
from ._row_views import RowViews as RowViews
from ._row_views import Views as Views
from ._self_supervised import COLLAPSED as COLLAPSED
from ._self_supervised import SelfSupervisedEncoder
from .objectives import BYOL, MeanShifted, Objective, ShiftedSimCLR, SimCLR, SimSiam

__all__ = [
    "BYOL",
    "ColumnCorruption",
    "ImageAugmentation",
    "MeanShifted",
    "Objective",
    "PretrainedEncoder",
    "SelfSupervisedEncoder",
    "ShiftedSimCLR",
    "SimCLR",
    "SimSiam",
]
