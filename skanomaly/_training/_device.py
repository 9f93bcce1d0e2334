"""Where and how precisely networks run: the only place that decides it."""

from __future__ import annotations

import contextlib
import os

import torch

from .distributed import local_rank

_PROCESS = os.getpid()


def survive_fork() -> None:
    """One thread for torch in a forked process, which has none of OpenMP's threads to wait for."""
    if os.getpid() != _PROCESS and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def resolve_device(device: str) -> torch.device:
    """``"auto"`` is this process's CUDA device, or else the CPU; other names are torch's.

    Raises
    ------
    ValueError
        If the device does not exist here.
    """
    survive_fork()
    if device == "auto" and not torch.cuda.is_available():
        return torch.device("cpu")
    if device in ("auto", "cuda"):
        device = f"cuda:{local_rank()}"
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


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False  # torch 2.11 may not know
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Arithmetic of a forward pass: "float32", "bfloat16", or "auto", the faster of them."""
    enabled = precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """In float32, unless it is more precise: losses in half precision would be too coarse."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
