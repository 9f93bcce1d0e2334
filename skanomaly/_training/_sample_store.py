"""Samples on their way to the device: kept there when they fit, else streamed batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from sklearn.utils import gen_batches

BLOCK_SAMPLES = 1024  # on their way to the device
DEVICE_SHARE = 0.5  # of the device's free memory, for samples that are kept there


class SampleStore:
    """Batches of samples on a device.

    Samples in host memory, or in a file that is mapped into it, are never copied as a whole to
    host memory. A GPU keeps all of them if they take at most half of its free memory.

    Parameters
    ----------
    X : array (n, ...)
        The samples.
    device : torch.device
        Where batches are wanted.
    """

    def __init__(self, X: np.ndarray, device: torch.device):
        self.X = X
        self.device = device
        self.resident = self._keep() if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.X)

    def stream(self, index: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The samples of each index in turn; the next ones are read while these are used."""
        if self.resident is not None:
            for kept in index:
                yield self.resident[kept.to(self.device)]
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = None
            for rows in [*index, None]:
                ready = coming
                coming = None if rows is None else reader.submit(self._read, rows)
                if ready is not None:
                    yield to_device(ready.result(), self.device)

    def _read(self, rows: torch.Tensor) -> np.ndarray:
        return self.X[rows.cpu().numpy()]

    def _keep(self) -> torch.Tensor | None:
        free, _ = torch.cuda.mem_get_info(self.device)
        if self.X.nbytes > DEVICE_SHARE * free:
            return None
        first = to_device(self.X[:1], self.device)
        layout = torch.channels_last if first.ndim == 4 else torch.contiguous_format
        kept = torch.empty(
            self.X.shape, dtype=first.dtype, device=self.device, memory_format=layout
        )
        for rows in gen_batches(len(self.X), BLOCK_SAMPLES):
            kept[rows] = to_device(self.X[rows], self.device)
        return kept


def to_device(X: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of samples as a tensor, images with their channels last in memory."""
    # a copy: torch accepts neither read-only arrays, such as memmaps, nor negative strides
    samples = torch.from_numpy(np.array(X, order="C"))
    if device.type == "cuda":
        samples = samples.pin_memory()
    samples = samples.to(device, non_blocking=True)
    return samples.to(memory_format=torch.channels_last) if samples.ndim == 4 else samples
