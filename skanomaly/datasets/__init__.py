"""A small sample that comes with the package, public image sets, and how to evaluate on them."""

from ._fashion_mnist import load_fashion_mnist_sample
from ._loaders import load_cifar10, load_cifar100, load_fashion_mnist, load_svhn
from ._protocol import one_vs_rest

__all__ = [
    "load_cifar10",
    "load_cifar100",
    "load_fashion_mnist",
    "load_fashion_mnist_sample",
    "load_svhn",
    "one_vs_rest",
]
