"""An experiment on what projecting wide feature maps costs."""

from itertools import product

import torch
from sklearn.metrics import roc_auc_score

from skanomaly import FeatureEnsemble, SelfSupervisedEncoder
from skanomaly.encoders._encoder_network import SparseProjection

from .nsa_cells import BUDGETS, make_cell, make_task, read_splits

WHOLE = 0
WIDTHS = (WHOLE, 512, 256, 192, 128, 64)
CLASSES = {"fashion_mnist": (0, 2, 6), "cifar10": (1, 4, 7)}


def projection(options, records):
    """AUROC of the default ensemble, by the number of values that flattened maps are projected to.

    1,000 images of one class of Fashion-MNIST or CIFAR-10, which the budget "small" of the NSA
    paper's tables trains on: SimCLR, 30 epochs. 250 test images of each class. The maps are those
    of one network, whole (width 0) and projected. 20 minutes on two cores.
    """
    budget = "check" if options.small else "small"
    for seed, name in product(range(options.seeds or 2), options.sets or CLASSES):
        for normal in CLASSES[name]:
            about = {"set": name, "normal": normal, "seed": seed}
            if not records.has(**about):
                cell = make_cell(budget, seed, normal, "simclr", set=name, pollution=0.0)
                task = make_task(cell, read_splits(name, options.data))
                figures = evaluate(task, seed, BUDGETS[budget].epochs["simclr"])
                records.add_all([{**about, "width": w, "auroc": a} for w, a in figures])


def evaluate(task, seed, epochs):
    """AUROC in per cent by width."""
    encoder = SelfSupervisedEncoder(max_map_width=None, max_epochs=epochs, random_state=seed)
    encoder.fit(task.train)
    train, test = (encoder.transform_blocks(X) for X in task[:2])
    for width in WIDTHS:
        detector = FeatureEnsemble("all").fit(project(train, width, seed))
        scores = detector.score_samples(project(test, width, seed))
        yield width, round(100 * float(roc_auc_score(task.is_anomaly, -scores)), 2)


def project(blocks, width, seed):
    """The blocks, those that are wider projected as encoders do."""
    projected = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, rows in blocks.items():
            if width != WHOLE and rows.shape[1] > width and not name.endswith("(1x1)"):
                draw = SparseProjection.draw(rows.shape[1], width)
                projected[name] = draw(torch.from_numpy(rows)).numpy()
            else:
                projected[name] = rows
    return projected
