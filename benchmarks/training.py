"""Experiments that train: images per second, and AUROC against seconds."""

import time
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torchvision
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from skanomaly import MahalanobisCosine, NeighborDistance, NSADetector, SelfSupervisedEncoder
from skanomaly._training._device import has_fast_bfloat16

from .data import choose, read_images

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FASTEST = "bfloat16" if has_fast_bfloat16(DEVICE) else "float32"  # what precision="auto" is here
FLOP_PER_IMAGE = 2 * 3 * 1.11e9  # two views, forward and backward, of 0.56 G multiply-adds each


class Sizes(NamedTuple):
    """How much is timed; steps to warm up outlast what lightly's workers load ahead."""

    batch_size: int
    n_images: int
    epochs: int
    warm_up: int
    timed: int
    workers: int
    rounds: int
    matrix: int


ON_CPU = Sizes(128, 512, epochs=2, warm_up=1, timed=4, workers=2, rounds=5, matrix=2_048)
ON_CUDA = Sizes(512, 5_000, epochs=5, warm_up=40, timed=40, workers=16, rounds=5, matrix=8_192)
SMALL = Sizes(2, 4, epochs=2, warm_up=0, timed=1, workers=0, rounds=2, matrix=64)
MEMORY_BATCHES = (128, 512, 2048)  # measured on CUDA

TASKS = (("fashion_mnist", 0), ("fashion_mnist", 6), ("cifar10", 1), ("cifar10", 4))
EPOCHS = (25, 50, 100)
N_TRAIN, N_TEST = 1_500, 250  # images of the normal class, and of each of the ten classes


def training_speed(options, records):
    """Images per second of SimSiam with a ResNet-18 on CIFAR-10, beside lightly.

    lightly is the loop of its documentation: its transform in a DataLoader, two passes through the
    network, SGD; skanomaly has AdamW. "bare network" is forward and backward of one batch of views
    that lies ready. "matrix product" is what one would allow that did the same operations. They
    take turns in each round, so that a busy machine slows all alike; ratios are within a round.
    float32 is PyTorch's default, which on GPUs convolves in TF32. On CUDA the peak memory is
    measured too. Needs lightly. Ten minutes on two cores.
    """
    sizes = SMALL if options.small else ON_CUDA if DEVICE.type == "cuda" else ON_CPU
    X = read_images("cifar10", "train", options.data)[0][: sizes.n_images]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of collapse after so short a training
        rates = race(make_contestants(X, sizes), sizes.rounds)
        about = {"device": DEVICE.type}
        records.add_all([about | row for row in summarize(rates, sizes.batch_size)])
        for batch_size in MEMORY_BATCHES if DEVICE.type == "cuda" else ():
            row = {"method": "skanomaly", "precision": FASTEST, "batch_size": batch_size}
            records.add(**about, **row, memory_mib=peak_memory(X, batch_size))


def make_contestants(X, sizes):
    """Functions that measure images per second, by method and precision."""
    makers = {
        "skanomaly": make_skanomaly,
        "lightly": make_lightly,
        "bare network": make_bare_network,
        "matrix product": make_matrix_product,
    }
    precisions = dict.fromkeys(("float32", FASTEST))
    return {(m, p): make(X, p, sizes) for m, make in makers.items() for p in precisions}


def race(contestants, rounds):
    """Images per second: a row for each round, a column for each contestant."""
    rates = [[measure() for measure in contestants.values()] for _ in range(rounds)]
    return pd.DataFrame(rates, columns=pd.MultiIndex.from_tuples(contestants))


def summarize(rates, batch_size):
    """Median, least and greatest rate and ratios of each contestant."""
    for method, precision in rates:
        rate = rates[method, precision]
        columns = {
            "images_per_second": rate,
            "times_lightly": rate / rates["lightly", "float32"],
            "times_bare_network": rate / rates["bare network", precision],
        }
        about = {"method": method, "precision": precision, "batch_size": batch_size}
        for statistic in "median", "min", "max":
            figures = {name: float(f"{v.agg(statistic):.4g}") for name, v in columns.items()}
            yield {**about, "statistic": statistic, **figures}


def fit_skanomaly(X, precision, batch_size, epochs):
    return SelfSupervisedEncoder(
        "simsiam",
        backbone="resnet18",
        layers="last",
        batch_size=batch_size,
        max_epochs=epochs,
        precision=precision,
        random_state=0,
    ).fit(X)


def make_skanomaly(X, precision, sizes):
    def measure():
        encoder = fit_skanomaly(X, precision, sizes.batch_size, sizes.epochs)
        later = encoder.history_[1:]  # the first epoch warms up
        return len(X) * len(later) / sum(epoch["seconds"] for epoch in later)

    return measure


def make_resnet():
    """ResNet-18 as skanomaly has it for images of up to 64 pixels."""
    network = torchvision.models.resnet18()
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = network.fc = nn.Identity()
    return network.to(DEVICE)


class Views(Dataset):
    """Two views of each image."""

    def __init__(self, X, transform):
        self.images = [Image.fromarray(x) for x in X]
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i])


