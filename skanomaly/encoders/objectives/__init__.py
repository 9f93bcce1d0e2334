"""Self-supervised objectives: modules that map the embeddings of two views to a loss."""

from ._byol import BYOL
from ._make_objective import OBJECTIVES, make_objective
from ._mean_shifted import MeanShifted
from ._objective import Objective
from ._simclr import ShiftedSimCLR, SimCLR
from ._simsiam import SimSiam

__all__ = [
    "BYOL",
    "OBJECTIVES",
    "MeanShifted",
    "Objective",
    "ShiftedSimCLR",
    "SimCLR",
    "SimSiam",
    "make_objective",
]
