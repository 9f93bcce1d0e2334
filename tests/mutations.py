"""Breaks a copy of the package in one place at a time, and looks whether the tests notice.

    python -m tests.mutations            # all of them, in some minutes
    python -m tests.mutations whiten     # those whose description has the word

Prints a Markdown table. Fails if a mutation survives the whole suite, or if a test that noticed one
fails without it as well. The tests of the benchmarks are left out.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPIED = ["skanomaly", "tests", "docs", "examples", "benchmarks", "pyproject.toml"]
COPIED += [path.name for path in ROOT.glob("*.md")] + ["CITATION.cff"]


class Mutation(NamedTuple):
    what: str  # is wrong then
    file: str  # of the package
    old: str  # text that is in the file once
    new: str
    likely: str  # test files that should notice, tried before all others


MUTATIONS = [
    Mutation(
        "saving: damaged files are read",
        "saving/_save.py",
        "    if not is_whole:",
        "    if False:",
        "saving",
    ),
    Mutation(
        "saving: any class of scikit-learn's modules is made",
        "saving/_types.py",
        "    if module in _MODULES:",
        '    if module.startswith("sklearn"):',
        "saving",
    ),
    Mutation(
        "saving: what is met twice is kept twice",
        "saving/_structure.py",
        "        if id(value) in self._seen:",
        "        if False:",
        "saving",
    ),
    Mutation(
        "saving: memory order is lost",
        "saving/_structure.py",
        "            return array.T if node",
        "            return array.T.copy() if node",
        "saving",
    ),
    Mutation(
        "saving: an earlier file is written over at once",
        "_files.py",
        "    partial = beside(path)",
        "    partial = path",
        "saving",
    ),
    Mutation(
        "saving: convolutions of a folded network have no bias",
        "encoders/_network_state.py",
        'and f"{name}.bias" in weights:',
        "and False:",
        "saving",
    ),
    Mutation(
        "saving: torch waits for threads that a fork has not",
        "_training/_device.py",
        "        torch.set_num_threads(1)",
        "        pass",
        "saving",
    ),
    Mutation(
        "nearest rows: rounded whatever the distances",
        "_nearest_rows.py",
        "        elif may_round and self._can_round(some, distances, index):",
        "        elif may_round:",
        "nearest_rows",
    ),
    Mutation(
        "nearest rows: rounded rows keep the squares of exact ones",
        "_nearest_rows.py",
        "lambda X: _with_squares(_round(X[:, :-1]))",
        "lambda X: _round(X)",
        "nearest_rows",
    ),
    Mutation(
        "Dask: moments of chunks are merged without a common mean",
        "_moments.py",
        "a, b = a._about(mean), b._about(mean)",
        "a, b = a._about(a.mean), b._about(b.mean)",
        "chunks",
    ),
    Mutation(
        "Dask: rows of a chunk are their own neighbours",
        "scorers/_chunks.py",
        "None if i == j else other",
        "other",
        "chunks",
    ),
    Mutation(
        "Dask: a chunk's neighbours have positions in the chunk",
        "scorers/_chunked_rows.py",
        "return distances, index + start",
        "return distances, index",
        "chunks",
    ),
    Mutation(
        "Dask: the model is sent with every task",
        "_dask.py",
        "model = delayed(detector, traverse=False)",
        "model = detector",
        "dask",
    ),
    Mutation(
        "Dask: queries in blocks all get what was found for the first block",
        "scorers/_chunked_rows.py",
        "self._start = rows.stop",
        "pass",
        "chunks",
    ),
    Mutation(
        "Dask: all groups of an ensemble are the first one to recognised rows",
        "scorers/_chunks.py",
        "delayed(project)(p, *scale, number)",
        "delayed(project)(p, *scale, 0)",
        "chunks",
    ),
    Mutation(
        "Dask: tables are loaded silently",
        "_validation.py",
        "    refuse_dask(estimator, X, reset=reset)\n    refuse_other_than_numbers(X)",
        "    refuse_other_than_numbers(X)",
        "dask",
    ),
    Mutation(
        "Dask: fits of one fold train an encoder each",
        "nsa.py",
        "with _one_training(memory, encoder, X):",
        "with nullcontext():",
        "dask",
    ),
    Mutation(
        "report: the most normal images first",
        "report/_sections.py",
        'np.argsort(scores, kind="stable")',
        'np.argsort(-scores, kind="stable")',
        "report",
    ),
    Mutation(
        "report: names of files are not escaped",
        "report/_write_report.py",
        "autoescape=True",
        "autoescape=False",
        "report",
    ),
    Mutation(
        "report: each heatmap has a scale of its own",
        "report/_sections.py",
        "heatmaps[place], *scale)",
        "heatmaps[place], heatmaps[place].min(), heatmaps[place].max())",
        "report",
    ),
    Mutation(
        "report: p-values are cut without a correction for their number",
        "report/_sections.py",
        "adjusted = false_discovery_control(p_values)",
        "adjusted = p_values",
        "report",
    ),
    Mutation(
        "report: the ROC curve is that of the normal samples",
        "report/_agreement.py",
        "roc_curve(is_anomaly, -scores)",
        "roc_curve(~is_anomaly, -scores)",
        "report",
    ),
    Mutation(
        "plotting: the curves of layers are those of the normal samples",
        "plotting/_layer_curves.py",
        "check_labels(y, len(contributions)) == -1",
        "check_labels(y, len(contributions)) == 1",
        "plotting",
    ),
    Mutation(
        "plotting: views are ordered from the least certain one on",
        "plotting/_view_plot.py",
        "np.argsort(-scores, axis=1",
        "np.argsort(scores, axis=1",
        "plotting",
    ),
    Mutation(
        "plotting: the most normal images from the less normal one on",
        "plotting/_extremes_plot.py",
        "order[-count:][::-1]",
        "order[-count:]",
        "plotting",
    ),
    Mutation(
        "command line: columns of a table taken in their order, not by name",
        "cli/_inputs.py",
        "return table[list(expected)]",
        "return table[[name for name in table.columns if name in set(expected)]]",
        "cli",
    ),
    Mutation(
        "command line: what was half-written stays after a failure",
        "_files.py",
        "        partial.unlink(missing_ok=True)",
        "        pass",
        "cli",
    ),
    Mutation(
        "command line: outputs are checked after the training",
        "cli/_outputs.py",
        "if not os.access(folder, os.W_OK | os.X_OK):",
        "if False:",
        "cli",
    ),
    Mutation(
        "command line: a training that Ctrl-C ends is written",
        "cli/_main.py",
        'warnings.filterwarnings("error", "training was interrupted")',
        "pass",
        "cli",
    ),
    Mutation(
        "command line: the most normal images copied as the worst",
        "cli/_score.py",
        "for i in order[:n_worst]",
        "for i in order[::-1][:n_worst]",
        "cli",
    ),
    Mutation(
        "command line: a file is scored while it is being written",
        "cli/_watch.py",
        "and before.get(path) == state:",
        "and True:",
        "cli",
    ),
    Mutation(
        "command line: a replaced file is not scored again",
        "cli/_watch.py",
        "done.get(path) != state and",
        "path not in done and",
        "cli",
    ),
    Mutation(
        "command line: only the folder next to an image tells its label",
        "cli/_report.py",
        ".parts[:-1] for path in paths]",
        ".parts[-2:-1] for path in paths]",
        "cli",
    ),
    Mutation(
        "images: files in the order of the disk",
        "images/_sources.py",
        "return sorted(file for file in files",
        "return list(file for file in reversed(list(files))",
        "images",
    ),
    Mutation(
        "images: rotated as the sensor was",
        "images/_decode.py",
        "    image = ImageOps.exif_transpose(image)\n",
        "",
        "images",
    ),
    Mutation(
        "images: what is transparent shows",
        "images/_decode.py",
        "if image.has_transparency_data:",
        "if False:",
        "images",
    ),
    Mutation(
        "images: padded by black",
        "images/_decode.py",
        'mode="reflect"',
        'mode="constant"',
        "images",
    ),
    Mutation(
        "images: skipped files shift the others",
        "images/_read.py",
        "            pixels[row] = pixels[kept]\n",
        "            pass\n",
        "images",
    ),
    Mutation(
        "images: gray queries are not repeated as colours",
        "_validation.py",
        "channels = 3 if len(fitted) == 3",
        "channels = 3 if len(fitted) == 9",
        "images",
    ),
    Mutation(
        "predict_frame: training images are their own neighbours",
        "nsa.py",
        "self.scorer_.nearest_samples(features, known[rows])",
        "self.scorer_.nearest_samples(features, 0 * known[rows] - 1)",
        "images",
    ),
    Mutation(
        "frames: gaps are not marked",
        "tables.py",
        "SimpleImputer(add_indicator=True)",
        "SimpleImputer()",
        "tables",
    ),
    Mutation(
        "frames: a third value looks like the first of two",
        "tables.py",
        'handle_unknown="ignore", sparse',
        'handle_unknown="ignore", drop="if_binary", sparse',
        "tables",
    ),
    Mutation(
        "frames: refits differ in the columns of strings",
        "tables.py",
        "random_state=0",
        "random_state=None",
        "tables",
    ),
    Mutation(
        "frames: a column of strings weighs as much as 60 others",
        "tables.py",
        "TEXT_COLUMNS = 5 ",
        "TEXT_COLUMNS = 60 ",
        "tables",
    ),
    Mutation(
        "frames: columns of dates and durations pass for numbers",
        "_frames.py",
        'in "biufc"',
        'in "biufcmM"',
        "frames",
    ),
    Mutation(
        "frames: looked at in the first row only",
        "_frames.py",
        "enumerate(column.to_list())",
        "enumerate(column.to_list()[:1])",
        "frames",
    ),
    Mutation(
        "frames: numbers of numpy in objects refused",
        "_frames.py",
        "Number | np.bool_",
        "Number",
        "frames",
    ),
    Mutation(
        "ensemble: the nearest sample alone for robust, too",
        "scorers/_ensemble.py",
        "max(1, int(share * n_samples))",
        "max(1, int(0 * n_samples))",
        "ensemble",
    ),
    Mutation(
        "angles: sum and difference swapped, so that near is far",
        "_angles.py",
        "2 * xp.atan2(vector_norm(u - v), vector_norm(u + v))",
        "2 * xp.atan2(vector_norm(u + v), vector_norm(u - v))",
        "nearest_rows cosine",
    ),
    Mutation(
        "p-values: off by one, the sample itself not counted in",
        "_base.py",
        "xp.astype(1 + n_below, xp.float64) / (1 + self",
        "xp.astype(n_below, xp.float64) / (1 + self",
        "scorer",
    ),
    Mutation(
        "tiles: the rest of an image that is no multiple of them is left out",
        "encoders/_tiles.py",
        "-(-length // size)).round()",
        "length // size).round()",
        "encoder",
    ),
    Mutation(
        "vision transformers: the first tokens taken for patches, not the last",
        "encoders/_backbones.py",
        "output[:, -n_patches:]",
        "output[:, :n_patches]",
        "pretrained",
    ),
    Mutation(
        "onnxruntime: layers in the wrong order",
        "encoders/_onnx.py",
        "dict(zip(layers, map(torch.from_numpy, outputs), strict=True))",
        "dict(zip(layers[::-1], map(torch.from_numpy, outputs), strict=True))",
        "pretrained",
    ),
    Mutation(
        "ONNX: what is outside the span left out of the whitening",
        "_onnx_scores.py",
        "if self.scale_outside == 0.0:",
        "if True:",
        "onnx",
    ),
    Mutation(
        "ONNX: scores not shifted by the training scores' least",
        "_onnx_scores.py",
        "(angle(x) - term.low) / term.span",
        "angle(x) / term.span",
        "onnx",
    ),
    Mutation(
        "ONNX: images resized without antialiasing",
        "encoders/_onnx_export.py",
        'mode="bilinear", antialias=True',
        'mode="bilinear"',
        "onnx",
    ),
    Mutation(
        "mean-shifted loss: the center follows every batch",
        "encoders/objectives/_mean_shifted.py",
        "if not self.center.any():",
        "if True:",
        "objectives",
    ),
    Mutation(
        "contamination: the quantile of the wrong end",
        "_base.py",
        "np.percentile(to_numpy(training_scores), 100.0 * self._rate)",
        "np.percentile(to_numpy(training_scores), 100.0 * (1 - self._rate))",
        "scorer cosine",
    ),
    Mutation(
        "contamination: ignored, 5% always",
        "_base.py",
        'return AUTO_CONTAMINATION if self.contamination == "auto" else float(self.contamination)',
        "return AUTO_CONTAMINATION",
        "scorer cosine",
    ),
    Mutation(
        "seeds: those of an ensemble's parts ignored",
        "_base.py",
        "estimator.set_params(**seeds)",
        "estimator.set_params()",
        "nsa",
    ),
    Mutation(
        "heatmaps: rows and columns swapped",
        "scorers/_patch_cosine.py",
        "maps.transpose(0, 2, 3, 1)",
        "maps.transpose(0, 3, 2, 1)",
        "patch_cosine",
    ),
    Mutation(
        "local scores: an image is compared with its own patches",
        "scorers/_patch_cosine.py",
        "allowed = image[rows] != self._image[columns]",
        "allowed = image[rows] != self._image[columns] + 10**9",
        "patch_cosine",
    ),
    Mutation(
        "local scores: the smallest angles instead of the largest",
        "scorers/_patch_cosine.py",
        "[:, flat.shape[1] - n_largest :]",
        "[:, :n_largest]",
        "patch_cosine",
    ),
    Mutation(
        "nearest rows: positions within their tile instead of in all",
        "_nearest_rows.py",
        "found = found + columns.start",
        "found = found + 0",
        "nearest_rows",
    ),
    Mutation(
        "leave-one-out: not left out, a row is its own neighbour",
        "_nearest_rows.py",
        "    return xp.where(like(mask, tile), xp.full_like(tile, -xp.inf), tile)",
        "    return tile",
        "nearest_rows cosine",
    ),
    Mutation(
        "trees: a row is its own neighbour",
        "scorers/_trees.py",
        "return leave_one_out(*found, np.arange(len(self)))",
        "return leave_one_out(*found, np.full(len(self), -1))",
        "trees cosine",
    ),
    Mutation(
        "leave-one-out: candidates taken for the nearest without proof",
        "scorers/_leave_one_out.py",
        "        if len(unsure):",
        "        if len(unsure) < 0:",
        "trees cosine",
    ),
    Mutation(
        "training rows: pixels of uint8 not divided by 255",
        "_training_rows.py",
        "unit = 255.0 if X.ndim > 2 and X.dtype == np.uint8 else 1.0",
        "unit = 1.0",
        "scorer nsa",
    ),
    Mutation(
        "whitening: shrinkage ignored",
        "_whitening.py",
        "variances = (1 - self.shrinkage_) * eigenvalues + floor",
        "variances = eigenvalues + 0 * floor",
        "whitening",
    ),
    Mutation(
        "Ledoit-Wolf: off by one sample",
        "_whitening.py",
        "/ n_samples - dispersion) / n_samples",
        "/ n_samples - dispersion) / (n_samples - 1)",
        "whitening",
    ),
    Mutation(
        "leave-one-out: the covariance keeps the row",
        "scorers/_leave_one_out.py",
        "share = (1 - whitening.shrinkage_) / (n_samples - 1)",
        "share = 0.0",
        "cosine",
    ),
    Mutation(
        "leave-one-out: the centre keeps the row",
        "scorers/_center_cosine.py",
        "others = center - (rows - center) / (n_samples - 1)",
        "others = center + 0 * rows",
        "cosine",
    ),
    Mutation(
        "whitening: not applied to queries, only rotated",
        "scorers/_center_cosine.py",
        "return angle(unit_rows(self._vectors_of(block)), self._center)",
        "vectors = self._vectors_of(block)\n"
        "        if self.whitening_ is not None:\n"
        "            scale = namespace(vectors).ones_like(vectors)\n"
        "            scale[:, :-1] = self.whitening_.scale_\n"
        "            vectors = vectors / scale\n"
        "        return angle(unit_rows(vectors), self._center)",
        "cosine",
    ),
    Mutation(
        "ensemble: the scale of each layer dropped",
        "scorers/_ensemble.py",
        "return (anomaly - low) / span",
        "return anomaly - low",
        "ensemble",
    ),
    Mutation(
        "neighbours: sum of the distances instead of their mean",
        "scorers/_neighbor_scorer.py",
        'xp.max if self.aggregation == "largest" else xp.mean',
        'xp.max if self.aggregation == "largest" else xp.sum',
        "neighbor_distance cosine",
    ),
    Mutation(
        "trimming: the most anomalous rows kept",
        "scorers/_block_scorer.py",
        'np.argsort(totals, kind="stable")[:n_kept]',
        'np.argsort(-totals, kind="stable")[:n_kept]',
        "scorer ensemble",
    ),
    Mutation(
        "explanations: sign flipped",
        "nsa.py",
        "contributions=-scores[:, None]",
        "contributions=scores[:, None]",
        "nsa",
    ),
    Mutation(
        "SimCLR: temperature dropped",
        "encoders/objectives/_simclr.py",
        "directions @ everything.T / temperature",
        "directions @ everything.T",
        "objectives",
    ),
    Mutation(
        "SimSiam: stop-gradient removed",
        "encoders/objectives/_simsiam.py",
        "targets.detach().chunk(2)",
        "targets.chunk(2)",
        "objectives",
    ),
    Mutation(
        "objectives: embeddings not normalised",
        "encoders/objectives/_objective.py",
        "y = normalize(embedding) if self.normalize_embedding else embedding",
        "y = embedding",
        "objectives",
    ),
    Mutation(
        "BYOL: target network frozen",
        "encoders/_pretext.py",
        "slow.lerp_(fast, 1 - momentum)",
        "slow.lerp_(fast, 0.0)",
        "training",
    ),
    Mutation(
        "views: one view shared by both branches",
        "encoders/_pretext.py",
        "            return self._augment(views, generator)\n        # every",
        "            views = self._augment(views, generator)\n"
        "            return torch.cat([views[: len(samples)]] * 2)\n        # every",
        "training encoder",
    ),
    Mutation(
        "views: turned the other way",
        "encoders/_image_operations.py",
        "+ cosine * right - sine * aspect * down",
        "+ cosine * right + sine * aspect * down",
        "augmentations",
    ),
    Mutation(
        "views: kernel of the blur not normalised",
        "encoders/_image_operations.py",
        "kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat",
        "kernel = kernel.repeat",
        "augmentations",
    ),
    Mutation(
        "views of tables: other columns' values",
        "encoders/_row_views.py",
        "rows.gather(0, donors)",
        "rows.roll(1, -1).gather(0, donors)",
        "augmentations uncertainty",
    ),
    Mutation(
        "preprocessing: spread of the channels dropped",
        "encoders/_preprocessing.py",
        "return (x - center).div_(scale)  # one",
        "return x - center  # one",
        "pretrained encoder",
    ),
    Mutation(
        "layers: largest value of all positions instead of their mean",
        "encoders/_backbones.py",
        "        return outputs.mean(dim=(2, 3))\n",
        "        return outputs.amax(dim=(2, 3))\n",
        "pretrained encoder",
    ),
    Mutation(
        "pretrained networks: batch norms folded although layers change",
        "encoders/_inference.py",
        "    return folded if same else network\n",
        "    return folded\n",
        "pretrained",
    ),
    Mutation(
        "pretrained networks: computed to their end",
        "encoders/_encoder_network.py",
        "keep, stop) as outputs",
        "keep, False) as outputs",
        "pretrained",
    ),
    Mutation(
        "training: seed of order and views ignored",
        "_training/_loop.py",
        "torch.Generator(store.device).manual_seed(seed)",
        "torch.Generator(store.device).manual_seed(0)",
        "training encoder seeded_draws",
    ),
    Mutation(
        "training: every epoch writes a line to a log",
        "_training/_progress.py",
        "            if share * N_LINES >= self._n_written:\n",
        "            if True:\n",
        "progress",
    ),
    Mutation(
        "training: gradients of micro-batches not averaged",
        "_training/_loop.py",
        '(values["loss"] * (weight * distributed.n_processes() / n)).backward()',
        '(values["loss"] * distributed.n_processes()).backward()',
        "training",
    ),
    Mutation(
        "training: learning rate rises along the cosine",
        "_training/_recipe.py",
        "share = (1 + math.cos(math.pi * decay)) / 2",
        "share = (1 - math.cos(math.pi * decay)) / 2",
        "training",
    ),
    Mutation(
        "training: early stopping off by one epoch",
        "_training/_stopping.py",
        "return len(history) - 1 - best_epoch >= self.patience",
        "return len(history) - 1 - best_epoch > self.patience",
        "training",
    ),
    Mutation(
        "checkpoints: the optimizer not restored",
        "_training/_loop.py",
        '        self.optimizer.load_state_dict(state["optimizer"])\n',
        "",
        "checkpoint",
    ),
    Mutation(
        "checkpoints: those of other samples taken",
        "_training/_checkpoint_identity.py",
        '"hash of X": _digest(*blocks)',
        '"hash of X": ""',
        "checkpoint",
    ),
    Mutation(
        "processes: gradients of the others dropped",
        "_training/distributed.py",
        "        total = gradient.clone(memory_format=torch.contiguous_format)\n"
        "        dist.all_reduce(total)\n",
        "        total = gradient.clone(memory_format=torch.contiguous_format)\n",
        "distributed",
    ),
    Mutation(
        "DUM: mean and variance swapped",
        "_uncertainty/_uncertainty_task.py",
        "mean, bag_log_variance = product_of_experts(",
        "bag_log_variance, mean = product_of_experts(",
        "uncertainty dum",
    ),
    Mutation(
        "DUM: the least certain samples kept",
        "_uncertainty/_uncertainty_task.py",
        "norms.argsort(dim=1)[:, :n_kept, None, None]",
        "norms.argsort(dim=1, descending=True)[:, :n_kept, None, None]",
        "uncertainty dum",
    ),
    Mutation(
        "DUM: experts weighted by variance instead of precision",
        "_uncertainty/_experts.py",
        "weights = torch.softmax(-log_variances, dim)",
        "weights = torch.softmax(log_variances, dim)",
        "uncertainty",
    ),
    Mutation(
        "DUM: scores of training samples by the networks that saw them",
        "_uncertainty/_row_sampling.py",
        "    mask[rows, np.arange(len(rows))[:, None]] = False\n    return mask",
        "    mask[rows, np.arange(len(rows))[:, None]] = False\n    return ~mask",
        "uncertainty dum",
    ),
    Mutation(
        "DUM: a seed ignored, that of the networks' samples",
        "dum.py",
        "random_state = np.random.RandomState(seed)",
        "random_state = np.random.RandomState()",
        "dum",
    ),
    Mutation(
        "diagnostics: each row paired with itself too",
        "diagnostics/_uniformity.py",
        "np.triu(kernel, 1)",
        "np.triu(kernel, 0)",
        "diagnostics",
    ),
    Mutation(
        "diagnostics: temperature dropped",
        "diagnostics/_accuracy.py",
        "squared) / (2 * temperature))",
        "squared) / 2)",
        "diagnostics",
    ),
    Mutation(
        "folds: tested on all normal samples, those of the training too",
        "model_selection.py",
        "np.sort(np.concatenate([normal[test], anomalies]))",
        "np.sort(np.concatenate([normal, anomalies]))",
        "model_selection",
    ),
    Mutation(
        "folds: the seed ignored",
        "model_selection.py",
        "shuffle=self.shuffle, random_state=self.random_state)\n        for",
        "shuffle=self.shuffle, random_state=None)\n        for",
        "model_selection",
    ),
    Mutation(
        "pollution: share of the normal samples instead of all",
        "datasets/_protocol.py",
        "n_wanted = round(len(normal) * pollution / (1 - pollution))",
        "n_wanted = round(len(normal) * pollution)",
        "protocol",
    ),
    Mutation(
        "SVHN: rows and columns swapped",
        "datasets/_loaders.py",
        "np.moveaxis(dataset.data, 1, -1)",
        "np.moveaxis(dataset.data, 1, -1).swapaxes(1, 2)",
        "datasets",
    ),
]


def check_texts(mutations):
    """Each text stands once in its file."""
    for mutation in mutations:
        n = (ROOT / "skanomaly" / mutation.file).read_text().count(mutation.old)
        if n != 1:
            sys.exit(f"{mutation.what}: {n} times in {mutation.file}: {mutation.old!r}")


def copy_to(folder):
    ignore = shutil.ignore_patterns("__pycache__", "results", "*.png", "*.pdf")
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name, **({"ignore": ignore} if source.is_dir() else {}))


def run_tests(folder, arguments):
    """The tests that fail, and what pytest printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        # no byte code, which is only written again if the time or the size of a file differs
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "CI": "true",
        },
        capture_output=True,
        text=True,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.M)
    if done.returncode not in (0, 1):
        failed = failed or [f"pytest ended with {done.returncode}"]
    return failed, done.stdout + done.stderr


