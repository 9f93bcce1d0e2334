"""Small data sets that come with the package."""

from ._fashion_mnist import load_fashion_mnist_sample

__all__ = ["load_fashion_mnist_sample"]
