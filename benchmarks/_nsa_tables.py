"""The tables of the NSA paper: which cells they need, and which figure goes where.

Rows and columns have the names of the files nsa_table<number>.csv; `where` says which cells a
figure of ours is the mean of. What is in the files and not here is of other methods.
"""

import csv
from dataclasses import dataclass, field
from pathlib import Path

N_CLASSES = {"cifar10": 10, "cifar100": 20, "fashion_mnist": 10, "svhn": 10}
PAPER_EPOCHS = {"simclr": 500, "simclr-shifted": 500, "simsiam": 4000, "byol": 4000}
NORMALIZE = ("both", "embedding", "projection", None)
SIX_SCORES = ("k_cos", "k_cos_mah", "c_cos", "c_cos_mah", "gde", "ens")

SETS = {"C10": "cifar10", "C100": "cifar100", "fMNIST": "fashion_mnist"}
OBJECTIVE = {
    "BYOL": {"method": "byol"},
    "SimSiam": {"method": "simsiam"},
    "SimCLR": {"method": "simclr"},
    "SimCLR(-)": {"method": "simclr-shifted"},
}
PLAIN, NORMALIZED = {"normalize": None}, {"normalize": "both"}
SHORT = {
    "BYOL": OBJECTIVE["BYOL"] | PLAIN,
    "BYOL(n)": OBJECTIVE["BYOL"] | NORMALIZED,
    "SS": OBJECTIVE["SimSiam"] | PLAIN,
    "SS(n)": OBJECTIVE["SimSiam"] | NORMALIZED,
    "SC": OBJECTIVE["SimCLR"] | PLAIN,
    "SC(n)": OBJECTIVE["SimCLR"] | NORMALIZED,
    "SC(-)": OBJECTIVE["SimCLR(-)"] | PLAIN,
    "SC(n-)": OBJECTIVE["SimCLR(-)"] | NORMALIZED,
}
CLEAN = {"pollution": 0.0}
MAH, ENS = {"figure": "k_cos_mah"}, {"figure": "ens"}
RESNETS = {depth: {"method": f"pretrained-resnet{depth}"} | MAH for depth in (18, 50, 152)}
DROC, DROC_DA = SHORT["SC"] | {"figure": "droc_ocsvm"}, SHORT["SC(-)"] | {"figure": "droc_ocsvm"}


@dataclass(frozen=True)
class Table:
    """Rows and columns of a table, by the names in the file."""

    title: str
    keys: int  # so many of the file's first columns name the row
    rows: dict
    columns: dict
    base: dict = field(default_factory=dict)

    def where(self, row, column):
        """Fields of the cells, and the name of their figure; None if there are none of ours."""
        if row not in self.rows or column not in self.columns:
            return None
        found = self.base | self.rows[row] | self.columns[column]
        if "map" in found:
            scores = found.pop("scores", {score: score for score in MAP_COLUMNS})
            feature_map, score = found.pop("map"), scores.get(found.pop("score"))
            return found | {"figure": f"{feature_map}/{score}"} if score else None
        return found


def _polluted(column_sets):
    return {
        (name, str(p)): {"dataset": dataset, "pollution": float(p)}
        for name, dataset in column_sets.items()
        for p in (0, 0.1)
    }


def _feature_maps(n_head_layers):
    maps = [f"conv_block_{i}" for i in (2, 3, 4)]
    maps += [f"conv_block_{i} (1x1)" for i in (1, 2, 3, 4)]
    maps += [f"head_layer_{i + 1}" for i in range(n_head_layers)]
    rows = {(name,): {"map": name} for name in maps}
    pairs = {"k_cos": "k_cos + k_cos_mah", "c_cos": "c_cos + c_cos_mah"}
    four = {"k_cos": "all four"}
    # figures that span columns stand in the first of them
    rows["All Conv blocks",] = {"map": "All conv blocks", "scores": pairs}
    rows["All Conv blocks (2)",] = {"map": "All conv blocks", "scores": four}
    rows["All blocks",] = {"map": "All blocks"}
    rows["All blocks (2)",] = {"map": "All blocks", "scores": pairs}
    rows["All blocks (3)",] = {"map": "All blocks", "scores": four}
    rows["Ens.",] = {"map": "Ens.", "scores": {"k_cos": "Ens."}}
    return rows


