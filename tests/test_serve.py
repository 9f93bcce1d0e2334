"""The example server, by HTTP on the loopback."""

import http.client
import io
import json
import runpy
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image

from skanomaly import CenterCosine, MahalanobisCosine, NSADetector, SelfSupervisedEncoder

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

SERVE = Path(__file__).parent.parent / "examples" / "serve.py"
MAX_BYTES = 2_000


@pytest.fixture(scope="module")
def serve():
    return runpy.run_path(str(SERVE))


@pytest.fixture(scope="module")
def pictures():
    """Colour images of two sizes, most of them new to the detector."""
    rng = np.random.default_rng(0)
    sizes = [(12, 12), (12, 20)]
    return [
        Image.fromarray(rng.integers(0, 256, (*sizes[i % 2], 3), dtype=np.uint8)) for i in range(40)
    ]


@pytest.fixture(scope="module")
def detector(pictures):
    encoder = SelfSupervisedEncoder(max_epochs=0)
    options = {"image_size": 12, "random_state": 0, "contamination": 0.1}
    return NSADetector(encoder, MahalanobisCosine(), **options).fit(pictures[:20])


@contextmanager
def running(app):
    """A server on a free port, which is returned."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def port(serve, detector):
    with running(serve["make_app"](detector, MAX_BYTES, n_threads=2)) as port:
        yield port


def encode(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def request(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_health(port):
    status, answer = request(port, "GET", "/health")
    assert status == 200 and answer["status"] == "ok"
    assert answer["model"] == "NSADetector" and answer["sample_shape"] == [3, 12, 12]


def test_eight_clients_get_their_scores(port, detector, pictures):
    with ThreadPoolExecutor(8) as clients:
        answers = list(
            clients.map(lambda image: request(port, "POST", "/score", encode(image)), pictures)
        )
    assert {status for status, _ in answers} == {200}
    found = {key: [answer[key] for _, answer in answers] for key in answers[0][1]}
    assert_allclose(found["score"], detector.score_samples(pictures), rtol=1e-6)
    assert_allclose(found["p_value"], detector.p_values(pictures))
    assert found["is_outlier"] == (detector.predict(pictures) == -1).tolist()
    assert 0 < sum(found["is_outlier"]) < len(pictures)


def bmp_header(size):
    """Of a file that says that its image has so many rows and columns."""
    return struct.pack("<2s3I3I2H6I", b"BM", 0, 0, 54, 40, size, size, 1, 24, *[0] * 6)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 422, "no image"),
        (b"no image", 422, "no image"),
        (encode(Image.new("L", (12, 12)), "GIF"), 422, "no image"),  # that is read
        (encode(Image.new("RGB", (40, 30)))[:60], 422, "no image"),  # ends in its pixels
        (bytes(MAX_BYTES + 1), 413, "larger than 2000 bytes"),
        # of images with nothing but a header
        (bmp_header(8_000), 413, "more than 50000000 pixels"),
        (bmp_header(10_000), 413, "more than 50000000 pixels"),  # Pillow warns
        (bmp_header(40_000), 413, "more than 50000000 pixels"),  # Pillow refuses
    ],
)
def test_bad_bodies(port, body, status, message):
    found, answer = request(port, "POST", "/score", body)
    assert found == status and message in answer["detail"]


def test_other_paths(port):
    assert request(port, "GET", "/score")[0] == 405
    assert request(port, "POST", "/")[0] == 404


@contextmanager
def raw(port, text):
    """A connection by which these bytes were sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(text)
        yield connection


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 1000000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"3e8\r\n"
        + bytes(1000)
        + b"\r\n7d0\r\n"
        # the second chunk is not complete
        + bytes(1500),
    ],
)
def test_a_body_that_is_too_large_is_not_awaited(port, sent):
    with raw(port, b"POST /score HTTP/1.1\r\nHost: localhost\r\n" + sent) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_hangs_up(port, detector, pictures):
    body = encode(pictures[0])
    head = f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    for part in (head.encode(), head.encode() + body[:100], head.encode() + body):
        with raw(port, part):  # which ends before the answer
            pass
    status, answer = request(port, "POST", "/score", body)
    assert status == 200
    assert_allclose(answer["score"], detector.score_samples(pictures[:1])[0], rtol=1e-6)


def test_health_answers_while_images_are_scored(serve, detector, pictures):
    """As many images at once as there are threads, others wait."""
    is_free, calls = threading.Event(), []

    class Slow:
        training_scores_, offset_, sample_shape_ = detector.training_scores_, -1.0, (3, 12, 12)

        def score_samples(self, images):
            calls.append(images)
            assert is_free.wait(30)
            return [-0.5]

    with running(serve["make_app"](Slow(), n_threads=2)) as port, ThreadPoolExecutor(4) as clients:
        body = encode(pictures[0])
        answers = [clients.submit(request, port, "POST", "/score", body) for _ in range(4)]
        while len(calls) < 2:
            time.sleep(0.01)
        assert request(port, "GET", "/health")[0] == 200
        assert len(calls) == 2
        is_free.set()
        assert [answer.result()[1]["is_outlier"] for answer in answers] == [False] * 4


def test_an_image_that_does_not_suit_the_model(serve, detector, pictures):
    model = NSADetector(SelfSupervisedEncoder(max_epochs=0), MahalanobisCosine())
    model.fit([image.resize((12, 12)) for image in pictures])
    with pytest.raises(serve["HTTPException"], match=r"422.* 12 x 20 pixels .* fitted on"):
        serve["score_image"](model, encode(pictures[1]))


def test_command(serve, detector, table, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: started.append(options))
    n_threads = torch.get_num_threads()
    for model, name in (detector, "images"), (CenterCosine().fit(table), "table"):
        model.save(tmp_path / name)
    try:
        monkeypatch.setattr(sys, "argv", ["serve.py", str(tmp_path / "images"), "--port", "80"])
        serve["main"]()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(n_threads)
    assert started[0]["port"] == 80 and started[0]["host"] == "127.0.0.1"
    with pytest.raises(ValueError, match="holds no detector that was fitted on images"):
        serve["load_model"](str(tmp_path / "table"))
