"""Experiment that times examples/serve.py beside the network alone."""

import http.client
import io
import json
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from skanomaly import NSADetector, PretrainedEncoder, SelfSupervisedEncoder

SERVE = Path(__file__).resolve().parent.parent / "examples" / "serve.py"
N_TRAIN, SECONDS, REPEATS = 500, 10, 3
CLIENTS = (1, 8)
PIXELS = {"compact": 28, "resnet18": 224}
N_BODIES = 64
START_SECONDS = 120


def serving(options, records):
    """Requests a second of examples/serve.py, with 1 and 8 clients, beside the network alone.

    Detectors of 500 images, by the compact network on gray images of 28 x 28 pixels and by
    ResNet-18 on colour images of 224 x 224, both with random weights. A request is a PNG of one
    image, by a connection that stays open. "network" is the bare forward pass of single images,
    and "score_samples" the detector's call, in this process, on OMP_NUM_THREADS threads, while the
    server is idle. The server scores as many images at once as there are cores. All take turns for
    10 seconds; the fastest of 3 repeats counts. `p95_ms` is that of its calls. Five minutes on two
    cores.
    """
    n_train, seconds, repeats = (40, 0.3, 1) if options.small else (N_TRAIN, SECONDS, REPEATS)
    for name, pixels in PIXELS.items():
        detector, images = make_detector(name, 32 if options.small else pixels, n_train)
        with served(detector) as port:
            contestants = make_contestants(detector, images, port, seconds)
            runs = [{key: call() for key, call in contestants.items()} for _ in range(repeats)]
        for method, clients in contestants:
            rate, p95 = max(run[method, clients] for run in runs)
            records.add(
                network=name,
                pixels=images.shape[1],
                method=method,
                clients=clients,
                images_per_second=float(f"{rate:.4g}"),
                p95_ms=float(f"{1000 * p95:.3g}"),
            )


def make_detector(name, size, n_train):
    """A fitted detector, and images that are new to it."""
    rng = np.random.default_rng(0)
    channels = (3,) if name == "resnet18" else ()
    small = rng.integers(0, 256, (n_train + N_BODIES, 8, 8, *channels), dtype=np.uint8)
    images = np.stack([np.asarray(Image.fromarray(x).resize((size, size))) for x in small])
    if name == "resnet18":
        encoder = PretrainedEncoder("resnet18", weights=None, image_size=size, device="cpu")
    else:
        encoder = SelfSupervisedEncoder(max_epochs=0, device="cpu")
    return NSADetector(encoder, random_state=0).fit(images[:n_train]), images[n_train:]


@contextmanager
def served(detector):
    """The example in a process of its own; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder, "model"))
        process = subprocess.Popen(
            [sys.executable, SERVE, Path(folder, "model"), "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_for(port, process):
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{SERVE} does not answer") from None
            time.sleep(0.1)


def make_contestants(detector, images, port, seconds):
    """Functions that return calls a second and the 95th percentile of their seconds."""
    network = detector.encoder_.network_
    x = images[..., None] if images.ndim == 3 else images
    x = torch.tensor(x).permute(0, 3, 1, 2).contiguous() / 255
    bodies = [encode(image) for image in images]

    def forward(i):
        with torch.inference_mode():
            network(x[i : i + 1])

    def clients(n):
        with ThreadPoolExecutor(n) as pool:
            runs = list(pool.map(lambda _: run_client(port, bodies, seconds), range(n)))
        return sum(rate for rate, _ in runs), max(p95 for _, p95 in runs)

    contestants = {
        ("network", 1): lambda: repeat(forward, seconds),
        ("score_samples", 1): lambda: repeat(
            lambda i: detector.score_samples(images[i : i + 1]), seconds
        ),
    }
    return contestants | {("server", n): lambda n=n: clients(n) for n in CLIENTS}


def run_client(port, bodies, seconds):
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def post(i):
        connection.request("POST", "/score", bodies[i])
        answer = json.loads(connection.getresponse().read())
        assert "score" in answer, answer

    try:
        return repeat(post, seconds)
    finally:
        connection.close()


def repeat(call, seconds):
    """Calls a second, and the 95th percentile of their seconds, after a first one."""
    call(0)
    durations, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call(len(durations) % N_BODIES)
        durations.append(time.perf_counter() - before)
    return len(durations) / sum(durations), float(np.quantile(durations, 0.95))


def encode(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