def make_lightly(X, precision, sizes):
    """The loop of lightly's documentation, with a loader that stays alive."""
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
    from lightly.transforms import SimSiamTransform

    backbone = make_resnet()
    projector = SimSiamProjectionHead(512, 512, 128).to(DEVICE)
    predictor = SimSiamPredictionHead(128, 64, 128).to(DEVICE)
    criterion = NegativeCosineSimilarity()
    model = nn.ModuleList([backbone, projector, predictor])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06)
    views = Views(X, SimSiamTransform(input_size=X.shape[1]))
    loader = DataLoader(
        views,
        sizes.batch_size,
        # longer than is measured: workers load ahead to the end, as within a long epoch
        sampler=RandomSampler(views, replacement=True, num_samples=10**6),
        num_workers=sizes.workers,
        persistent_workers=sizes.workers > 0,
        pin_memory=DEVICE.type == "cuda",
    )

    def forward(x):
        z = projector(backbone(x.to(DEVICE, non_blocking=True)))
        return z.detach(), predictor(z)

    def step(batch):
        with autocast(precision):
            (z0, p0), (z1, p1) = map(forward, batch)
            loss = (criterion(z0, p1) + criterion(z1, p0)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def measure():
        batches = iter(loader)
        return sizes.batch_size * steps_per_second(lambda: step(next(batches)), sizes)

    return measure


def make_bare_network(X, precision, sizes):
    network = make_resnet().to(memory_format=torch.channels_last)
    views = torch.rand(2 * sizes.batch_size, 3, *X.shape[1:3], device=DEVICE)
    views = views.to(memory_format=torch.channels_last)

    def step():
        network.zero_grad()
        with autocast(precision):
            loss = network(views).float().square().mean()
        loss.backward()

    return lambda: sizes.batch_size * steps_per_second(step, sizes)


def make_matrix_product(X, precision, sizes):
    a, b = torch.randn(
        2, sizes.matrix, sizes.matrix, device=DEVICE, dtype=getattr(torch, precision)
    )
    images = 2 * sizes.matrix**3 / FLOP_PER_IMAGE
    return lambda: images * steps_per_second(lambda: a @ b, sizes)


def autocast(precision):
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bfloat16")


def steps_per_second(step, sizes):
    synchronize = getattr(torch, DEVICE.type).synchronize
    for _ in range(sizes.warm_up):
        step()
    synchronize()
    start = time.perf_counter()
    for _ in range(sizes.timed):
        step()
    synchronize()
    return sizes.timed / (time.perf_counter() - start)


def peak_memory(X, batch_size):
    """MiB that training for an epoch needs on CUDA."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fit_skanomaly(np.resize(X, (2 * batch_size, *X.shape[1:])), FASTEST, batch_size, 1)
    return round((torch.cuda.max_memory_allocated() - before) / 2**20)


def training_time(options, records):
    """AUROC against seconds: the default detector after some numbers of epochs, each a fit anew.

    Two classes of Fashion-MNIST and two of CIFAR-10 are normal in turn, with 1,500 training images.
    `seconds` and `cpu_seconds`, of all threads, are of the whole fit. `auroc` is of the detector,
    `auroc_last_block` of k-Cos on the last averaged block alone. Half an hour on two cores.
    """
    epochs = (1,) if options.small else EPOCHS
    chosen = choose("--sets", options.sets, dict(TASKS))
    for name, normal in TASKS[:1] if options.small else TASKS:
        if name not in chosen:
            continue
        splits = [read_images(name, split, options.data) for split in ("train", "test")]
        for seed in range(options.seeds or 1):
            task = draw_task(
                *splits, normal, seed, *((40, 5) if options.small else (N_TRAIN, N_TEST))
            )
            about = {"set": name, "normal": normal, "seed": seed}
            if not records.has(**about, method="nearest pixels"):
                records.add(**about, method="nearest pixels", auroc=auroc_of_pixels(*task))
            for n in (0, *epochs):
                row = {"method": "untrained", "epochs": 0, "precision": FASTEST}
                if n:
                    row |= {"method": "NSA", "normalize": "both", "epochs": n}
                if not records.has(**about, **row):
                    records.add(**about, **row, **evaluate_training(n, seed, *task))


def draw_task(train, test, normal, seed, n_train, n_test):
    """Training images, test images of all classes, and which of these are anomalies."""
    rng = np.random.default_rng(seed)

    def draw(labels, label, size):
        return rng.choice(np.flatnonzero(labels == label), size, replace=False)

    (X_train, y_train), (X_test, y_test) = train, test
    chosen = draw(y_train, normal, n_train)
    tested = np.concatenate([draw(y_test, label, n_test) for label in np.unique(y_test)])
    return X_train[chosen], X_test[tested], y_test[tested] != normal


def evaluate_training(epochs, seed, train, test, is_anomaly):
    """Seconds of a fit, AUROCs, and what the last epoch says of itself."""
    detector = NSADetector(SelfSupervisedEncoder(max_epochs=epochs), random_state=seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    detector.fit(train)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    encoder = detector.encoder_
    last = [name for name in encoder.layer_slices_ if name.endswith("(1x1)")][-1]
    rows = [encoder.transform_blocks(images)[last] for images in (train, test)]
    nearest = MahalanobisCosine(whiten=False).fit(rows[0])
    epoch = encoder.history_[-1] if epochs else {}
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "auroc": auroc(is_anomaly, detector.score_samples(test)),
        "auroc_last_block": auroc(is_anomaly, nearest.score_samples(rows[1])),
        **{k: float(f"{epoch[k]:.4g}") for k in ("loss", "kappa", "embedding_std") if k in epoch},
    }


def auroc_of_pixels(train, test, is_anomaly):
    train, test = (X.reshape(len(X), -1) / 255 for X in (train, test))
    nearest = NeighborDistance(1, standardize=False).fit(train)
    return auroc(is_anomaly, nearest.score_samples(test))


def auroc(is_anomaly, scores):
    """In per cent, of scores that are higher for normal images."""
    return round(100 * float(roc_auc_score(is_anomaly, -scores)), 2)
