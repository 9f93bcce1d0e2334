"""The NSA paper's tables: networks and rivals are fitted, and their scores compared."""

import time
import traceback
import warnings

from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import OneClassSVM

from skanomaly import NeighborDistance, PretrainedEncoder, SelfSupervisedEncoder

from . import nsa_cells, scores
from .methods import of_pyod
from .nsa_cells import BUDGETS, TRAINED, make_cell, make_task
from .nsa_tables import N_CLASSES, TABLES, tasks_of

SMALL_CLASSES = {"fashion_mnist": (0, 6), "cifar10": (1, 4)}
SMALL_METHODS = ("simclr", "simsiam", "byol")
# functions of a seed and the number of pixels
RIVALS = {
    "pixels": lambda seed, n: NeighborDistance(1, standardize=False),
    "iforest": lambda seed, n: IsolationForest(random_state=seed),
    "pca": lambda seed, n: scores.PCAReconstruction(0.9, random_state=seed),
    "ocsvm": lambda seed, n: OneClassSVM(),
    "autoencoder": lambda seed, n: of_pyod("auto_encoder", "AutoEncoder", True, verbose=0)(seed),
    "deep_svdd": lambda seed, n: of_pyod("deep_svdd", "DeepSVDD", True, n_features=n, verbose=0)(
        seed
    ),
}
PRETRAINED = tuple(f"pretrained-resnet{depth}" for depth in (18, 50, 152))
METHODS = (*TRAINED, "untrained", *RIVALS, *PRETRAINED)


def nsa(options, records):
    """The cells of a table of the paper (--table, default 11), with one of the BUDGETS.

    "small", the default, takes two classes each of Fashion-MNIST and CIFAR-10, and needs 1.5 hours
    on two cores. "paper" is for GPUs: `gpu` does its most valuable cells in parts. --methods may
    name rivals that the table does not have. Needs CIFAR-10, Fashion-MNIST and, for some tables
    with "paper", CIFAR-100 and SVHN.
    """
    number = 11 if options.table is None else options.table
    if number not in TABLES:
        raise ValueError(f"--table {number}: pass one of {', '.join(map(str, TABLES))}")
    cells = cells_of(tasks_of(number), options, options.budget or "small")
    return run_cells(cells, options, records, compute)


def cells_of(tasks, options, budget):
    """The cells of tasks (see `tasks_of`) that options ask for, seed by seed.

    Raises
    ------
    ValueError
        If an option names something that is not there, or nothing is left.
    """
    if budget not in BUDGETS:
        raise ValueError(f"--budget {budget}: pass one of {', '.join(BUDGETS)}")
    unknown = set(options.methods or ()) - set(METHODS)
    if unknown:
        raise ValueError(
            f"--methods {' '.join(sorted(unknown))}: pass some of {', '.join(METHODS)}"
        )
    is_small = budget.startswith("small") or options.small
    methods = options.methods or (SMALL_METHODS if is_small else METHODS)
    sets = options.sets or (SMALL_CLASSES if is_small else N_CLASSES)
    others = set(methods) - {task["method"] for task in tasks}
    tasks = [task for task in tasks if task["method"] in methods] + [
        {"set": name, "pollution": pollution, "method": method, "normalize": "both"}
        for name, pollution in dict.fromkeys((t["set"], t["pollution"]) for t in tasks)
        for method in METHODS
        if options.methods and method in others
    ]
    tasks = [task for task in tasks if task["set"] in sets]
    budget = "check" if options.small else budget
    cells = [
        make_cell(budget, seed, normal, **task)
        for task in (tasks[:4] if options.small else tasks)
        for seed in range(options.seeds or BUDGETS[budget].seeds)
        for normal in _classes(options, task["set"], is_small)
    ]
    if not cells:
        raise ValueError("the options leave nothing; pass other --sets or --methods")
    return sorted(dict.fromkeys(cells), key=lambda c: (c.seed, c.set, c.normal, c.pollution))


