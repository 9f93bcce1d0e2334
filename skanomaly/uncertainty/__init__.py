"""The parts of the deep uncertainty model (DUM)."""

from ._experts import product_of_experts
from ._network import VarianceNetworks, log_norm
from ._objectives import OBJECTIVES
from ._samples import bounds, draw_rows, held_out_mask
from ._shift import compare_with
from ._task import UncertaintyTask
from ._views import ROW_VIEWS, RowViews

__all__ = [
    "OBJECTIVES",
    "ROW_VIEWS",
    "RowViews",
    "UncertaintyTask",
    "VarianceNetworks",
    "bounds",
    "compare_with",
    "draw_rows",
    "held_out_mask",
    "log_norm",
    "product_of_experts",
]
