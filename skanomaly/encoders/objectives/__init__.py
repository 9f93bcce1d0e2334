"""Self-supervised objectives: modules that map the embeddings of two views to a loss."""

from ._byol import BYOL
from ._objective import Objective
from ._simclr import ShiftedSimCLR, SimCLR
from ._simsiam import SimSiam

OBJECTIVES: dict[str, type[Objective]] = {
    "simclr": SimCLR,
    "simclr-shifted": ShiftedSimCLR,
    "simsiam": SimSiam,
    "byol": BYOL,
}

__all__ = ["BYOL", "OBJECTIVES", "Objective", "ShiftedSimCLR", "SimCLR", "SimSiam"]
