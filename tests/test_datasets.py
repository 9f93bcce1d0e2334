"""The bundled sample against the full set, and loaders of files in torchvision's formats."""

import importlib.util
import os
import pickle
import shutil
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
from numpy.testing import assert_array_equal
from torchvision.datasets import cifar, svhn

from benchmarks.data import read_images
from skanomaly import datasets
from skanomaly.datasets import load_fashion_mnist_sample

SHARED = Path(__file__).parents[2] / "shared" / "data"
LOADERS = ["load_cifar10", "load_cifar100", "load_fashion_mnist", "load_svhn"]
needs_data = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared/data, the full data sets, is missing"
)


def import_file(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_data
@pytest.mark.parametrize("normal, label", [("t-shirt", 0), ("shirt", 6)])
def test_sample_is_the_first_images_of_each_class(normal, label):
    load = import_file(SHARED / "load.py")
    X, y = load.images("fashion_mnist", "train", shards=2)
    X_test, y_test = load.images("fashion_mnist", "test")
    data = load_fashion_mnist_sample(normal)
    assert np.array_equal(data.X_train[:500], X[y == label][:500])
    first = np.sort(np.concatenate([np.flatnonzero(y_test == c)[:250] for c in range(10)]))
    assert np.array_equal(data.X_test, X_test[first])
    assert np.array_equal(data.y_test, np.where(y_test[first] == label, 1, -1))


@pytest.fixture
def any_checksum(monkeypatch):
    """torchvision takes files whose checksums are not those of the full sets."""
    for module in cifar, svhn:
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))


def make_images(seed, n_images, *shape):
    return np.random.default_rng(seed).integers(0, 256, (n_images, *shape), dtype=np.uint8)


def write_cifar(folder, batches, meta, **labels):
    """Pickled batches of two images each, whose rows are planes of red, green and blue."""
    folder.mkdir()
    for seed, name in enumerate(batches):
        planes = make_images(seed, 2, 32, 32, 3).transpose(0, 3, 1, 2).reshape(2, -1)
        values = {key: [label + seed for label in value] for key, value in labels.items()}
        (folder / name).write_bytes(pickle.dumps({"data": planes, **values}))
    (folder / meta.pop("file")).write_bytes(pickle.dumps(meta))


def test_cifar10(tmp_path, any_checksum):
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    meta = {"file": "batches.meta", "label_names": list("abcdefghij")}
    write_cifar(tmp_path / "cifar-10-batches-py", names, meta, labels=[4, 0])
    data = datasets.load_cifar10(tmp_path)
    assert_array_equal(
        data.images, np.concatenate([make_images(i, 2, 32, 32, 3) for i in range(5)])
    )
    assert data.labels.tolist() == [4, 0, 5, 1, 6, 2, 7, 3, 8, 4]
    assert data.class_names[data.labels[:2]].tolist() == ["e", "a"]
    data = datasets.load_cifar10(str(tmp_path), split="test")
    assert_array_equal(data.images, make_images(5, 2, 32, 32, 3))
    assert data.labels.tolist() == [9, 5]
    assert data.images.flags.c_contiguous and data.images.dtype == np.uint8


def test_cifar100_has_super_classes(tmp_path, any_checksum):
    meta = {
        "file": "meta",
        "fine_label_names": [f"fine {i}" for i in range(100)],
        "coarse_label_names": [f"coarse {i}" for i in range(20)],
    }
    labels = {"fine_labels": [97, 3], "coarse_labels": [11, 0]}
    write_cifar(tmp_path / "cifar-100-python", ["train", "test"], meta, **labels)
    for seed, split in enumerate(["train", "test"]):
        data = datasets.load_cifar100(tmp_path, split=split)
        assert_array_equal(data.images, make_images(seed, 2, 32, 32, 3))
        assert data.labels.tolist() == [11 + seed, seed] and len(data.class_names) == 20
        assert data.class_names[data.labels[0]] == f"coarse {11 + seed}"
    data = datasets.load_cifar100(tmp_path, coarse=False)
    assert data.labels.tolist() == [97, 3] and data.class_names[97] == "fine 97"


