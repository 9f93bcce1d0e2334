"""The parts of the deep uncertainty model (DUM)."""

from ._embedding import embed, fit_encoder
from ._experts import product_of_experts
from ._fit import fit_networks
from ._network import VarianceNetworks, log_norm, log_variances, mean_of_columns
from ._objectives import OBJECTIVES
from ._samples import bounds, draw_columns, draw_rows, held_out_mask
from ._scaling import SCALINGS, fit_scaler
from ._shift import compare_with
from ._task import UncertaintyTask
from ._views import ROW_VIEWS, RowViews

__all__ = [
    "OBJECTIVES",
    "ROW_VIEWS",
    "SCALINGS",
    "RowViews",
    "UncertaintyTask",
    "VarianceNetworks",
    "bounds",
    "compare_with",
    "draw_columns",
    "draw_rows",
    "embed",
    "fit_encoder",
    "fit_networks",
    "fit_scaler",
    "held_out_mask",
    "log_norm",
    "log_variances",
    "mean_of_columns",
    "product_of_experts",
]
