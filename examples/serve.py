"""Score images over HTTP: python examples/serve.py model.skanomaly --port 8000

POST /score takes the bytes of one image file and returns {"score", "p_value", "is_outlier"}:
curl --data-binary @part.png http://127.0.0.1:8000/score. GET /health says which model is loaded.
"""

from __future__ import annotations

import argparse
import io
import os
from typing import Any

import anyio
import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from PIL import Image
from starlette.requests import ClientDisconnect

import skanomaly

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 50_000_000  # of an image; a small file can hold a huge one
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")  # for some others Pillow starts programs
MAX_CONNECTIONS = 64  # more are answered with 503


def load_model(path: str) -> Any:
    """A detector that was fitted on images, from what its ``save`` has written."""
    model = skanomaly.load(path)
    if len(getattr(model, "sample_shape_", ())) != 3:
        raise ValueError(f"{path} holds no detector that was fitted on images")
    return model


def make_app(model: Any, max_bytes: int = MAX_BYTES, n_threads: int = 1) -> FastAPI:
    """The application. At most `n_threads` images are scored at once; others wait."""
    app = FastAPI(title="skanomaly")
    limiter = anyio.CapacityLimiter(n_threads)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "model": type(model).__name__,
            "sample_shape": model.sample_shape_,
            "threshold": model.offset_,
        }

    @app.post("/score")
    async def score(request: Request) -> dict[str, Any]:
        body = await read_body(request, max_bytes)
        # in a thread, so that the loop answers others meanwhile
        return await anyio.to_thread.run_sync(score_image, model, body, limiter=limiter)

    return app


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body, of which no more than the limit is kept, whatever its header says."""
    too_large = HTTPException(413, f"the body is larger than {max_bytes} bytes")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise too_large
    except ClientDisconnect:  # nobody reads the answer
        raise HTTPException(400, "the client closed the connection") from None
    return bytes(body)


def score_image(model: Any, body: bytes) -> dict[str, Any]:
    """Score, p-value and label of the image in a body."""
    image = decode(body)
    try:
        score = float(model.score_samples([image])[0])
    except ValueError as error:  # such as an image of another size than those that were fitted
        raise HTTPException(422, str(error)) from error
    n_below = int((model.training_scores_ <= score).sum())  # as in model.p_values
    p_value = (1 + n_below) / (1 + len(model.training_scores_))
    return {"score": score, "p_value": p_value, "is_outlier": score < model.offset_}


def decode(body: bytes) -> Image.Image:
    """The image in a body, which is decoded only if it is not huge."""
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise HTTPException(413, f"the image has more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # of damaged files, Pillow raises errors of all kinds
        raise HTTPException(422, "the body is no image that Pillow can read") from error
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="file of a detector that was fitted on images")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-bytes", type=int, default=MAX_BYTES, help="of a body")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="images at once")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a request is one image, and requests share the cores
    app = make_app(load_model(options.model), options.max_bytes, options.threads)
    uvicorn.run(
        app, host=options.host, port=options.port, limit_concurrency=MAX_CONNECTIONS, ws="none"
    )


if __name__ == "__main__":
    main()
