"""Uses an installed wheel: `python check_wheel.py FOLDER` with the folder on PYTHONPATH."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import skanomaly
from skanomaly.datasets import load_fashion_mnist_sample


def main(folder):
    home = Path(skanomaly.__file__).resolve()
    if not home.is_relative_to(Path(folder).resolve()):
        sys.exit(f"skanomaly was imported from {home}, not from {folder}")
    data = load_fashion_mnist_sample("shirt")
    X, X_new = (images[:50].reshape(50, -1) for images in (data.X_train, data.X_test))
    detector = skanomaly.MahalanobisCosine().fit(X)
    with TemporaryDirectory() as temporary:
        skanomaly.save(detector, Path(temporary, "model.skanomaly"))
        loaded = skanomaly.load(Path(temporary, "model.skanomaly"))
        skanomaly.write_report(loaded, X_new, Path(temporary, "report.html"))
    if not (loaded.score_samples(X_new) == detector.score_samples(X_new)).all():
        sys.exit("the loaded detector scores otherwise")


if __name__ == "__main__":
    main(sys.argv[1])
