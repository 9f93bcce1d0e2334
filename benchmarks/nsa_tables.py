"""The tables of the NSA paper: which cells they need, and which figure goes where.

Rows and columns have the names of papers/nsa_table<number>.csv; `where` says which cells a
figure of ours is the mean of. What is in the files and not here is of other methods.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

PAPERS = Path(__file__).with_name("papers")
N_CLASSES = {"cifar10": 10, "cifar100": 20, "fashion_mnist": 10, "svhn": 10}
SIX_SCORES = ("k_cos", "k_cos_mah", "c_cos", "c_cos_mah", "gde", "ens")
SETS = {"C10": "cifar10", "C100": "cifar100", "fMNIST": "fashion_mnist"}
OBJECTIVES = {
    "BYOL": "byol",
    "SimSiam": "simsiam",
    "SimCLR": "simclr",
    "SimCLR(-)": "simclr-shifted",
}


def _trained(method, normalize):
    return {"method": method, "normalize": normalize}


PLAIN, NORMALIZED = {"normalize": "none"}, {"normalize": "both"}
SHORT = {
    name: _trained(method, normalize)
    for method, names in {
        "byol": ("BYOL", "BYOL(n)"),
        "simsiam": ("SS", "SS(n)"),
        "simclr": ("SC", "SC(n)"),
        "simclr-shifted": ("SC(-)", "SC(n-)"),
    }.items()
    for name, normalize in zip(names, ("none", "both"), strict=True)
}
CLEAN = {"pollution": 0.0}
# figures are of a feature map, or a sum of maps, with a score, or a sum of scores
MAH, ENS = {"figure": ("embedding", "k_cos_mah")}, {"figure": ("Ens.", "score")}
PRINTED = "k_cos_mah_printed"  # a column more than the paper has
FIGURES = {score: {"figure": ("embedding", score)} for score in (*SIX_SCORES[:-1], PRINTED)}
FIGURES = {**FIGURES, "ens": ENS}
RESNETS = {depth: {"method": f"pretrained-resnet{depth}"} | MAH for depth in (18, 50, 152)}
OCSVM = {"figure": ("embedding", "droc_ocsvm")}
DROC, DROC_DA = SHORT["SC"] | OCSVM, SHORT["SC(-)"] | OCSVM


class Table(NamedTuple):
    """Rows and columns of a table by the names in the file, with fields of cells and figures."""

    title: str
    keys: int  # so many of the file's first columns name the row
    rows: dict
    columns: dict
    base: dict = {}

    def where(self, row, column):
        """Fields of the cells, and their figure; None if there are none of ours."""
        if row not in self.rows or column not in self.columns:
            return None
        found = self.base | self.rows[row] | self.columns[column]
        if "map" in found:
            scores = found.pop("scores", {score: score for score in MAP_COLUMNS})
            found["figure"] = found.pop("map"), scores.get(found.pop("score"))
        return None if None in found["figure"] else found


def _polluted(sets, shares):
    return {
        (name, text): {"set": of_set, "pollution": float(text)}
        for name, of_set in sets.items()
        for text in shares
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
    rows["Ens.",] = {"map": "Ens.", "scores": {"k_cos": "score"}}
    return rows


def _map_table(objective, normalized, of_set, name, n_head_layers):
    title = f"Feature maps and scores, {objective} with normalisation, {name}"
    base = SHORT[normalized] | CLEAN | {"set": of_set}
    return Table(title, 1, _feature_maps(n_head_layers), MAP_COLUMNS, base)


MAP_COLUMNS = {score: {"score": score} for score in (*SIX_SCORES[:-1], PRINTED)}
CLASSES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TABLES = {
    1: Table(
        "Without ensembling: k-Cos (Mah) of the last block",
        2,
        _polluted(SETS, ("0", "0.1")),
        SHORT,
        MAH,
    ),
    2: Table(
        "With the feature ensemble",
        2,
        _polluted(
            {"CIFAR10": "cifar10", "fMNIST": "fashion_mnist", "CIFAR100": "cifar100"},
            ("0.0", "0.1"),
        ),
        {f"{name}_E": where for name, where in SHORT.items() if "n" in name},
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
            f"{of_set}_bs{size}": {"set": of_set, "batch_size": size}
            for of_set in ("cifar10", "cifar100")
            for size in (32, 512)
        },
        {"method": "simsiam"} | CLEAN | MAH,
    ),
    4: Table(
        "SVHN, from scratch and pretrained",
        1,
        {("SS(n) from scratch",): SHORT["SS(n)"], ("SC(n) from scratch",): SHORT["SC(n)"]}
        | {(f"PT R{depth} supervised",): where for depth, where in RESNETS.items()},
        {"svhn_auroc": {}},
        {"set": "svhn"} | CLEAN | MAH,
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
            ("10. ResNet152 (DN2 (Reiss et al., 2020))",): RESNETS[152]
            | {"figure": ("embedding", "dn2")},
            ("13. CSI (SimCLR loss only)",): SHORT["SC"] | {"figure": ("head", "csi")},
            ("15. DROC, Contrastive",): DROC,
            ("16. DROC, Contrastive DA",): DROC_DA,
            ("19. DeepSVDD (Ruff et al., 2018)",): {
                "method": "deep_svdd",
                "figure": ("", "score"),
            },
            ("25.SSD (Sehwag et al., 2021)",): SHORT["SC"] | {"figure": ("embedding", "ssd")},
        },
        {
            "cifar10": {"set": "cifar10"},
            "cifar100": {"set": "cifar100"},
            "fmnist": {"set": "fashion_mnist"},
            "svhn": {"set": "svhn"},
        },
        CLEAN,
    ),
    6: _map_table("SimSiam", "SS(n)", "cifar10", "CIFAR-10", 3),
    7: _map_table("SimSiam", "SS(n)", "cifar100", "CIFAR-100", 3),
    8: _map_table("SimCLR", "SC(n)", "cifar10", "CIFAR-10", 2),
    9: Table(
        "Each class of CIFAR-10",
        1,
        {
            ("DROC, OC-SVM (Sohn et al., 2020)",): DROC,
            ("DROC OC-SVM (DA) (Sohn et al., 2020)",): DROC_DA,
            ("DROC Gaussian KDE (DA) (Sohn et al., 2020)",): SHORT["SC(-)"]
            | {"figure": ("embedding", "droc_kde")},
            ("NSA (SimSIAM w norm) [Ours]",): SHORT["SS(n)"] | MAH,
            ("NSA (SimSIAM w norm) All features [Ours]",): SHORT["SS(n)"]
            | {"figure": ("All blocks", "all four")},
            # the paper has SimCLR's means alone
            ("SimCLR w norm",): SHORT["SC(n)"] | MAH,
            ("SimCLR w norm, all four scores of the blocks",): SHORT["SC(n)"]
            | {"figure": ("All conv blocks", "all four")},
        },
        {name: {"normal": i} for i, name in enumerate(CLASSES)} | {"mean": {}},
        {"set": "cifar10"} | CLEAN,
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
        {"set": "cifar10"} | MAH,
    ),
    11: Table(
        "All objectives with all scores",
        4,
        {
            (name, objective, text, answer): where | _trained(OBJECTIVES[objective], normalize)
            for (name, text), where in _polluted(SETS, ("0", "0.1")).items()
            for objective in OBJECTIVES
            for answer, normalize in {"no": "none", "yes": "both"}.items()
        },
        {score: FIGURES[score] for score in (*SIX_SCORES, PRINTED)},
    ),
}
CURVE_TASKS = [  # figures 2 to 8
    {"set": "cifar10"} | CLEAN | SHORT[name] for name in ("SC", "SC(n)", "SS", "SS(n)")
]


def tasks_of(number):
    """The distinct fields of cells, as dicts, that a table needs for each class and seed."""
    table, tasks = TABLES[number], []
    for row in table.rows:
        for column in table.columns:
            where = table.where(row, column) or {}
            task = {k: v for k, v in where.items() if k not in ("figure", "normal")}
            if task and task not in tasks:
                tasks.append(task)
    return tasks


def read_paper(number, folder=PAPERS):
    """The paper's figures, a DataFrame of the table's rows and columns and of ours.

    Rows are tuples of what names them; a repeated row gets a number.
    """
    table = TABLES[number]
    text = pd.read_csv(Path(folder, f"nsa_table{number}.csv"), dtype=str, keep_default_na=False)
    names = [tuple(row) for row in text.iloc[:, : table.keys].to_numpy()]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    repeated = {
        i: (*name[:-1], f"{name[-1]} ({count})")
        for i, (name, count) in enumerate(zip(names, counts, strict=True))
        if count > 1
    }
    figures = text.iloc[:, table.keys :].apply(lambda c: pd.to_numeric(c.str.rstrip("†"), "coerce"))
    figures.index = pd.Index(
        [repeated.get(i, name) for i, name in enumerate(names)], tupleize_cols=False
    )
    rows = [*figures.index, *(row for row in table.rows if row not in figures.index)]
    columns = [*figures, *(name for name in table.columns if name not in figures)]
    return figures.reindex(index=pd.Index(rows, tupleize_cols=False), columns=columns)
