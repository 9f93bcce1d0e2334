"""Learn what T-shirts look like from 1,500 pictures, then tell them from all other clothes."""

import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skanomaly import MahalanobisCosine, NSADetector, SelfSupervisedEncoder
from skanomaly.datasets import load_fashion_mnist_sample

seed, out = 0, Path("build/demo")
out.mkdir(parents=True, exist_ok=True)
data = load_fashion_mnist_sample("t-shirt")  # or "shirt", which is harder

# Train on normal images alone; score new ones, higher is more normal.
start = time.perf_counter()
detector = NSADetector(random_state=seed, verbose=1).fit(data.X_train)
scores = {"nsa_ensemble": detector.score_samples(data.X_test)}
seconds = time.perf_counter() - start

# Beside it: the last layer only, the same network untrained, and no network at all.
train, test = (detector.encoder_.transform(X) for X in (data.X_train, data.X_test))
last = detector.encoder_.layer_slices_["conv_block_3 (1x1)"]
scores["nsa_last_layer"] = MahalanobisCosine().fit(train[:, last]).score_samples(test[:, last])
untrained = NSADetector(SelfSupervisedEncoder(max_epochs=0), random_state=seed)
scores["untrained"] = untrained.fit(data.X_train).score_samples(data.X_test)
train, test = (X.reshape(len(X), -1) / 255 for X in (data.X_train, data.X_test))
scores["pixels_knn"] = -NearestNeighbors(n_neighbors=1).fit(train).kneighbors(test)[0][:, 0]
scores["isolation_forest"] = IsolationForest(random_state=seed).fit(train).score_samples(test)
auroc = {name: roc_auc_score(data.y_test, s) for name, s in scores.items()}
print("AUROC", *(f"{name:18s}{value:.3f}" for name, value in auroc.items()), sep="\n")

# Keep the detector: a new process gives the same scores to the last bit.
joblib.dump(detector, out / "detector.joblib")
np.save(out / "images.npy", data.X_test)
code = """import joblib, numpy as np
np.save("scores.npy", joblib.load("detector.joblib").score_samples(np.load("images.npy")))"""
subprocess.run([sys.executable, "-c", code], cwd=out, check=True)
assert np.array_equal(np.load(out / "scores.npy"), scores["nsa_ensemble"])

report = {"auroc": auroc, "seconds": seconds, "seed": seed}
report["versions"] = {name: version(name) for name in ("skanomaly", "torch", "scikit-learn")}
(out / "report.json").write_text(json.dumps(report, indent=2))
axes = plt.figure(figsize=(10, 7)).subplot_mosaic(["h" * 8, "abcdefgi", "jklmnopq"])
for label, name in ((1, "normal: T-shirts"), (-1, "anomalous: nine other classes")):
    axes["h"].hist(scores["nsa_ensemble"][data.y_test == label], 60, alpha=0.6, label=name)
axes["h"].legend(title="score_samples (above); the least and the most normal images (below)")
order = np.argsort(scores["nsa_ensemble"])
for axis, i in zip("abcdefgijklmnopq", [*order[:8], *order[-8:]], strict=True):
    axes[axis].imshow(data.X_test[i], cmap="gray")
    axes[axis].set(title=data.class_test[i], xticks=[], yticks=[])
plt.savefig(out / "scores.png")
