"""The parts of the deep uncertainty model (DUM)."""

from ._embedding import SCALERS, embed, embed_views, fit_encoder, make_scaler
from ._experts import product_of_experts
from ._network import VarianceNetworks, log_norm, log_variances, mean_of_columns
from ._objectives import OBJECTIVES
from ._samples import bounds, draw_columns, draw_rows, held_out_mask
from ._shift import compare_with
from ._task import UncertaintyTask
from ._views import ROW_VIEWS, RowViews

__all__ = [
    "OBJECTIVES",
    "ROW_VIEWS",
    "SCALERS",
    "RowViews",
    "UncertaintyTask",
    "VarianceNetworks",
    "bounds",
    "compare_with",
    "draw_columns",
    "draw_rows",
    "embed",
    "embed_views",
    "fit_encoder",
    "held_out_mask",
    "log_norm",
    "log_variances",
    "make_scaler",
    "mean_of_columns",
    "product_of_experts",
]
