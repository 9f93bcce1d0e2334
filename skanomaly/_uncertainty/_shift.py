"""Has the distribution of the input changed? (DUM section 4.1)"""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.utils import Bunch


def compare_with(reference: np.ndarray, windows: list[np.ndarray]) -> Bunch:
    """Welch's t-test and effect size of each window of values against the reference.

    Parameters
    ----------
    reference : array (n,)
        At least 2 values.
    windows : list of arrays
        At least 2 values each.

    Returns
    -------
    result : Bunch
        ``statistic``, ``p_value`` and ``effect_size``, arrays with one entry for each window.
    """
    tests = np.array([_compare(window, reference) for window in windows])
    return Bunch(statistic=tests[:, 0], p_value=tests[:, 1], effect_size=tests[:, 2])


def _compare(sample: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    difference = sample.mean() - reference.mean()
    variances = sample.var(ddof=1), reference.var(ddof=1)
    if sum(variances) == 0:  # the test has no variance to go by
        infinite = np.sign(difference) * np.inf if difference else 0.0
        return infinite, float(difference == 0), infinite
    test = stats.ttest_ind(sample, reference, equal_var=False)
    # Cohen's d: standard deviations, the root of the mean of both variances
    return test.statistic, test.pvalue, difference / np.sqrt(sum(variances) / 2)
