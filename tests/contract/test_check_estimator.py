"""scikit-learn's own checks, with no expected failures."""

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    parametrize_with_checks,
)

from skanomaly import NSADetector, SelfSupervisedEncoder
from tests.registry import identify, make_estimators


# with the defaults too, which the registry trains for fewer epochs
@parametrize_with_checks([*make_estimators(), SelfSupervisedEncoder(), NSADetector()])
def test_check_estimator(estimator, check):
    check(estimator)


# these two are not part of check_estimator
@pytest.mark.parametrize("estimator", make_estimators(), ids=identify)
@pytest.mark.parametrize(
    "check", [check_param_validation, check_dataframe_column_names_consistency]
)
def test_further_checks(estimator, check):
    check(type(estimator).__name__, clone(estimator))
