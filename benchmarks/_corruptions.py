"""The 15 corruptions of CIFAR-10-C (Hendrycks and Dietterich, 2019), from imagecorruptions.

That package was written for earlier versions of numpy and scikit-image; two functions that are gone
from these are lent to it while it runs. It also needs setuptools < 81.
"""

import warnings
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
from skimage.filters import gaussian

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pkg_resources, which is deprecated
    from imagecorruptions import corrupt, corruptions, get_corruption_names

NAMES = tuple(get_corruption_names())


def corrupt_images(images, name, severity, seed):
    """Corrupted copies of uint8 images (n, height, width, 3)."""
    with _as_in_its_time(), _seeded(seed):
        return np.stack([corrupt(image, severity, name) for image in images])


@contextmanager
def _as_in_its_time():
    def blur(image, sigma, multichannel=False, **options):
        return gaussian(image, sigma, channel_axis=-1 if multichannel else None, **options)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(np, "float_", np.float64, create=True))
        stack.enter_context(mock.patch.object(corruptions, "gaussian", blur))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _seeded(seed):
    """numpy's global generator, which the corruptions draw from, with this seed."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
