"""Learn what T-shirts look like from 1,500 pictures, then tell them from all other clothes."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skanomaly import MahalanobisCosine, NSADetector, SelfSupervisedEncoder
from skanomaly.datasets import load_fashion_mnist_sample

out, seed = Path("build/demo"), 0
out.mkdir(parents=True, exist_ok=True)
data = load_fashion_mnist_sample("t-shirt")  # or "shirt", which is harder

# Train on normal images alone; score new ones, higher is more normal.
encoder = SelfSupervisedEncoder(max_epochs=50, verbose=1)  # half the default
detector = NSADetector(encoder, random_state=seed).fit(data.X_train)
scores = {"nsa_ensemble": detector.score_samples(data.X_test)}
seconds = sum(epoch["seconds"] for epoch in detector.encoder_.history_)
auroc = roc_auc_score(data.y_test, scores["nsa_ensemble"])
print(f"AUROC {auroc:.3f} after {seconds:.0f} s of training; beside it:", flush=True)

# Beside it: the last layer only, the same network untrained, no network at all.
train, test = (detector.encoder_.transform(X) for X in (data.X_train, data.X_test))
last = detector.encoder_.layer_slices_["conv_block_3 (1x1)"]
scores["nsa_last_layer"] = MahalanobisCosine().fit(train[:, last]).score_samples(test[:, last])
untrained = NSADetector(SelfSupervisedEncoder(max_epochs=0), random_state=seed)
scores["untrained"] = untrained.fit(data.X_train).score_samples(data.X_test)
train, test = (X.reshape(len(X), -1) / 255 for X in (data.X_train, data.X_test))
scores["pixels_knn"] = -NearestNeighbors(n_neighbors=1).fit(train).kneighbors(test)[0][:, 0]
scores["isolation_forest"] = IsolationForest(random_state=seed).fit(train).score_samples(test)
auroc = {name: roc_auc_score(data.y_test, s) for name, s in scores.items()}
print(*(f"{name:18s}{value:.3f}" for name, value in auroc.items()), sep="\n")

# Keep the detector: a new process gives the same scores to the last bit.
detector.save(out / "detector.skanomaly")
np.save(out / "images.npy", data.X_test)
code = """import numpy, skanomaly
loaded = skanomaly.load("detector.skanomaly")
numpy.save("scores.npy", loaded.score_samples(numpy.load("images.npy")))"""
subprocess.run([sys.executable, "-c", code], cwd=out, check=True)
assert np.array_equal(np.load(out / "scores.npy"), scores["nsa_ensemble"])
report = {"auroc": auroc, "seconds": seconds, "seed": seed}
report["versions"] = {name: version(name) for name in ("skanomaly", "torch", "scikit-learn")}
(out / "report.json").write_text(json.dumps(report, indent=2))
_, (top, bottom) = plt.subplots(2, figsize=(9, 6), layout="tight")
for label, name in ((1, "normal: T-shirts"), (-1, "anomalous: the nine other classes")):
    top.hist(scores["nsa_ensemble"][data.y_test == label], 60, density=True, alpha=0.6, label=name)
top.legend(title="score_samples", loc="upper left")
images = data.X_test[np.argsort(scores["nsa_ensemble"])]
bottom.imshow(np.vstack([np.hstack(images[:12]), np.hstack(images[-12:])]), cmap="gray")
bottom.set(title="least normal (above), most normal (below)", xticks=[], yticks=[])
plt.savefig(out / "scores.png")
