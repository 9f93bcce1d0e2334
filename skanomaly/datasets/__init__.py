"""A small sample that comes with the package, and how to evaluate."""

from ._fashion_mnist import load_fashion_mnist_sample
from ._protocol import one_vs_rest

__all__ = ["load_fashion_mnist_sample", "one_vs_rest"]