PRINTED = "k_cos_mah_printed"  # a column more than the paper has
MAP_COLUMNS = {score: {"score": score} for score in (*SIX_SCORES[:-1], PRINTED)}
CLASSES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TABLES = {
    1: Table("Without ensembling: k-Cos (Mah) of the last block", 2, _polluted(SETS), SHORT, MAH),
    2: Table(
        "With the feature ensemble",
        2,
        {
            (name, f"{p}"): {"dataset": dataset, "pollution": p}
            for name, dataset in {"CIFAR10": "cifar10", "fMNIST": "fashion_mnist"}.items()
            for p in (0.0, 0.1)
        }
        | {("CIFAR100", f"{p}"): {"dataset": "cifar100", "pollution": p} for p in (0.0, 0.1)},
        {f"{name}_E": SHORT[name] for name in ("BYOL(n)", "SS(n)", "SC(n)", "SC(n-)")},
        ENS,
    ),
    3: Table(
        "SimSiam with each of the normalisations",
        1,
        {
            ("without norm",): PLAIN,
            ("only normalise f",): {"normalize": "embedding"},
            ("only normalise g",): {"normalize": "projection"},
            ("normalise both",): NORMALIZED,
        },
        {
            f"{dataset}_bs{size}": {"dataset": dataset, "batch_size": size}
            for dataset in ("cifar10", "cifar100")
            for size in (32, 512)
        },
        OBJECTIVE["SimSiam"] | CLEAN | MAH,
    ),
    4: Table(
        "SVHN, from scratch and pretrained",
        1,
        {
            ("SS(n) from scratch",): SHORT["SS(n)"],
            ("SC(n) from scratch",): SHORT["SC(n)"],
        }
        | {(f"PT R{depth} supervised",): where for depth, where in RESNETS.items()},
        {"svhn_auroc": {}},
        {"dataset": "svhn"} | CLEAN | MAH,
    ),
    5: Table(
        "Summary with results of others",
        1,
        {
            ("1. SS(n) = SimSiam with norm, aka “NSA”",): SHORT["SS(n)"] | MAH,
            ("2. SC(n) = SimCLR(w norm, no neg aug)",): SHORT["SC(n)"] | MAH,
            ("3. SC) = SimCLR(w/o norm, no neg aug)",): SHORT["SC"] | MAH,
            ("4. SS(-) = SimCLR(w/o norm, neg aug)",): SHORT["SC(-)"] | MAH,
            ("5. Pretrained ResNet18 [Ours]",): RESNETS[18],
            ("6. Pretrained ResNet50 [Ours]",): RESNETS[50],
            ("7. Pretrained ResNet152 [Ours]",): RESNETS[152],
            ("10. ResNet152 (DN2 (Reiss et al., 2020))",): RESNETS[152] | {"figure": "dn2"},
            ("13. CSI (SimCLR loss only)",): SHORT["SC"] | {"figure": "csi_head"},
            ("15. DROC, Contrastive",): DROC,
            ("16. DROC, Contrastive DA",): DROC_DA,
            ("19. DeepSVDD (Ruff et al., 2018)",): {"method": "deep_svdd", "figure": "score"},
            ("25.SSD (Sehwag et al., 2021)",): SHORT["SC"] | {"figure": "ssd"},
        },
        {
            "cifar10": {"dataset": "cifar10"},
            "cifar100": {"dataset": "cifar100"},
            "fmnist": {"dataset": "fashion_mnist"},
            "svhn": {"dataset": "svhn"},
        },
        CLEAN,
    ),
    6: Table(
        "Feature maps and scores, SimSiam with normalisation, CIFAR-10",
        1,
        _feature_maps(3),
        MAP_COLUMNS,
        SHORT["SS(n)"] | CLEAN | {"dataset": "cifar10"},
    ),
    7: Table(
        "Feature maps and scores, SimSiam with normalisation, CIFAR-100",
        1,
        _feature_maps(3),
        MAP_COLUMNS,
        SHORT["SS(n)"] | CLEAN | {"dataset": "cifar100"},
    ),
    8: Table(
        "Feature maps and scores, SimCLR with normalisation, CIFAR-10",
        1,
        _feature_maps(2),
        MAP_COLUMNS,
        SHORT["SC(n)"] | CLEAN | {"dataset": "cifar10"},
    ),
    9: Table(
        "Each class of CIFAR-10",
        1,
        {
            ("DROC, OC-SVM (Sohn et al., 2020)",): DROC,
            ("DROC OC-SVM (DA) (Sohn et al., 2020)",): DROC_DA,
            ("DROC Gaussian KDE (DA) (Sohn et al., 2020)",): SHORT["SC(-)"]
            | {"figure": "droc_kde"},
            ("NSA (SimSIAM w norm) [Ours]",): SHORT["SS(n)"] | MAH,
            ("NSA (SimSIAM w norm) All features [Ours]",): SHORT["SS(n)"]
            | {"figure": "All blocks/all four"},
        },
        {name: {"normal": i} for i, name in enumerate(CLASSES)} | {"mean": {}},
        {"dataset": "cifar10"} | CLEAN,
    ),
    10: Table(
        "More pollution, CIFAR-10",
        1,
        {
            ("SimSiam(w norm)",): SHORT["SS(n)"],
            ("SimSiam(w/o norm)",): SHORT["SS"],
            ("SimCLR(no neg, w norm)",): SHORT["SC(n)"],
            ("SimCLR(no neg, w/o norm)",): SHORT["SC"],
            ("SimCLR (neg aug, w norm)",): SHORT["SC(n-)"],
            ("SimCLR (neg aug, w/o norm)",): SHORT["SC(-)"],
            ("DROC (Sohn et al., 2020)",): DROC,
            ("DROC (DA) (Sohn et al., 2020)",): DROC_DA,
        }
        | {(f"Pretrained IN{depth}",): where for depth, where in RESNETS.items()},
        {"p0": CLEAN, "p0.05": {"pollution": 0.05}, "p0.10": {"pollution": 0.1}},
        {"dataset": "cifar10"} | MAH,
    ),
    11: Table(
        "All objectives with all scores",
        4,
        {
            (*key[:1], name, key[1], answer): where | OBJECTIVE[name] | normalize
            for key, where in _polluted(SETS).items()
            for name in OBJECTIVE
            for answer, normalize in {"no": PLAIN, "yes": NORMALIZED}.items()
        },
        {score: {"figure": score} for score in (*SIX_SCORES, PRINTED)},
    ),
}
FIGURE_TASKS = [  # figures 2 to 8
    {"dataset": "cifar10"} | CLEAN | SHORT[name] for name in ("SC", "SC(n)", "SS", "SS(n)")
]


