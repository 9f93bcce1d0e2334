"""Has the distribution of the input changed? (DUM section 4.1)"""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.utils import Bunch


def compare_with(reference: np.ndarray, values: np.ndarray, window: int | None = None) -> Bunch:
    """Welch's t-test and effect size of values, or of each window of them, against the reference.

    Parameters
    ----------
    reference : array (n_reference,)
        At least 2 values.
    values : array (n,)
        Those to compare.
    window : int, optional
        Number of values in a window; a last window of fewer is left out. None compares all.

    Returns
    -------
    result : Bunch
        ``statistic``, ``p_value`` and ``effect_size``: floats, or arrays with one entry for each
        window.

    Raises
    ------
    ValueError
        If a window, or all, holds fewer than 2 values.
    """
    size = len(values) if window is None else window
    if not 2 <= size <= len(values):
        raise ValueError(
            f"X has {len(values)} samples, window={window}; a test needs at least 2 samples in "
            "each window, and one window"
        )
    n_windows = len(values) // size
    windows = np.split(values[: n_windows * size], n_windows)
    tests = np.array([_compare(part, reference) for part in windows]).T
    names = ("statistic", "p_value", "effect_size")
    if window is None:
        return Bunch(**{name: float(found[0]) for name, found in zip(names, tests, strict=True)})
    return Bunch(**dict(zip(names, tests, strict=True)))


def _compare(sample: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    difference = sample.mean() - reference.mean()
    variances = sample.var(ddof=1), reference.var(ddof=1)
    if sum(variances) == 0:  # the test has no variance to go by
        infinite = np.sign(difference) * np.inf if difference else 0.0
        return infinite, float(difference == 0), infinite
    test = stats.ttest_ind(sample, reference, equal_var=False)
    # Cohen's d: standard deviations, the root of the mean of both variances
    return test.statistic, test.pvalue, difference / np.sqrt(sum(variances) / 2)
