"""Self-supervised objectives: modules that map the embeddings of two views to a loss."""

from ._simclr import SimCLR
from ._simsiam import SimSiam

OBJECTIVES = {"simclr": SimCLR, "simsiam": SimSiam}

__all__ = ["OBJECTIVES", "SimCLR", "SimSiam"]
