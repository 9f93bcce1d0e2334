"""Experiment on fitted models as services have them: their size, and seconds for single images."""

import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import torch
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skanomaly import NSADetector, SelfSupervisedEncoder

from .data import choose, read_images
from .methods import of_pyod
from .speed import race

N_TRAIN, N_SCORED, REPEATS = 5_000, 2_048, {1: 100, 2_048: 3}
LOADING = """
import sys, time, sklearn.base, torch
start = time.perf_counter()
import joblib
if sys.argv[1].endswith(".skanomaly"):
    import skanomaly
    skanomaly.load(sys.argv[1]).score_samples(joblib.load(sys.argv[2]))
else:
    joblib.load(sys.argv[1]).decision_function(joblib.load(sys.argv[2]))
print(time.perf_counter() - start)
"""


def models(options, records):
    """Size of fitted models, and what they take for one image, for 2,048 and for an explanation.

    5,000 colour images of 32 x 32 pixels, the first class of CIFAR-10. Networks are untrained,
    which take as long as trained ones. `forward_ms` is a forward pass of the network alone;
    `onnx_ms` is the exported ONNX file in onnxruntime;
    `load_s` is loading the file and the first score in a new process that has imported torch and
    scikit-learn, the median of 3. Medians. Others score the pixels. Five minutes on two cores.
    """
    X, y = read_images("cifar10", "train", options.data)
    train = X[np.argsort(y != 0, kind="stable")[: 60 if options.small else N_TRAIN]]
    images = read_images("cifar10", "test", options.data)[0][: 8 if options.small else N_SCORED]
    for name in choose("--methods", options.methods, METHODS):
        model = METHODS[name]().fit(train)
        records.add(method=name, train_images=len(train), **measure(model, images, options.small))


def of_backbone(backbone):
    return lambda: NSADetector(
        SelfSupervisedEncoder(backbone=backbone, max_epochs=0, random_state=0), random_state=0
    )


def of_pixels(detector):
    return make_pipeline(FunctionTransformer(flatten), detector)


def flatten(X):
    return X.reshape(len(X), -1) / 255


METHODS = {
    "NSADetector (compact)": of_backbone("compact"),
    "NSADetector (resnet18)": of_backbone("resnet18"),
    "IsolationForest": lambda: of_pixels(IsolationForest(random_state=0)),
    "PyOD AutoEncoder": lambda: of_pixels(
        of_pyod("auto_encoder", "AutoEncoder", is_seeded=True, verbose=0, epoch_num=1)(0)
    ),
}


def measure(model, images, is_small):
    is_ours = isinstance(model, NSADetector)
    steps = {"score": model.decision_function}
    if is_ours:
        steps["forward"] = forward_pass(model.encoder_)
    one, many = (
        race(steps, 2 if is_small else repeats, images[:n]).median() * 1000
        for n, repeats in REPEATS.items()
    )
    row = {"one_ms": one["score"], "many_ms": many["score"]}
    if is_ours:
        row |= {"forward_ms": one["forward"], "forward_many_ms": many["forward"]}
        onnx = {"it": exported(model)}  # not in turns: its threads go on for a while
        row["onnx_ms"] = race(onnx, 5 if is_small else 100, images[:1])["it"].median() * 1000
        row["onnx_many_ms"] = race(onnx, 3, images)["it"].median() * 1000
        model.explain(images[:1])
        row["explain_ms"] = race({"it": model.explain}, 5, images[:1])["it"].median() * 1000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.skanomaly" if is_ours else "model.joblib")
        model.save(path) if is_ours else joblib.dump(model, path)
        joblib.dump(images[:1], Path(folder, "image.joblib"))
        row["file_mb"] = path.stat().st_size / 1e6
        row["load_s"] = time_loading(path, Path(folder, "image.joblib"), 1 if is_small else 3)
    return {name: float(f"{value:.4g}") for name, value in row.items()}


def forward_pass(encoder):
    """A function of images: the network alone, without the checks of X."""
    network = encoder.network_

    def forward(X):
        with torch.inference_mode():
            for part in np.array_split(X, -(-len(X) // 256)):
                network(torch.from_numpy(part).permute(0, 3, 1, 2).float().div_(255))

    return forward


def exported(detector):
    """A function of images: the exported file in onnxruntime, which has no checks of X either."""
    with tempfile.TemporaryDirectory() as folder:
        detector.export_onnx(Path(folder, "model.onnx"))
        session = onnxruntime.InferenceSession(Path(folder, "model.onnx"))
    return lambda X: session.run(
        ["score"], {"images": (X.transpose(0, 3, 1, 2) / 255).astype(np.float32)}
    )


def time_loading(path, image, repeats):
    """Seconds until a new process has the score of an image."""
    seconds = []
    for _ in range(repeats):
        command = [sys.executable, "-W", "ignore", "-c", LOADING, str(path), str(image)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    return float(np.median(seconds))
