"""Cells of a benchmark: what each is of, its result file, and which process computes it.

Several processes, on several machines too, may share a folder. A cell is claimed by a lock file
beside its result; a result appears complete or not at all.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import socket
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FORMAT = 1  # of result files; another one whenever what a cell computes changes
REQUIRED = {"format", "cell", "auroc", "counts", "seconds", "device", "commit"}
FLOATS = ("pollution", "minutes", "learning_rate")
OF_TRAINING = ("backbone", "epochs", "minutes", "batch_size", "learning_rate")  # how, not what
OF_IMAGES = ("train_images", "test_images", "image_size")


class ResultError(ValueError):
    """A result file that cannot be used."""


@dataclass(frozen=True)
class Cell:
    """One trained network, or one rival, on one task; what a method does not use is None.

    Parameters
    ----------
    dataset : str
        The image set.
    normal : int
        The class that is trained on.
    method : str
        An objective or a rival.
    seed : int
        Of weights and views, and of which images are drawn.
    pollution : float
        Share of outliers among the training images.
    train_images, test_images : int or None
        At most so many training images of the normal class, and test images of each class.
    image_size : int or None
        Images are resized to this height and width.
    normalize, backbone, epochs, minutes, batch_size, learning_rate
        Of the training, see SelfSupervisedEncoder.
    """

    dataset: str
    normal: int
    method: str
    seed: int = 0
    pollution: float = 0.0
    train_images: int | None = None
    test_images: int | None = None
    image_size: int | None = None
    normalize: str | None = None
    backbone: str | None = None
    epochs: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None

    def __post_init__(self):
        for field in FLOATS:  # 0 and 0.0 are one cell
            value = getattr(self, field)
            object.__setattr__(self, field, None if value is None else float(value))

    @property
    def name(self):
        """Name of the files: what is read most, and a hash of all fields."""
        described = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.sha256(described.encode()).hexdigest()[:10]
        parts = (self.dataset, self.normal, self.method, self.normalize, f"p{self.pollution:g}")
        named = "-".join(str(part) for part in parts if part is not None)
        return f"{named}-s{self.seed}-{digest}"


def result_path(folder, cell):
    return Path(folder, f"{cell.name}.json")


def is_done(folder, cell):
    """Whether there is a result; one that cannot be used is refused."""
    path = result_path(folder, cell)
    return path.exists() and bool(read_result(path))


def read_result(path):
    """The content of a result file, with its cell as a Cell.

    Raises
    ------
    ResultError
        If the file is damaged, of another format, or of another cell than its name says.
    """
    advice = "delete it, and the cell is computed again, or pass another folder"
    try:
        result = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ResultError(f"{path} is damaged ({error}); {advice}") from error
    found = result.get("format") if isinstance(result, dict) else None
    if found != FORMAT:
        raise ResultError(f"{path} has format {found!r}, not {FORMAT}; {advice}")
    missing = REQUIRED - result.keys()
    if missing:
        raise ResultError(f"{path} lacks {sorted(missing)}; {advice}")
    known = {field.name for field in fields(Cell)}
    if result["cell"].keys() != known:
        differing = sorted(result["cell"].keys() ^ known)
        raise ResultError(f"{path} is of a cell with other fields, {differing}; {advice}")
    cell = Cell(**result["cell"])
    if cell.name != path.stem:
        raise ResultError(f"{path} is of the cell {cell.name}; rename the file, or {advice}")
    return {**result, "cell": cell}


def read_results(folder):
    """All results in a folder, in the order of their names."""
    return [read_result(path) for path in sorted(Path(folder).glob("*.json"))]


def write_result(folder, cell, figures):
    """Write figures (a dict) of a cell; readers never see a part of the file."""
    result = {"format": FORMAT, "cell": asdict(cell), **figures}
    path = result_path(folder, cell)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(_without_nan(result), indent=1, allow_nan=False) + "\n")
    partial.replace(path)


def _without_nan(value):
    """JSON has no infinity, which kappa of a collapsed embedding is."""
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def claim(folder, cell):
    """Yields whether the cell is this process's to compute, until the context ends."""
    path = lock_path(folder, cell)
    is_mine = _acquire(path)
    try:
        yield is_mine
    finally:
        if is_mine:
            path.unlink(missing_ok=True)


def checkpoint_path(folder, cell):
    return Path(folder, f"{cell.name}.checkpoint")


def lock_path(folder, cell):
    return Path(folder, f"{cell.name}.lock")


def owner_of(path):
    """Host and pid in a lock file; None if there is none, or nothing in it yet."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def is_gone(owner):
    """Whether the process that wrote a lock was on this host and no longer runs."""
    if owner is None or owner["host"] != socket.gethostname():
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # runs, as somebody else
        return False
    return False


def _acquire(path):
    me = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
    try:
        with path.open("x") as lock:  # O_EXCL: one process only creates it
            lock.write(me)
    except FileExistsError:
        return is_gone(owner_of(path)) and _take_over(path, me)
    return True


def _take_over(path, me):
    # the kernel lets one process at a time look again and write
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not is_gone(json.loads(lock.read())):
                return False
            lock.seek(0)
            lock.truncate()
            lock.write(me)
            lock.flush()
    except (OSError, json.JSONDecodeError):  # somebody else is at it
        return False
    return True