def _classes(options, name, is_small):
    known = range(N_CLASSES[name])
    classes = options.classes or (SMALL_CLASSES.get(name, known) if is_small else known)
    classes = [int(normal) for normal in classes]
    if not set(classes) <= set(known):
        raise ValueError(f"--classes {classes}: {name} has the classes 0 to {known[-1]}")
    return classes[:1] if options.small else classes


def run_cells(cells, options, records, compute):
    """Compute what has no rows yet; 1 if a cell failed, else 0."""
    status = 0
    for number, cell in enumerate(cells, start=1):
        if records.has(**cell.columns()):
            continue
        splits = nsa_cells.read_splits(cell.set, options.data)
        try:
            rows = compute(cell, splits)
        except Exception:  # the other cells are worth computing
            print(f"{cell} failed:", flush=True)
            traceback.print_exc()
            status = 1
            continue
        print(f"{number} of {len(cells)}", flush=True)
        records.add_all([cell.columns() | row for row in rows])
    return status


def compute(cell, splits):
    """Rows of a cell, as dicts of columns."""
    task = make_task(cell, splits)
    if cell.method not in RIVALS:
        return score(fit(make_encoder(cell), task.train), task)
    flat = [images.reshape(len(images), -1) / 255 for images in (task.train, task.test)]
    start = time.perf_counter()
    rival = RIVALS[cell.method](cell.seed, flat[0].shape[1])
    found = scores.auroc(rival, *flat, task.is_anomaly)
    return [{"score": significant(found), "seconds": significant(time.perf_counter() - start)}]


def significant(value):
    """A number with 5 significant digits."""
    return float(f"{value:.5g}")


def make_encoder(cell):
    """The encoder of a cell, not fitted yet."""
    budget = BUDGETS[cell.budget]
    if cell.method in PRETRAINED:
        backbone = cell.method.removeprefix("pretrained-")
        return PretrainedEncoder(backbone, max_map_width=budget.map_width)
    options = {"layers": "all", "max_map_width": budget.map_width, "random_state": cell.seed}
    if cell.method == "untrained":
        return SelfSupervisedEncoder(backbone=budget.backbone, max_epochs=0, **options)
    return SelfSupervisedEncoder(
        cell.method,
        normalize=None if cell.normalize == "none" else cell.normalize,
        backbone=budget.backbone,
        max_epochs=budget.epochs[cell.method],
        batch_size=cell.batch_size,
        learning_rate=budget.learning_rate,
        **options,
    )


def fit(encoder, images):
    """Fit an encoder. If that is interrupted, so is the benchmark."""
    # an interrupted encoder is fit for use, but its figures are none of this cell
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "training was interrupted", ConvergenceWarning)
        try:
            return encoder.fit(images)
        except ConvergenceWarning as warning:
            raise KeyboardInterrupt from warning


def score(encoder, task):
    """Rows of a fitted encoder, one for each feature map or sum of them.

    That of the embedding also has the other methods' scores, and how the training went.
    """
    start = time.perf_counter()
    figures = scores.auroc_of_maps(encoder, task.train, task.test, task.is_anomaly)
    maps = list(encoder.layer_slices_)
    embedding, head = scores.embedding_of(maps), scores.head_of(maps)
    features = [encoder.transform_blocks(images) for images in (task.train, task.test)]
    for name, scorer in scores.OTHER_SCORES.items():
        layer = head if name == "csi" else embedding
        if layer is not None:
            pair = [blocks[layer] for blocks in features]
            figures[layer][name] = scores.auroc(scorer, *pair, task.is_anomaly)
    history = getattr(encoder, "history_", [])
    fit_seconds = sum(epoch["seconds"] for epoch in history)  # before the last restart, too
    seconds = {"seconds": fit_seconds + time.perf_counter() - start}
    if history:
        last = {name: history[-1][name] for name in ("loss", "kappa", "embedding_std")}
        seconds |= {"fit_seconds": fit_seconds, **last}
    figures[embedding] |= seconds
    return [
        {"map": name, **{column: significant(value) for column, value in row.items()}}
        for name, row in figures.items()
    ]
