"""Training: one loop, and the choice of device and precision, for every network."""

from ._checkpoint import Checkpoint
from ._device import resolve_device, scoring_device, seeded
from ._loop import Training
from ._recipe import OPTIMIZERS, Recipe, check_training_parameters
from ._sample_store import SampleStore, to_device
from ._stopping import EarlyStopping
from ._task import Task
from ._train import train

__all__ = [
    "OPTIMIZERS",
    "Checkpoint",
    "EarlyStopping",
    "Recipe",
    "SampleStore",
    "Task",
    "Training",
    "check_training_parameters",
    "resolve_device",
    "scoring_device",
    "seeded",
    "to_device",
    "train",
]
