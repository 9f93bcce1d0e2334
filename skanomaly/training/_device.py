"""Where and how precisely networks run: the only place that decides it."""

from __future__ import annotations

import contextlib

import torch


def resolve_device(device: str) -> torch.device:
    """``"auto"`` is the first CUDA device, or else the CPU; other names are torch's.

    Raises
    ------
    ValueError
        If the device does not exist here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used here; pass 'auto', 'cpu', 'cuda' or 'cuda:N'"
        ) from error
    return resolved


def scoring_device(device: str) -> torch.device:
    """Like `resolve_device`, but the CPU where a detector was moved to a machine without it."""
    try:
        return resolve_device(device)
    except ValueError:
        return torch.device("cpu")


def autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 arithmetic on CUDA; float32 elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def seeded_initialisation(seed: int):
    """Fresh weights depend on `seed` alone, and torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
