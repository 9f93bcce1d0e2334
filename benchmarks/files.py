"""Experiments on folders of files, and on images larger than memory."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from skanomaly import NSADetector, SelfSupervisedEncoder, read_images

from .data import choose
from .memory import PeakAnonymousMemory, in_new_process
from .speed import race

N_FILES, FILE_SIZE, IMAGE_SIZE = 2_000, 256, 64
EPOCHS, REPEATS, WORKERS = 10, 3, 2
LARGE_FOLDER = 50_000, 64  # files, pixels
LARGE_ARRAY = 25_600, 512  # colour images of 19.7 GB
MINUTES, ACCUMULATION_STEPS = 1, 8  # of training on those


def files(options, records):
    """Reading, training on and scoring a folder of JPEGs, beside arrays and torchvision's loader.

    2,000 colour images of 256 x 256 pixels, resized to 64 x 64. `read` and `score` stand beside
    torchvision's ImageFolder, read by a DataLoader of 2 workers; the same encoder computes both
    features. `train` is 10 epochs of SelfSupervisedEncoder on the folder, beside the same images in
    memory. All take turns; the fastest of 3 repeats counts. Ten minutes on two cores.
    """
    n_files, size, epochs = (12, 32, 1) if options.small else (N_FILES, FILE_SIZE, EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder, "good"), n_files, size)
        contestants = make_contestants(folder, 16 if options.small else IMAGE_SIZE, epochs)
        times = race(contestants, 1 if options.small else REPEATS, None).min()
    for (step, method), seconds in times.items():
        records.add(
            step=step, method=method, files=n_files, pixels=size, seconds=float(f"{seconds:.4g}")
        )


def files_memory(options, records):
    """Memory beyond the page cache of a fit on and of scoring 50,000 files, and a mapped file.

    The file has 25,600 colour images of 512 x 512 pixels, 20 GB. The encoder trains for a minute,
    on an eighth of a batch at once.
    `memory_mib` is the largest anonymous memory beyond that before. Each has a process of its own.
    Needs Linux and 21 GB of disk. An hour on two cores.
    """
    sources = {"folder": (100, 16), "mapped file": (100, 16)}
    if not options.small:
        sources = {"folder": LARGE_FOLDER, "mapped file": LARGE_ARRAY}
    for name in choose("--methods", options.methods, sources):
        args = (name, *sources[name], 0.01 if options.small else MINUTES)
        records.add_all(measure(*args) if options.small else in_new_process(measure, *args))


def write_files(folder, n_files, size):
    """Colour JPEGs of smooth noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n_files):
        small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((size, size)).save(folder / f"{i:05}.jpg", quality=90)


def make_contestants(folder, image_size, epochs):
    """Functions of one argument, which they ignore, by step and method."""
    images = read_images(folder, image_size=image_size)
    encoder = SelfSupervisedEncoder(max_epochs=epochs, random_state=0)
    fitted = SelfSupervisedEncoder(max_epochs=0, random_state=0).fit(images)
    read = transforms.Compose(
        [transforms.Resize((image_size, image_size)), transforms.PILToTensor()]
    )

    def batches():
        dataset = ImageFolder(folder, read)
        return torch.utils.data.DataLoader(dataset, batch_size=256, num_workers=WORKERS)

    return {
        ("read", "read_images"): lambda _: read_images(folder, image_size=image_size),
        ("read", "ImageFolder"): lambda _: [batch for batch, _ in batches()],
        ("score", "read_images"): lambda _: fitted.transform(
            read_images(folder, image_size=image_size)
        ),
        ("score", "ImageFolder"): lambda _: [fitted.transform(batch) for batch, _ in batches()],
        ("train", "files"): lambda _: encoder.fit(read_images(folder, image_size=image_size)),
        ("train", "array"): lambda _: encoder.fit(images),
    }


def measure(name, n_images, size, minutes):
    """Rows for fitting and for scoring a source, which is written first."""
    encoder = SelfSupervisedEncoder(
        max_epochs=None, max_time=60 * minutes, accumulation_steps=ACCUMULATION_STEPS
    )
    detector = NSADetector(encoder, random_state=0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if name == "folder":
            write_files(Path(folder, "good"), n_images, size)
            source = folder
        else:
            source = write_array(Path(folder, "images.npy"), n_images, size)
        for step, call in (("fit", detector.fit), ("score", detector.score_samples)):
            start = time.perf_counter()
            with PeakAnonymousMemory() as peak:
                call(source)
            rows.append(
                {
                    "source": name,
                    "step": step,
                    "images": n_images,
                    "pixels": size,
                    "input_gb": round(3e-9 * n_images * size**2, 2),
                    "memory_mib": round(peak.mib),
                    "seconds": round(time.perf_counter() - start),
                }
            )
    return rows


def write_array(path, n_images, size):
    """Images that are black but for a square of noise, most of the file is a hole."""
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (n_images, size, size, 3))
    for image in images:
        image[: size // 8, : size // 8] = rng.integers(0, 256, 3) // 2 + rng.integers(0, 128)
        image[:4, :4] = rng.integers(0, 256, (4, 4, 3))
    images.flush()
    return path
