"""Result files: NAME.csv has a row for each measurement, runs.csv one for each run."""

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd
import torch

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("skanomaly", "torch", "torchvision", "scikit-learn", "numpy", "scipy")
RIVALS = ("pyod", "faiss-cpu", "lightly", "imagecorruptions")  # named where they are installed


class Records:
    """The measurements of an experiment, in ``<folder>/<name>.csv``.

    Columns say what was measured, then what came out; the last one, ``run``, refers to
    ``runs.csv``. A run can be stopped at any time and started again: it skips what it finds here.
    One process at a time may write to a file.

    Parameters
    ----------
    name : str
        The experiment.
    folder : path-like
        Where the files are.
    options : str
        What the command was asked for, for ``runs.csv``.
    """

    def __init__(self, name, folder=RESULTS, options=""):
        self.name = name
        self.folder = Path(folder)
        self.options = options
        self.rows = read(name, folder)
        self._run = None

    def has(self, **values):
        """Whether there is a row with these values."""
        if not set(values) <= set(self.rows):
            return False
        found = self.rows
        for column, value in values.items():
            found = found[found[column] == value]
        return len(found) > 0

    def add(self, **values):
        """Write a row, and print it."""
        self.add_all([values])

    def add_all(self, rows):
        """Write rows (dicts) that belong together, all of them or none."""
        if self._run is None:
            self._run = self._start_run()
        new = pd.DataFrame([{**row, "run": self._run} for row in rows])
        joined = pd.concat([self.rows, new], ignore_index=True)
        columns = [column for column in joined if column != "run"]
        _write(joined[[*columns, "run"]], self.folder / f"{self.name}.csv")
        self.rows = read(self.name, self.folder)
        for row in rows:
            print(*(f"{k}={v}" for k, v in row.items() if not pd.isna(v)), flush=True)

    def _start_run(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        about = {"run": now, "experiment": self.name, "options": self.options, **describe_run()}
        runs = pd.concat([read("runs", self.folder), pd.DataFrame([about])], ignore_index=True)
        _write(runs, self.folder / "runs.csv")
        return now


def read(name, folder=RESULTS):
    """The rows of a result file as a DataFrame, empty if there is none. Text is never NaN.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    path = Path(folder, f"{name}.csv")
    if not path.exists():
        return pd.DataFrame()
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it, or delete it") from error


def _write(rows, path):
    partial = path.with_suffix(".partial")
    rows.to_csv(partial, index=False)
    partial.replace(path)


def describe_run():
    """Commit, machine and versions, without names or paths of the machine."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ((package, _version(package)) for package in PACKAGES + RIVALS)
    return {
        "commit": _git("rev-parse", "--short", "HEAD") or "",
        "device": device,
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        "packages": "; ".join(f"{package} {v}" for package, v in packages if v),
    }


def changed_files():
    """Files of the package and the benchmarks, other than results, that are not committed."""
    status = _git("status", "--porcelain", "--", "../skanomaly", ".", ":(exclude)results")
    return [line[3:] for line in (status or "").splitlines()]


def _git(*arguments):
    """What git says; None outside a repository."""
    try:
        found = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent
        )
    except FileNotFoundError:
        return None
    return found.stdout.rstrip("\n") if found.returncode == 0 else None


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None