def tasks_of(number):
    """The distinct fields of cells, as dicts, that a table needs for each class and seed."""
    table, found = TABLES[number], {}
    for row in table.rows:
        for column in table.columns:
            where = table.where(row, column) or {}
            task = {k: v for k, v in where.items() if k not in ("figure", "normal")}
            if task:
                found[tuple(sorted(task.items(), key=lambda item: item[0]))] = task
    return list(found.values())


def read_paper(folder, number):
    """Column names and the paper's figures {row: {column: float or None}} of a table.

    Rows are tuples of the columns that name them; a repeated row gets a number. Without the file
    they are those that we know, without figures.
    """
    table = TABLES[number]
    path = Path(folder, f"nsa_table{number}.csv")
    if not path.exists():
        columns = list(table.columns)
        return columns, {row: dict.fromkeys(columns) for row in table.rows}
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    columns = header[table.keys :]
    figures = {}
    for line in lines:
        row, count = tuple(line[: table.keys]), 1
        while row in figures:
            count += 1
            row = (*line[: table.keys - 1], f"{line[table.keys - 1]} ({count})")
        values = map(_number, line[table.keys :])
        figures[row] = dict.fromkeys(table.columns) | dict(zip(columns, values, strict=True))
    return [*columns, *(name for name in table.columns if name not in columns)], figures


def _number(text):
    try:
        return float(text.rstrip("†"))
    except ValueError:  # empty, or a dash
        return None
