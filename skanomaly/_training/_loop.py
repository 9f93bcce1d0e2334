"""The training loop that every network of the package goes through."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning

from . import distributed
from ._checkpoint import Checkpoint
from ._device import autocast
from ._progress import Progress
from ._recipe import Recipe
from ._sample_store import SampleStore
from ._seeded_draws import SeededDraws
from ._task import Task


class Training:
    """One run of the loop, from the start or from a checkpoint.

    Parameters
    ----------
    task : Task
        On the device that is trained on.
    store : SampleStore
        At least 2 samples. Batches are of even size, so that none is much smaller than others.
    recipe : Recipe
        How to train.
    seed : int
        Of the order of the samples and of all that the task draws.
    checkpoint : Checkpoint, optional
        Where to keep the state.
    before_epoch : callable, optional
        Called before each epoch.
    after_epoch : callable, optional
        Called after each epoch with the task as it is and ``history``, whose last record it may
        extend; training ends when it returns True.
    verbose : int
        1 shows one progress bar, or about ten lines where standard error is not a terminal.

    Attributes
    ----------
    history : list of dict
        Per epoch what the task records, the learning rate, seconds and images per second.
    """

    def __init__(
        self,
        task: Task,
        store: SampleStore,
        recipe: Recipe,
        *,
        seed: int,
        checkpoint: Checkpoint | None = None,
        before_epoch: Callable[[], None] | None = None,
        after_epoch: Callable[[Any, list[dict[str, float]]], bool] | None = None,
        verbose: int = 0,
    ):
        self.task: Any = distributed.synchronise_batch_norm(task)
        self._original = task
        self.store = store
        self.recipe = recipe
        self.generator = torch.Generator(store.device).manual_seed(seed)
        # for what draws without a generator; another seed than that of the initial weights
        self.draws = SeededDraws(seed + 1)
        self.is_drawing = True  # until a step shows that nothing is
        self.checkpoint = checkpoint
        self.before_epoch = before_epoch
        self.after_epoch = after_epoch
        self.verbose = verbose
        self.history: list[dict[str, float]] = []
        trained = [p for p in self.task.parameters() if p.requires_grad]
        self.optimizer = recipe.make_optimizer(trained)
        self.accumulation_steps = recipe.accumulation_steps
        # no batch of a single sample, which batch normalisation refuses, in any process
        n, smallest = len(store), 2 * distributed.n_processes()
        if n < smallest:
            raise ValueError(
                f"Found {n} samples, a minimum of {smallest} is required to train in "
                f"{distributed.n_processes()} processes"
            )
        self.n_batches = max(1, min(math.ceil(n / recipe.batch_size), n // smallest))
        self.steps = 0
        self.elapsed = 0.0  # seconds, of earlier processes too
        self.finished = False

    def run(self) -> list[dict[str, float]]:
        """Train to the end.

        Returns
        -------
        history : list of dict

        Raises
        ------
        FloatingPointError
            If the loss is no longer finite.
        KeyboardInterrupt
            If interrupted before the first epoch ended. Later, a warning is given and the
            network stays as it is.
        """
        resumed = self._resume()
        if self.checkpoint and not resumed:
            self.checkpoint.save(self._state(), first=True)
        model: Any = torch.compile(self.task) if self.recipe.compile else self.task
        self._model = distributed.average_gradients(model)
        self.task.train()
        self._started = time.perf_counter() - self.elapsed
        is_shown = bool(self.verbose) and distributed.rank() == 0
        with Progress(len(self.history), self.recipe.max_epochs, is_shown) as progress:
            try:
                while not self._is_over():
                    self._run_epoch()
                    progress.show(len(self.history), self.history[-1], self._progress())
            except KeyboardInterrupt:
                if not self.history or distributed.n_processes() > 1:
                    raise
                warnings.warn(
                    f"training was interrupted in epoch {len(self.history) + 1}; the network is "
                    "kept as it was then",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        self.optimizer.zero_grad(set_to_none=True)
        if self.task is not self._original:
            self._original.load_state_dict(self.task.state_dict())
        self._original.eval()
        return self.history

    def _is_over(self) -> bool:
        # a time limit leaves at least one step
        may_end = self.steps > 0 or self.recipe.max_epochs == 0
        return self.finished or (may_end and self._progress() >= 1)

    def _progress(self) -> float:
        """Share of the training that is done, by epochs or by time, whichever is further."""
        recipe, progress = self.recipe, 0.0
        if recipe.max_epochs is not None:
            total = recipe.max_epochs * self.n_batches
            progress = self.steps / total if total else 1.0
        if recipe.max_time is not None:
            self.elapsed = time.perf_counter() - self._started
            elapsed = distributed.from_first_process(self.elapsed)
            progress = max(progress, elapsed / recipe.max_time)
        return progress

    def _run_epoch(self) -> None:
        if self.before_epoch is not None:
            self.before_epoch()
        start, first_step, n_seen = time.perf_counter(), self.steps, 0
        sums: dict[str, torch.Tensor] = {}
        order = torch.randperm(
            len(self.store), generator=self.generator, device=self.generator.device
        )
        batches = order.tensor_split(self.n_batches)
        samples = self.store.stream([self._rows(batch) for batch in batches])
        for batch, batch_samples in zip(batches, samples, strict=True):
            # an epoch that the time limit cuts short counts too, but not one without a step
            progress = self._progress()
            if progress >= 1 and self.steps > first_step:
                break
            for name, value in self._step(batch_samples, len(batch), progress).items():
                sums[name] = sums[name] + value if name in sums else value
            n_seen += len(batch)
        means = {name: distributed.sum_over_processes(v) / n_seen for name, v in sums.items()}
        self._finish_epoch(means, n_seen, start)

    def _finish_epoch(self, means, n_seen: int, start: float) -> None:
        record = self.task.summarise(means)
        if not math.isfinite(record["loss"]):
            raise FloatingPointError(
                f"the loss is {record['loss']} in epoch {len(self.history) + 1}: "
                f"pass a learning_rate below {self.recipe.learning_rate:g}"
            )
        seconds = time.perf_counter() - start
        record["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        record["seconds"] = seconds
        record["samples_per_second"] = n_seen / seconds
        self.history.append(record)
        stopped = self.after_epoch is not None and self.after_epoch(self.task, self.history)
        self.elapsed = time.perf_counter() - self._started
        self.finished = distributed.from_first_process(stopped) or self._is_over()
        if self.checkpoint:
            self.checkpoint.save(self._state(), last=self.finished)

    def _rows(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.task.rows(part) for part in batch.split(self._sizes(len(batch)))])

    def _sizes(self, n: int) -> list[int]:
        """Samples of each micro-batch of a batch of n."""
        parts = max(1, min(self.accumulation_steps, n // (2 * distributed.n_processes())))
        return [n * (i + 1) // parts - n * i // parts for i in range(parts)]

    def _step(self, samples: torch.Tensor, n: int, progress: float) -> dict[str, torch.Tensor]:
        """One step of the optimizer; sums of the recorded values over this process's samples."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(progress, self.n_batches)
        sums = None
        while sums is None:
            try:
                sums = self._backward(samples, n)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
            if sums is None:  # here the error, which holds on to tensors, is gone
                self._halve_micro_batch(n)
        self.is_drawing = self.draws.n_draws > 0
        self.optimizer.step()
        self.steps += 1
        self.task.after_step(progress)
        return sums

    def _backward(self, samples: torch.Tensor, n: int) -> dict[str, torch.Tensor]:
        """Gradients of the mean loss over a batch of n, from one or more micro-batches."""
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, torch.Tensor] = {}
        sizes = self._sizes(n)
        parts = samples.split([len(self.task.rows(torch.arange(size))) for size in sizes])
        for i, (part, size) in enumerate(zip(parts, sizes, strict=True)):
            with distributed.no_averaging(self._model, unless=i == len(parts) - 1):
                draws = self.draws if self.is_drawing else contextlib.nullcontext()
                with draws, autocast(samples.device, self.recipe.precision):
                    values = self._model(self.task.prepare(part, size, self.generator))
                n_terms = self.task.n_terms(size)
                share = distributed.share_of(n_terms)
                weight = size * (share.stop - share.start) / n_terms
                # the engine averages over processes, which have unequal shares of the batch
                (values["loss"] * (weight * distributed.n_processes() / n)).backward()
            for name, value in values.items():
                value = value.detach().float() * weight
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def _halve_micro_batch(self, n: int) -> None:
        parts = len(self._sizes(n))
        wanted = min(2 * parts, n // 2)
        if wanted <= parts or distributed.n_processes() > 1:
            raise MemoryError(
                f"the device has too little memory for {math.ceil(n / parts)} samples at once; "
                "pass a larger accumulation_steps, or a smaller backbone"
            )
        if self.accumulation_steps == self.recipe.accumulation_steps:
            warnings.warn(
                f"out of memory with {math.ceil(n / parts)} samples at once: "
                "each batch is now split in halves, whose gradients are added up; contrastive "
                "objectives and batch normalisation see the parts only. "
                f"accumulation_steps={wanted} does so from the start",
                UserWarning,
                stacklevel=2,
            )
        self.accumulation_steps = wanted
        self.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _state(self) -> dict[str, Any]:
        return {
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "device": self.generator.device.type,
            "draws": self.draws.state(),
            "is_drawing": self.is_drawing,
            "history": self.history,
            "steps": self.steps,
            "elapsed": self.elapsed,
            "accumulation_steps": self.accumulation_steps,
            "finished": self.finished,
        }

    def _resume(self) -> bool:
        """Take the state from the checkpoint, if there is one."""
        state = self.checkpoint.load() if self.checkpoint else None
        if state is None:
            return False
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["device"] == self.generator.device.type:
            self.generator.set_state(state["generator"])
        self.draws.restore(state["draws"])
        for name in ("history", "steps", "elapsed", "accumulation_steps", "finished", "is_drawing"):
            setattr(self, name, state[name])
        return True


def _is_out_of_memory(error: Exception) -> bool:
    # the CPU's allocator has no exception of its own
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
