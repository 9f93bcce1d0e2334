"""The parts of the deep uncertainty model (DUM)."""

from ..encoders import ROW_VIEWS, RowViews
from ._embedding import embed, embed_views, fit_encoder
from ._experts import product_of_experts
from ._held_out import held_out_norms
from ._losses import OBJECTIVES
from ._row_sampling import bounds, draw_columns, draw_rows, held_out_mask
from ._scaling import SCALINGS, fit_scaler
from ._shift import compare_with
from ._stacks import stack_embeddings
from ._uncertainty_task import UncertaintyTask
from ._variance_networks import (
    VarianceNetworks,
    log_norm,
    log_variances,
    make_networks,
    mean_of_columns,
    networks_of_state,
    networks_state,
)

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
    "embed_views",
    "fit_encoder",
    "fit_scaler",
    "held_out_mask",
    "held_out_norms",
    "log_norm",
    "log_variances",
    "make_networks",
    "mean_of_columns",
    "networks_of_state",
    "networks_state",
    "product_of_experts",
    "stack_embeddings",
]