def kill(folder, mutation):
    """The first test that notices the mutation, or None."""
    file = folder / "skanomaly" / mutation.file
    intact = file.read_text()
    file.write_text(intact.replace(mutation.old, mutation.new))
    likely = [f"tests/test_{name}.py" for name in mutation.likely.split()]
    others = [f"--ignore={path}" for path in likely]
    others += ["--ignore-glob=tests/test_benchmark*"]
    try:
        for arguments in (likely, others):
            failed, _ = run_tests(folder, ["-x", *arguments])
            if failed:
                return failed[0]
    finally:
        file.write_text(intact)


def main(words):
    chosen = [m for m in MUTATIONS if all(word in m.what for word in words)]
    check_texts(chosen)
    killers = set()
    n_survivors = 0
    print("| mutation | file | noticed by | seconds |\n|---|---|---|--:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder, "repository")
        folder.mkdir()
        copy_to(folder)
        for mutation in chosen:
            start = time.perf_counter()
            killer = kill(folder, mutation)
            n_survivors += killer is None
            killers |= {killer} - {None}
            seconds = time.perf_counter() - start
            noticed = f"`{killer}`" if killer else "**nothing**"
            print(f"| {mutation.what} | {mutation.file} | {noticed} | {seconds:.0f} |", flush=True)
        failed, output = run_tests(folder, sorted(killers)) if killers else ([], "")
    print(f"\n{len(chosen)} mutations, {n_survivors} survived")
    if failed:
        print(f"These fail without a mutation too: {failed}\n{output}")
    return bool(n_survivors or failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
