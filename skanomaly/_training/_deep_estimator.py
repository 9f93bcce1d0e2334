"""What every estimator that trains networks shares."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import nn

from .._sklearn_compat import CallbackSupportMixin, EpochCallbacks, Interval, StrOptions
from . import distributed
from ._checkpoint import Checkpoint
from ._checkpoint_identity import describe_data, describe_parameters
from ._device import resolve_device
from ._loop import Training
from ._recipe import Recipe
from ._sample_store import SampleStore
from ._task import Task


class DeepEstimator(CallbackSupportMixin, BaseEstimator):
    """Base class of estimators that train networks.

    It owns the parameters of training, which the subclasses document. A subclass lists all of its
    parameters in its ``__init__`` and passes these on. Its ``fit`` calls `_start_training`, then
    `_run_training`.
    """

    _parameter_constraints: dict = {
        "max_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "callbacks": [list, None],
        "checkpoint": [str, os.PathLike, None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    history_: list[dict[str, float]]

    def __init__(
        self,
        *,
        max_epochs,
        max_time,
        batch_size,
        learning_rate,
        precision,
        callbacks,
        checkpoint,
        device,
        random_state,
        verbose,
    ):
        self.max_epochs = max_epochs
        self.max_time = max_time
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.precision = precision
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _check_training_parameters(self) -> None:
        """Refuse trainings without an end, and callbacks that cannot be called."""
        if self.max_epochs is None and self.max_time is None:
            raise ValueError("max_epochs and max_time are both None; pass one of them")
        for i, callback in enumerate(self.callbacks or []):
            if not (callable(callback) or hasattr(callback, "record")):
                raise TypeError(
                    f"callbacks[{i}] is {callback!r}; pass functions of history_, or objects with "
                    "a method record"
                )

    def _start_training(self) -> tuple[torch.device, int]:
        """The device, and a seed that is the same in all processes."""
        device = resolve_device(self.device)
        distributed.join_processes(device)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return device, distributed.from_first_process(seed)

    def _make_recipe(self, **options: Any) -> Recipe:
        return Recipe(
            max_epochs=self.max_epochs,
            max_time=self.max_time,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            precision=self.precision,
            **options,
        )

    def _run_training(
        self,
        task: Task,
        samples: np.ndarray,
        X: np.ndarray,
        recipe: Recipe,
        *,
        device: torch.device,
        seed: int,
        fitted_attributes: Callable[[Any], dict[str, Any]],
        initial_network: nn.Module | None = None,
    ) -> None:
        """Train a task, and set ``history_``.

        Parameters
        ----------
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
            Of the order of the samples and of what the task draws.
        fitted_attributes : callable
            Returns what the estimator needs to be used with a task as it is.
        initial_network : torch.nn.Module, optional
            The network that training continues from, if not from random weights.
        """
        checkpoint = None
        if self.checkpoint is not None:
            identity = describe_parameters(self.get_params(deep=False))
            identity |= describe_data(samples, initial_network)
            checkpoint = Checkpoint(self.checkpoint, identity)
        callbacks: list[Any] = self.callbacks or []
        epochs = EpochCallbacks(self, X, self.max_epochs)

        def after_epoch(task: Any, history: list[dict[str, float]]) -> bool:
            for recorder in (c for c in callbacks if hasattr(c, "record")):
                fitted: Any = copy.copy(self)
                for name, value in fitted_attributes(task).items():
                    setattr(fitted, name, value)
                fitted.history_ = history[:-1]  # this epoch is being recorded
                history[-1] |= recorder.record(fitted)
            # copies, since what callbacks write into them must not reach the checkpoint
            answers = [c([dict(r) for r in history]) for c in callbacks if callable(c)]
            return epochs.end_epoch(lambda: fitted_attributes(task)) or any(answers)

        training = Training(
            task,
            SampleStore(samples, device),
            recipe,
            seed=seed,
            checkpoint=checkpoint,
            before_epoch=epochs.begin_epoch,
            after_epoch=after_epoch,
            verbose=self.verbose,
        )
        self.history_ = training.run()
        epochs.finish(lambda: fitted_attributes(training.task))
