"""Experiment that times the features of a pretrained network beside the network itself."""

import copy

import numpy as np
import torch
from torch.fx.experimental.optimization import fuse

from skanomaly import PretrainedEncoder

from .speed import race

N_IMAGES, IMAGE_SIZE, REPEATS = 64, 224, 5
BATCHES = (8, 64)  # images at once through the bare module


def pretrained_speed(options, records):
    """Images a second of `PretrainedEncoder` beside its module alone.

    EfficientNet-lite0 with random weights on 64 colour images of 224 x 224 pixels, which the bare
    module gets as floats, in batches of 8 and of 64 images, as it is, with its batch norms folded,
    and in onnxruntime with all of its blocks as outputs. All take turns on OMP_NUM_THREADS threads;
    the fastest of 5 repeats counts. Needs efficientnet-lite-pytorch and onnxruntime. A minute on
    two cores.
    """
    n_images, size = (4, 64) if options.small else (N_IMAGES, IMAGE_SIZE)
    contestants = make_contestants(n_images, size)
    repeats = 1 if options.small else REPEATS
    for (method, batch), seconds in race(contestants, repeats, None).min().items():
        about = {"network": "efficientnet-lite0", "pixels": size, "images": n_images}
        rate = round(n_images / seconds, 1)
        records.add(**about, method=method, batch=batch, images_per_second=rate)


def make_contestants(n_images, size):
    """Functions of one argument, which they ignore."""
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0").eval()
    images = np.random.default_rng(0).integers(0, 256, (n_images, size, size, 3), dtype=np.uint8)
    x = torch.tensor(images).permute(0, 3, 1, 2).contiguous() / 255
    options = {"image_size": size, "mean": [0.5] * 3, "std": [0.5] * 3, "device": "cpu"}
    encoders = {
        engine: PretrainedEncoder(module, engine=engine, **options).fit(images[:2])
        for engine in ("torch", "onnx")
    }
    folded = fuse(copy.deepcopy(module))
    channels_last = copy.deepcopy(folded).to(memory_format=torch.channels_last)
    modules = {"module": module, "folded": folded, "folded, channels last": channels_last}
    contestants = {
        (name, batch): make_pass(network, x, batch)
        for name, network in modules.items()
        for batch in BATCHES
    }
    onnx = encoders["onnx"].network_.onnx
    contestants["onnxruntime", onnx.batch_size] = lambda _: onnx(x, onnx.names)
    for engine, encoder in encoders.items():
        for method in (encoder.transform_blocks, encoder.transform_map):
            name = f"{method.__name__}, {engine}"
            contestants[name, "auto"] = lambda _, method=method: method(images)
    return contestants


def make_pass(network, x, batch):
    def run(_):
        with torch.inference_mode():
            for part in x.split(batch):
                network(part)

    return run
