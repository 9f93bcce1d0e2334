"""Public image sets, tables and embeddings, from a folder or downloaded to it.

The folder may hold, for every set that an experiment needs,

* ``NAME/train_*.npz`` and ``NAME/test_*.npz`` with arrays ``x`` and ``y``, or ``y`` and images as
  lossless WebP sheets ``webp*``; or torchvision's files, which are downloaded if there are none.
  A file may hold the images at the positions ``index`` alone, the others are black then;
* ``tabular/NAME.npz`` and ``embeddings/NAME.npz`` with ``X`` and ``y``, 1 for anomalies. Those of
  ADBench (Han et al., 2022) and some of UCI are downloaded if they are missing.
"""

import io
import urllib.request
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import fetch_openml

from skanomaly import datasets

IMAGE_SETS = ("cifar10", "cifar100", "fashion_mnist", "svhn")
TILE = 32  # pixels of an image in a sheet
ADBENCH = "https://raw.githubusercontent.com/Minqi824/ADBench/main/adbench/datasets"
# names in ADBench by ours
CLASSICAL = {
    "aloi": "1_ALOI",
    "breastw": "4_breastw",
    "cardiotocography": "7_Cardiotocography",
    "celeba": "8_celeba",
    "cover": "10_cover",
    "donors": "11_donors",
    "glass": "14_glass",
    "hepatitis": "15_Hepatitis",
    "http": "16_http",
    "internetads": "17_InternetAds",
    "landsat": "19_landsat",
    "lymphography": "21_Lymphography",
    "mammography": "23_mammography",
    "mnist": "24_mnist",
    "optdigits": "26_optdigits",
    "pageblocks": "27_PageBlocks",
    "satellite": "30_satellite",
    "satimage-2": "31_satimage-2",
    "skin": "33_skin",
    "smtp": "34_smtp",
    "thyroid": "38_thyroid",
    "vertebral": "39_vertebral",
    "waveform": "41_Waveform",
    "wdbc": "43_WDBC",
    "wpbc": "46_WPBC",
}
OBJECTS = ("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather")
EMBEDDINGS = {
    "resnet18_cifar10_0": "CV_by_ResNet18/CIFAR10_0",
    "resnet18_svhn_0": "CV_by_ResNet18/SVHN_0",
    "resnet18_svhn_8": "CV_by_ResNet18/SVHN_8",
    **{f"resnet18_mvtec_{name}": f"CV_by_ResNet18/MVTec-AD_{name}" for name in OBJECTS},
    **{f"vit_mvtec_{name}": f"CV_by_ViT/MVTec-AD_{name}" for name in OBJECTS},
}
# number in OpenML, the classes that are anomalies, rows and anomalies of DUM's Table 2
OPENML = {
    "uci_arrhythmia": (5, {str(i) for i in range(2, 17)}, 452, 207),
    "uci_ionosphere": (59, {"b"}, 351, 126),
    "uci_pima": (37, {"tested_positive"}, 768, 268),
    "uci_spambase": (44, {"1"}, 4601, 1813),
    "uci_wdbc": (1510, {"2"}, 569, 212),
}
SOURCES = {
    "tabular": {name: f"{ADBENCH}/Classical/{path}.npz" for name, path in CLASSICAL.items()},
    "embeddings": {name: f"{ADBENCH}/{path}.npz" for name, path in EMBEDDINGS.items()},
}


