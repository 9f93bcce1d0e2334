"""Self-supervised objectives: modules that map the embeddings of two views to a loss."""

from ._base import Objective
from ._simclr import SimCLR
from ._simsiam import SimSiam

OBJECTIVES: dict[str, type[Objective]] = {"simclr": SimCLR, "simsiam": SimSiam}

__all__ = ["OBJECTIVES", "Objective", "SimCLR", "SimSiam"]
