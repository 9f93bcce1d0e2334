"""Result files: the figures, and where and with what they were measured."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def describe_machine():
    """Processor, memory and accelerator, without names or paths of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "processor": platform.machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
    }


def describe_run(rivals=()):
    """Machine, versions of packages and commit; `rivals` are further packages."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    packages = ("skanomaly", "torch", "torchvision", "scikit-learn", "numpy", "scipy", *rivals)
    return {
        "machine": describe_machine(),
        "versions": {package: version(package) for package in packages},
        "commit": commit,
    }


def write_report(name, figures, rivals=()):
    """Write `figures` (a dict) with machine, versions and commit to results/<name>.json.

    `rivals` are the packages compared with, whose versions are recorded too.
    """
    report = {**figures, **describe_run(rivals)}
    RESULTS.mkdir(exist_ok=True)
    path = _path(name)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print("wrote", path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def extend_report(name, figures, results, rivals=()):
    """Add `results` (a dict) to those in results/<name>.json; a run may be a part.

    Machine, versions and commit become those of the last part.
    """
    write_report(name, {**figures, "results": read_results(name) | results}, rivals)


def read_results(name):
    """What `extend_report` has written so far."""
    return _read(name).get("results", {})


def read_about(name):
    """Options, machine, versions and commit of those."""
    return {key: value for key, value in _read(name).items() if key != "results"}


def _read(name):
    path = _path(name)
    return json.loads(path.read_text()) if path.exists() else {}


def _path(name):
    return RESULTS / f"{name}.json"
