"""What differs between versions of scikit-learn, and the private names that are used of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    validate_params,
)
from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _num_samples as num_samples

__all__ = [
    "BaseComposition",
    "CallbackSupportMixin",
    "EpochCallbacks",
    "HasMethods",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "check_feature_names_in",
    "num_samples",
    "pass_callbacks_on",
    "safe_indexing",
    "validate_params",
    "with_callbacks",
]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """scikit-learn has no callbacks yet."""

    def with_callbacks(method: Callable) -> Callable:
        return method


Attributes = Callable[[], dict[str, Any]]


class EpochCallbacks:
    """Calls the callbacks that were set on an estimator, for ``fit`` and for each of its epochs.

    Does nothing where scikit-learn has no callbacks.

    Parameters
    ----------
    estimator : estimator
        The one whose ``fit`` is running, decorated with `with_callbacks`.
    X : array
        Its training samples.
    max_epochs : int or None
        None if only time limits the training.
    """

    def __init__(self, estimator: Any, X: Any, max_epochs: int | None):
        self.estimator = estimator
        self.X = X
        self.context: Any = None
        self.epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=max_epochs)
            self.context.call_on_fit_task_begin(estimator=estimator, X=X)

    def begin_epoch(self) -> None:
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def end_epoch(self, fitted_attributes: Attributes) -> bool:
        """End the epoch that is running, if any; true if a callback wants training to stop.

        `fitted_attributes` returns what the estimator needs, besides what it has, to be used as
        it is now.
        """
        epoch, self.epoch = self.epoch, None
        return epoch is not None and self._end(epoch, fitted_attributes)

    def finish(self, fitted_attributes: Attributes) -> None:
        """End the fit, and the epoch that was interrupted, if any."""
        self.end_epoch(fitted_attributes)
        if self.context is not None:
            self._end(self.context, fitted_attributes)

    def _end(self, context: Any, fitted_attributes: Attributes) -> bool:
        stop = context.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, reconstruction_attributes=fitted_attributes
        )
        return bool(stop)


@contextlib.contextmanager
def pass_callbacks_on(estimator: Any, part: Any):
    """While a meta-estimator fits a part of it, its callbacks are those of the part too."""
    if not getattr(estimator, "_skl_callbacks", None):
        yield
        return
    context = estimator._init_callback_context(max_subtasks=1)
    context.call_on_fit_task_begin(estimator=estimator)
    with context.subcontext(task_name="fit-encoder").propagate_callback_context(part):
        yield
    context.call_on_fit_task_end(estimator=estimator)
