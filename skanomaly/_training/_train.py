"""Training as the parameters of an estimator say: with its callbacks and its checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from .._sklearn_compat import EpochCallbacks
from ._checkpoint import Checkpoint
from ._checkpoint_identity import describe_data, describe_parameters
from ._loop import Training
from ._recipe import Recipe
from ._sample_store import SampleStore
from ._stopping import any_of
from ._task import Task


def train(
    estimator: Any,
    task: Task,
    samples: np.ndarray,
    X: np.ndarray,
    *,
    recipe: Recipe,
    device: torch.device,
    seed: int,
    fitted_attributes: Callable[[Any], dict[str, Any]],
    start: nn.Module | None = None,
) -> list[dict[str, float]]:
    """Train a task for an estimator whose ``fit`` is running.

    Parameters
    ----------
    estimator : estimator
        Has `callbacks`, `checkpoint`, `max_epochs`, `random_state` and `verbose`. Callbacks are
        functions of the history, or have a method ``record`` of the estimator as it is.
    task : Task
        On the device.
    samples : array
        What the task is trained on.
    X : array
        The training samples of the estimator, for its callbacks.
    recipe : Recipe
        How to train.
    device : torch.device
        Where.
    seed : int
        Of the order of the samples and of what the task prepares.
    fitted_attributes : callable
        Returns what the estimator needs to be used with the task as it is now.
    start : torch.nn.Module, optional
        The network that training goes on from, if not from random weights.

    Returns
    -------
    history : list of dict
    """
    checkpoint = None
    if estimator.checkpoint is not None:
        identity = describe_parameters(estimator) | describe_data(samples, start)
        checkpoint = Checkpoint(estimator.checkpoint, identity)
    epoch_callbacks = EpochCallbacks(
        estimator, X, estimator.max_epochs, lambda: fitted_attributes(training.task)
    )
    callbacks: list[Any] = estimator.callbacks or []
    recorders = [callback for callback in callbacks if hasattr(callback, "record")]

    def measure() -> dict[str, float]:
        fitted = copy.copy(estimator)
        vars(fitted).update(fitted_attributes(training.task), history_=list(training.history))
        return {k: v for recorder in recorders for k, v in recorder.record(fitted).items()}

    training = Training(
        task,
        SampleStore(samples, device),
        recipe,
        generator=torch.Generator(device).manual_seed(seed),
        checkpoint=checkpoint,
        begin_epoch=epoch_callbacks.begin_epoch,
        measure=measure if recorders else None,
        stop=any_of([*(c for c in callbacks if callable(c)), epoch_callbacks]),
        verbose=estimator.verbose,
    )
    history = training.run()
    epoch_callbacks.finish()
    return history
