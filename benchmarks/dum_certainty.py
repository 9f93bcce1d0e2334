"""Figure 1 of DUM, in small: images and views in the order of how certain their embeddings are.

    python benchmarks/dum_certainty.py --data ../shared/data [--epochs 20]

An encoder (SimCLR, compact) is trained on 3,000 training images of CIFAR-10 of all classes, and a
DUMDetector on its embeddings of them. The picture shows the most and the least certain test images
of three classes, and of one image's random views. The figures say what the paper sees in its
picture: the share of an image that a crop keeps, against the certainty of the crop. Neither sees a
label. A few minutes on one core. Writes docs/dum_certainty.png and results/dum_certainty.json;
--small is a quick check that writes nothing.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from _data import read_images
from _report import write_report
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from skanomaly import DUMDetector, SelfSupervisedEncoder
from skanomaly.encoders import ImageAugmentation

PICTURE = Path(__file__).parent.parent / "docs" / "dum_certainty.png"
CLASSES = {1: "automobile", 5: "dog", 8: "ship"}
N_TRAIN, N_TEST, N_VIEWS, N_SHOWN = 3_000, 2_000, 200, 8
AREAS = (1.0, 0.5, 0.25, 0.1)


def make_views(images, augmentation, seed):
    """A view of each uint8 image (n, height, width, 3)."""
    tensor = torch.from_numpy(images).movedim(-1, 1).float() / 255
    views = augmentation(tensor, torch.Generator().manual_seed(seed))
    return (255 * views).round().clamp(0, 255).to(torch.uint8).movedim(1, -1).numpy()


def fit(train, epochs, seed):
    """A function that scores images: the higher, the more certain."""
    encoder = SelfSupervisedEncoder(layers="last", max_epochs=epochs, random_state=seed).fit(train)
    detector = DUMDetector(scaling="whitened", random_state=seed).fit(encoder.transform(train))
    return lambda images: detector.score_samples(encoder.transform(images))


def measure_crops(certainty, images, seed):
    """Mean score by area, share of images with a less certain crop, and Spearman's correlation."""
    crops = [
        ImageAugmentation(crop_area=(a, a), aspect_ratio=(1, 1), jitter=0, grayscale=0)
        for a in AREAS
    ]
    scores = np.array([certainty(make_views(images, crop, seed)) for crop in crops])
    areas = np.repeat(AREAS, len(images))
    return {
        "crop_area": AREAS,
        "mean_score": [round(float(s), 3) for s in scores.mean(axis=1)],
        "share_less_certain_than_whole": [round(float((s < scores[0]).mean()), 3) for s in scores],
        "spearman": round(float(spearmanr(areas, scores.ravel()).statistic), 3),
    }


def choose_extremes(certainty, images):
    """The most certain images, and the least certain ones."""
    order = np.argsort(-certainty(images))
    return images[order[:N_SHOWN]], images[order[-N_SHOWN:]]


def draw_picture(certainty, images, y, seed):
    """Rows of images of each class, and of views of one image."""
    rows = {name: choose_extremes(certainty, images[y == label]) for label, name in CLASSES.items()}
    copies = np.repeat(images[y == min(CLASSES)][:1], N_VIEWS, axis=0)
    views = make_views(copies, ImageAugmentation(crop_area=(0.08, 1)), seed)
    rows["views of one image"] = choose_extremes(certainty, views)
    page = Figure(figsize=(1.2 * N_SHOWN + 1.6, 0.75 * len(rows)), layout="constrained")
    axes = page.subplots(len(rows), 2, squeeze=False)
    for row, (title, pair) in zip(axes, rows.items(), strict=True):
        for axis, shown in zip(row, pair, strict=True):
            axis.imshow(np.concatenate(list(shown), axis=1))
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, rotation=0, ha="right", va="center")
    axes[0][0].set_title("most certain")
    axes[0][1].set_title("least certain")
    return page


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--root", help="torchvision's files, if the data folder has no such set")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2, help="number of repetitions")
    parser.add_argument("--small", action="store_true", help="few images, no result file")
    args = parser.parse_args()
    n_train, n_test = N_TRAIN, N_TEST
    if args.small:
        args.epochs, args.seeds, n_train, n_test = 1, 1, 100, 200
    train, _ = read_images("cifar10", "train", args.data, args.root)
    test, y = read_images("cifar10", "test", args.data, args.root)
    results = {}
    for seed in range(args.seeds):
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(test))[:n_test]
        certainty = fit(rng.permutation(train)[:n_train], args.epochs, seed)
        figures = measure_crops(certainty, test[chosen], seed)
        print(f"seed {seed}", figures, flush=True)
        results[f"seed {seed}"] = figures
        if seed == 0:
            page = draw_picture(certainty, test[chosen], y[chosen], seed)
    if not args.small:
        page.savefig(PICTURE, dpi=80, metadata={"Software": None})
        about = {"train_images": N_TRAIN, "test_images": N_TEST, "epochs": args.epochs}
        write_report("dum_certainty", {**about, "results": results})


if __name__ == "__main__":
    main()
