"""scikit-learn's own checks, with no expected failures."""

import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_param_validation,
    parametrize_with_checks,
)

from skanomaly import DUMDetector, NSADetector, SelfSupervisedEncoder
from tests.registry import identify, make_estimators, make_image_estimators


@pytest.fixture(autouse=True)
def no_cuda_without_a_device(monkeypatch):
    """scikit-learn runs its CUDA checks wherever torch was built for CUDA."""
    monkeypatch.setattr("torch.backends.cuda.is_built", torch.cuda.is_available)


# with the defaults too, which the registry trains for fewer epochs
@parametrize_with_checks(
    [
        *make_estimators(),
        SelfSupervisedEncoder(),
        NSADetector(),
        DUMDetector(),
    ]
)
def test_check_estimator(estimator, check):
    check(estimator)


# scikit-learn has few checks for what does not take tables
@pytest.mark.parametrize("estimator", make_image_estimators(), ids=identify)
def test_check_estimator_of_images(estimator):
    with pytest.warns(SkipTestWarning, match="requires input"):
        check_estimator(estimator)


# these two are not part of check_estimator
@pytest.mark.parametrize("estimator", make_estimators(), ids=identify)
@pytest.mark.parametrize(
    "check", [check_param_validation, check_dataframe_column_names_consistency]
)
def test_further_checks(estimator, check):
    check(type(estimator).__name__, clone(estimator))