def write_fashion_mnist(root):
    """idx files: two zero bytes, the type, the number of dimensions, sizes, values."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for seed, name in enumerate(["train", "t10k"]):
        images, labels = make_images(seed, 3, 28, 28), np.array([9, 0, 6 + seed], dtype=np.uint8)
        for kind, values in {"images-idx3": images, "labels-idx1": labels}.items():
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">i4").tobytes()
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + values.tobytes())
    return folder


def test_fashion_mnist(tmp_path):
    write_fashion_mnist(tmp_path)
    for seed, split in enumerate(["train", "test"]):
        data = datasets.load_fashion_mnist(tmp_path, split=split)
        assert type(data.images) is np.ndarray and type(data.labels) is np.ndarray
        assert_array_equal(data.images, make_images(seed, 3, 28, 28))
        assert data.labels.tolist() == [9, 0, 6 + seed]
    assert data.class_names[data.labels].tolist() == ["ankle boot", "t-shirt", "sneaker"]


def test_svhn(tmp_path, any_checksum):
    for seed, split in enumerate(["train", "test"]):
        images, digits = make_images(seed, 3, 32, 32, 3), np.array([[10], [1], [9 - seed]])
        content = {"X": images.transpose(1, 2, 3, 0), "y": digits.astype(np.uint8)}
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", content)
        data = datasets.load_svhn(tmp_path, split=split)
        assert_array_equal(data.images, images)
        assert data.images.flags.c_contiguous
        assert data.class_names[data.labels].tolist() == ["0", "1", str(9 - seed)]


@pytest.mark.parametrize("loader", LOADERS)
def test_missing_files(loader, tmp_path, monkeypatch):
    load = getattr(datasets, loader)
    with pytest.raises(
        FileNotFoundError, match=r"missing or damaged in root='.*none'; pass the"
    ) as e:
        load(tmp_path / "none")
    assert str(tmp_path / "none") in str(e.value) and "download=True" in str(e.value)
    assert not (tmp_path / "none").exists()
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    with pytest.raises(FileNotFoundError, match=r"root='.*home'"):
        load()


@pytest.mark.parametrize("loader", LOADERS)
def test_download_without_network(loader, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    message = r"(?s)could not be downloaded to root='.*'; .* with a network, .*no route to host"
    with pytest.raises(OSError, match=message) as error:
        getattr(datasets, loader)(tmp_path, download=True)
    assert error.value.__cause__ is not None


def test_download_fills_root(tmp_path, monkeypatch):
    """Downloaded once: a second call finds the files, with or without `download`."""
    source = write_fashion_mnist(tmp_path / "server")
    fetched = []

    def fetch(url, download_root, filename, md5):
        fetched.append(filename)
        shutil.copy(source / filename.removesuffix(".gz"), download_root)

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fetch)
    for download in True, True, False:
        data = datasets.load_fashion_mnist(tmp_path / "new", download=download)
        assert_array_equal(data.images, make_images(0, 3, 28, 28))
    assert len(fetched) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:0],
        lambda content: content[:100],
        lambda content: b"<!DOCTYPE html><title>Not found</title>",
        lambda content: content[:2] + b"\x0a" + content[3:],  # a type that there is not
    ],
)
def test_damaged_file(damage, tmp_path):
    file = write_fashion_mnist(tmp_path) / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(FileNotFoundError, match="missing or damaged in root"):
        datasets.load_fashion_mnist(tmp_path)
    with pytest.raises(OSError, match="delete what is damaged"):
        datasets.load_fashion_mnist(tmp_path, download=True)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"root": 3}, "'root' parameter .* Got 3"),
        ({"split": "validation"}, "'split' parameter .* Got 'validation'"),
        ({"download": "yes"}, "'download' parameter .* Got 'yes'"),
    ],
)
def test_bad_parameters_of_loaders(loader, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(datasets, loader)(**arguments)


class TestImagesOfBenchmarks:
    @needs_data
    def test_from_the_data_folder(self):
        images, labels = read_images("fashion_mnist", "test", SHARED)
        sample = load_fashion_mnist_sample()
        first = np.sort(np.concatenate([np.flatnonzero(labels == c)[:250] for c in range(10)]))
        assert_array_equal(images[first], sample.X_test)

    def test_else_from_torchvisions_files(self, tmp_path):
        write_fashion_mnist(tmp_path)
        images, labels = read_images("fashion_mnist", "test", tmp_path)
        assert_array_equal(images, make_images(1, 3, 28, 28))
        assert labels.tolist() == [9, 0, 7]

    def test_unknown_sets_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="no image set 'mnist'; pass one of cifar10"):
            read_images("mnist", "test", tmp_path)
