"""Training: one loop, and the choice of device and precision, for every network."""

from ._device import autocast, resolve_device, scoring_device, seeded_initialisation
from ._loop import train

__all__ = ["autocast", "resolve_device", "scoring_device", "seeded_initialisation", "train"]
