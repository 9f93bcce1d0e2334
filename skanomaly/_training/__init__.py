"""Training: one loop, and the choice of device and precision, for every network."""

from ._checkpoint import Checkpoint
from ._deep_estimator import DeepEstimator
from ._device import at_least_float32, resolve_device, scoring_device, survive_fork
from ._loop import Training
from ._recipe import OPTIMIZERS, Recipe
from ._sample_store import SampleStore, to_device
from ._seeded_draws import SeededDraws
from ._stopping import EarlyStopping
from ._task import Task

__all__ = [
    "OPTIMIZERS",
    "Checkpoint",
    "DeepEstimator",
    "EarlyStopping",
    "Recipe",
    "SampleStore",
    "SeededDraws",
    "Task",
    "Training",
    "at_least_float32",
    "resolve_device",
    "scoring_device",
    "survive_fork",
    "to_device",
]
