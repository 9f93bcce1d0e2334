"""What embeddings are like: concentrated or uniform, and whether classes can be told apart."""

from ._accuracy import knn_accuracy, linear_probe_accuracy
from ._concentration import concentration
from ._recorder import EmbeddingDiagnostics
from ._uniformity import alignment, mmd_to_uniform, uniformity

__all__ = [
    "EmbeddingDiagnostics",
    "alignment",
    "concentration",
    "knn_accuracy",
    "linear_probe_accuracy",
    "mmd_to_uniform",
    "uniformity",
]
