"""What embeddings are like: concentrated or uniform, and whether classes can be told apart."""

from ._accuracy import knn_accuracy, linear_probe_accuracy
from ._concentration import concentration
from ._uniformity import alignment, mmd_to_uniform, uniformity

__all__ = [
    "alignment",
    "concentration",
    "knn_accuracy",
    "linear_probe_accuracy",
    "mmd_to_uniform",
    "uniformity",
]
