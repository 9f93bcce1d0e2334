"""scikit-learn's own checks, with no expected failures."""

import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_fit_idempotent,
    check_param_validation,
    parametrize_with_checks,
)

from skanomaly import DUMDetector, SelfSupervisedEncoder
from tests.registry import (
    identify,
    make_estimators,
    make_image_estimators,
    make_one_of_each_class,
    make_variants,
)


@pytest.fixture(autouse=True)
def no_cuda_without_a_device(monkeypatch):
    """scikit-learn runs its CUDA checks wherever torch was built for CUDA."""
    monkeypatch.setattr("torch.backends.cuda.is_built", torch.cuda.is_available)


@parametrize_with_checks(make_one_of_each_class())
def test_check_estimator(estimator, check):
    check(estimator)


@parametrize_with_checks(make_variants())
def test_check_variants(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [SelfSupervisedEncoder(), DUMDetector()], ids=identify)
def test_trainings_as_long_as_the_defaults(estimator):
    check_fit_idempotent(type(estimator).__name__, estimator)


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


@pytest.mark.parametrize("estimator", make_one_of_each_class(), ids=identify)
def test_html_of_notebooks(estimator, table):
    """A diagram with the names of all parts, which says whether the estimator is fitted."""
    page = estimator._repr_mimebundle_()["text/html"]
    for part in [estimator, *(p for p in estimator.get_params().values() if hasattr(p, "fit"))]:
        assert type(part).__name__ in page
    assert "<span>Not fitted</span>" in page
    assert "<span>Fitted</span>" in estimator.fit(table)._repr_html_()
