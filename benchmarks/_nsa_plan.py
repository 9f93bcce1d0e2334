"""Which cells a call of benchmarks.nsa asks for: a table's tasks, and a recipe."""

import itertools

from ._cells import OF_IMAGES, OF_TRAINING, Cell
from ._nsa_methods import OBJECTIVES
from ._nsa_tables import FIGURE_TASKS, N_CLASSES, PAPER_EPOCHS, tasks_of

PAPER = {
    "backbone": "resnet18",
    "epochs": PAPER_EPOCHS,
    "batch_size": 512,
    "learning_rate": 1e-4,
    "image_size": 32,
    "seeds": 1,
}
SMALL_BUDGET = {
    "backbone": "compact",
    "epochs": dict.fromkeys(OBJECTIVES, 30),
    "batch_size": 64,
    "learning_rate": 3e-3,
    "train_images": 1_000,
    "test_images": 250,
    "seeds": 2,
}
SMALL_CLASSES = {"fashion_mnist": [0, 6], "cifar10": [1, 4]}
SMALL_OBJECTIVES = ("simclr", "simsiam", "byol")
OF_FIGURES = {"epochs": dict.fromkeys(OBJECTIVES, 5_000), "seeds": 1}
OF_SMALL_FIGURES = OF_FIGURES | {"epochs": dict.fromkeys(OBJECTIVES, 200)}


def plan(args):
    """The cells of a run in the order of computation, seed by seed.

    Raises
    ------
    ValueError
        If a data set has no such class, or nothing is left to compute.
    """
    recipe = _recipe(args)
    wanted = FIGURE_TASKS if args.figures else tasks_of(args.table)
    tasks = [task | replaced for task in wanted for replaced in _replaced(args, task)]
    if args.small:
        tasks = [task for task in tasks if task["dataset"] == tasks[0]["dataset"]]
    cells = [
        _make_cell(task, recipe, normal, seed)
        for seed in range(recipe["seeds"])
        for task in tasks
        for normal in _classes(args, task["dataset"])
    ]
    order = {dataset: i for i, dataset in enumerate(N_CLASSES)}
    if not cells:
        raise ValueError(
            f"--small-budget leaves nothing of table {args.table}; pass --dataset and --objective"
        )
    cells.sort(key=lambda cell: (cell.seed, order[cell.dataset], cell.normal, cell.pollution))
    return list(dict.fromkeys(cells))


def _recipe(args):
    recipe = dict(SMALL_BUDGET if args.small_budget or args.small else PAPER)
    if args.figures:
        recipe |= OF_SMALL_FIGURES if args.small_budget else OF_FIGURES
    if args.small:
        few = {"train_images": 40, "test_images": 5, "seeds": 1}
        recipe |= few | {"epochs": dict.fromkeys(OBJECTIVES, 1)}
    if args.minutes is not None:
        recipe["epochs"] = {}
    if args.epochs is not None:
        recipe["epochs"] = dict.fromkeys(OBJECTIVES, args.epochs)
    names = ("minutes", "backbone", "learning_rate", "seeds", *OF_IMAGES)
    given = {name: getattr(args, name) for name in names}
    return recipe | {name: value for name, value in given.items() if value is not None}


def _replaced(args, task):
    """Every combination of the values that replace those of a task; none if it is left out."""
    options = {
        "dataset": args.dataset,
        "method": [*(args.objective or []), *args.methods],
        "normalize": [None if n == "None" else n for n in args.normalize or []],
        "pollution": args.pollution,
        "batch_size": args.batch_size,
    }
    given = {name: values for name, values in options.items() if values}
    if args.small_budget:
        is_small = ("dataset" in given or task["dataset"] in SMALL_CLASSES) and (
            "method" in given or task["method"] in SMALL_OBJECTIVES
        )
        given |= {} if is_small else {"dataset": []}
    for values in itertools.product(*given.values()):
        yield dict(zip(given, values, strict=True))


def _classes(args, dataset):
    known = range(N_CLASSES[dataset])
    for normal in args.classes or []:
        if normal not in known:
            raise ValueError(f"--classes {normal}: {dataset} has the classes {list(known)}")
    if args.figures:
        classes = range(4)
    else:
        classes = SMALL_CLASSES.get(dataset, known) if args.small_budget else known
    classes = args.classes or classes
    return classes[:1] if args.small else classes


def _make_cell(task, recipe, normal, seed):
    """A cell with those values that its method uses."""
    values = {"normal": normal, "seed": seed, **recipe, **task}
    del values["seeds"]
    method = values["method"]
    values["epochs"] = recipe["epochs"].get(method)
    if method not in OBJECTIVES:
        unused = {"normalize", *OF_TRAINING}
        unused -= {"backbone"} if method == "untrained" else set()
        values = {name: value for name, value in values.items() if name not in unused}
    return Cell(**values)