def read_images(name, split, folder):
    """Images (n, height, width[, channels]) of uint8 and labels (n,).

    Parameters
    ----------
    name : {"cifar10", "cifar100", "fashion_mnist", "svhn"}
        The set; of cifar100, the super-classes.
    split : {"train", "test"}
        Which images.
    folder : path-like
        Where they are or go, see above.

    Raises
    ------
    ValueError
        If there is no such set.
    OSError
        If it is not there and cannot be downloaded.
    """
    if name not in IMAGE_SETS:
        raise ValueError(f"there is no image set {name!r}; pass one of {', '.join(IMAGE_SETS)}")
    files = sorted(Path(folder, name).glob(f"{split}_*.npz"))
    if not files:
        data = getattr(datasets, f"load_{name}")(folder, split=split, download=True)
        return data.images, data.labels
    images, labels = zip(*map(_read_file, files), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _read_file(path):
    with np.load(path) as file:
        labels = file["y"]
        if "x" in file:
            images = file["x"]
        else:
            sheets = [file[name] for name in sorted(file) if name.startswith("webp")]
            images = np.concatenate([_cut(sheet) for sheet in sheets])
        if "index" in file:
            index = file["index"]
            some, images = images, np.zeros((len(labels), *images.shape[1:]), np.uint8)
            images[index] = some[: len(index)]
        return images[: len(labels)], labels


def _cut(sheet):
    """Images of a sheet, row by row."""
    pixels = np.asarray(Image.open(io.BytesIO(sheet.tobytes())).convert("RGB"))
    rows, columns = (size // TILE for size in pixels.shape[:2])
    tiles = pixels.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
    return tiles.reshape(-1, TILE, TILE, 3)


def choose(option, asked, known):
    """The names that are asked for, by default all.

    Raises
    ------
    ValueError
        If one of them is not known.
    """
    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise ValueError(f"{option} {', '.join(unknown)}: pass some of {', '.join(known)}")
    return list(asked or known)


def resize(images, size):
    """uint8 images (n, height, width[, channels]) with this height and width."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    channels = torch.from_numpy(np.ascontiguousarray(images.reshape(*images.shape[:3], -1)))
    resized = torch.nn.functional.interpolate(
        channels.movedim(-1, 1).float(), (size, size), mode="bilinear", antialias=True
    )
    pixels = resized.round().to(torch.uint8).movedim(1, -1).numpy()
    return pixels.reshape(len(images), size, size, *images.shape[3:])


def table_names(kind, folder):
    """Names of the sets in the folder, and of those that can be downloaded.

    `kind` is "tabular" or "embeddings".
    """
    there = {path.stem for path in Path(folder, kind).glob("*.npz")}
    return sorted(there | SOURCES[kind].keys() | (OPENML.keys() if kind == "tabular" else set()))


def read_table(kind, name, folder):
    """Rows (n, d) of float64, with NaN where values are missing, and labels, 1 for anomalies.

    Raises
    ------
    ValueError
        If there is no such set, or if OpenML's is no longer that of the paper.
    OSError
        If it is not there and cannot be downloaded.
    """
    known = table_names(kind, folder)
    if name not in known:
        raise ValueError(f"{kind} has no set {name!r}; pass some of {', '.join(known)}")
    path = Path(folder, kind, f"{name}.npz")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in OPENML:
            _fetch(name, path)
        else:
            _download(SOURCES[kind][name], path)
    with np.load(path, allow_pickle=False) as file:
        return file["X"].astype(np.float64), file["y"].astype(np.int64)


def _download(url, path):
    partial = path.with_suffix(".partial")
    try:
        urllib.request.urlretrieve(url, partial)
    except OSError as error:
        raise OSError(f"{url} cannot be downloaded ({error}); put it in {path}") from error
    partial.replace(path)


def _fetch(name, path):
    number, anomalous, n_rows, n_anomalies = OPENML[name]
    X, labels = fetch_openml(data_id=number, return_X_y=True, as_frame=True)
    y = labels.astype(str).isin(anomalous)
    if (len(y), y.sum()) != (n_rows, n_anomalies):
        raise ValueError(
            f"OpenML's set {number} has {len(y)} rows with {y.sum()} anomalies, and DUM's Table 2 "
            f"has {n_rows} with {n_anomalies}; put X and y of {name} in {path}"
        )
    np.savez_compressed(path, X=X.astype(np.float64).to_numpy(), y=y.to_numpy())
