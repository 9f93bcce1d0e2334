"""Images per second of training: skanomaly beside lightly and the bare network.

    python benchmarks/training_speed.py --data ../shared/data [--rounds 5]

SimSiam with a ResNet-18 on CIFAR-10's 32x32 images, all contestants in turn in one run. lightly is
the loop of its documentation: its transform in a DataLoader, two passes through the network, SGD;
skanomaly has AdamW. "bare" is forward and backward of one batch of views that lies ready, in
channels_last. float32 is PyTorch's default, which on GPUs convolves in TF32. About ten minutes on
two cores. Needs lightly. Writes results/training_speed_cpu.json or training_speed_cuda.json;
--small is a quick check that writes nothing. The data folder has a load.py that reads it.
"""

import argparse
import json
import warnings

import numpy as np
import torch
from _data import read_images
from _one_class import print_table
from _report import write_report
from _training_loops import DEVICE, ON_CUDA, BareNetwork, LightlyLoop, rate_of_steps

from skanomaly import SelfSupervisedEncoder
from skanomaly._training._device import has_fast_bfloat16

CPU_SIZES = {"batch": 128, "images": 512, "epochs": 2, "warm_up": 1, "timed": 4, "workers": 2}
# the warm-up outlasts what the workers load ahead
CUDA_SIZES = {"batch": 512, "images": 5_000, "epochs": 5, "warm_up": 40, "timed": 40, "workers": 16}
SMALL_SIZES = {"batch": 8, "images": 16, "epochs": 2, "warm_up": 1, "timed": 1, "workers": 1}
FLOP_PER_IMAGE = 2 * 3 * 1.11e9  # two views, forward and backward, of 0.56 G multiply-adds each
MEMORY_BATCHES = (128, 512, 2048)
PAIRS = [
    ("skanomaly (auto)", "lightly"),
    ("skanomaly (float32)", "lightly"),
    ("skanomaly (float32)", "bare (float32)"),
    ("skanomaly (auto)", f"bare ({'bfloat16' if has_fast_bfloat16(DEVICE) else 'float32'})"),
] + [("skanomaly (auto)", "lightly (bfloat16)")] * ON_CUDA


def fit_skanomaly(X, precision, batch, epochs):
    return SelfSupervisedEncoder(
        "simsiam",
        backbone="resnet18",
        layers="last",
        batch_size=batch,
        max_epochs=epochs,
        precision=precision,
        random_state=0,
    ).fit(X)


def rate_of_skanomaly(X, precision, sizes):
    """Images per second, without the first epoch."""
    history = fit_skanomaly(X, precision, sizes["batch"], sizes["epochs"]).history_[1:]
    return len(X) * len(history) / sum(epoch["seconds"] for epoch in history)


def make_contestants(X, sizes):
    """Functions that measure the images per second of each contestant once."""
    batch, workers, steps = sizes["batch"], sizes["workers"], (sizes["warm_up"], sizes["timed"])
    loops = {
        "lightly": LightlyLoop(X, "float32", batch, workers),
        "bare (float32)": BareNetwork("float32", batch, X.shape[1]),
        "bare (bfloat16)": BareNetwork("bfloat16", batch, X.shape[1]),
    }
    if ON_CUDA:
        loops["lightly (bfloat16)"] = LightlyLoop(X, "bfloat16", batch, workers)
    return {
        f"skanomaly ({precision})": lambda p=precision: rate_of_skanomaly(X, p, sizes)
        for precision in ("auto", "float32")
    } | {name: lambda loop=loop: loop.rate(*steps) for name, loop in loops.items()}


def race(contestants, rounds):
    """Images per second (rounds,), interleaved so that a busy machine slows all alike."""
    rates = {name: [] for name in contestants}
    for i in range(rounds):
        for name, measure in contestants.items():
            rates[name].append(measure())
            print(f"round {i}: {name} {rates[name][-1]:.4g} images/s", flush=True)
    return rates


def summarize(values):
    figures = {"median": np.median(values), "min": np.min(values), "max": np.max(values)}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def measure_cuda(X, rates, size=8_192):
    """What only GPUs have: shares of the peak, time of the paper's training, memory."""
    a, b = torch.randn(2, size, size, device=DEVICE, dtype=torch.bfloat16)
    peak = rate_of_steps(lambda: a @ b, 2 * size**3, 10, 50)
    memory = {}
    for batch in MEMORY_BATCHES:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        fit_skanomaly(np.resize(X, (2 * batch, *X.shape[1:])), "auto", batch, 1)
        memory[batch] = round((torch.cuda.max_memory_allocated() - before) / 2**20)
    shares = {name: rate["median"] * FLOP_PER_IMAGE / peak for name, rate in rates.items()}
    minutes = 500 * 5_000 / rates["skanomaly (auto)"]["median"] / 60
    return {
        "bfloat16_peak_tflops": round(peak / 1e12, 1),
        "share_of_bfloat16_peak": {name: round(share, 4) for name, share in shares.items()},
        "minutes_of_500_epochs_of_5000_images": round(minutes, 1),
        "peak_memory_mib_by_batch_size": memory,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="few images, no result file")
    args = parser.parse_args()
    sizes = SMALL_SIZES if args.small else CUDA_SIZES if ON_CUDA else CPU_SIZES
    X = read_images("cifar10", "train", args.data)[0][: sizes["images"]]
    rates = race(make_contestants(X, sizes), 2 if args.small else args.rounds)
    figures = {name: summarize(values) for name, values in rates.items()}
    ratios = {f"{a} / {b}": summarize(np.divide(rates[a], rates[b])) for a, b in PAIRS}
    rows = {name: cells.values() for name, cells in (figures | ratios).items()}
    print_table(f"images per second, {DEVICE.type}", ("median", "min", "max"), rows)
    on_cuda = measure_cuda(X, figures) if ON_CUDA else {}
    if on_cuda:
        print(json.dumps(on_cuda, indent=2))
    if not args.small:
        report = {"sizes": sizes, "rounds": args.rounds, "threads": torch.get_num_threads()}
        report |= {"images_per_second": figures, "ratios": ratios, **on_cuda}
        write_report(f"training_speed_{DEVICE.type}", report, rivals=("lightly",))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of collapse after so short a training
    main()
