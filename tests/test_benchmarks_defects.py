"""The benchmark of defects: its measures, and photographs in MVTec's layout."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch

from benchmarks import defects


def test_region_overlap_counts_each_region_once(rng):
    masks = np.zeros((2, 20, 20), bool)
    masks[0, :2, :2] = masks[0, 10:, 10:] = masks[1, 5:8, 5:8] = True
    perfect = masks + 0.1 * rng.uniform(size=masks.shape)
    assert defects.region_overlap(masks, perfect) == pytest.approx(1, abs=0.01)
    missed = perfect.copy()
    missed[0, :2, :2] = 0  # a small region is a third of them
    assert defects.region_overlap(masks, missed) == pytest.approx(2 / 3, abs=0.01)
    # of noise, the overlap is the rate: half of the largest rate on average
    noise = rng.uniform(size=(2, 200, 200))
    large = np.zeros(noise.shape, bool)
    large[:, 50:150, 50:150] = True
    assert defects.region_overlap(large, noise) == pytest.approx(0.15, abs=0.01)


def test_photographs_in_the_layout_of_mvtec(rng, tmp_path):
    def save(path, pixels):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    for i in range(3):
        save(tmp_path / "train" / "good" / f"{i}.png", rng.integers(0, 255, (30, 40)))
    save(tmp_path / "test" / "good" / "0.png", rng.integers(0, 255, (30, 40)))
    save(tmp_path / "test" / "hole" / "7.png", rng.integers(0, 255, (60, 20)))
    mask = np.zeros((60, 20))
    mask[:30] = 255
    save(tmp_path / "ground_truth" / "hole" / "7_mask.png", mask)
    train, test, kinds, masks = defects.read_photographs(tmp_path, 0)
    assert train.shape == (3, 224, 224) and test.shape == (2, 224, 224)
    assert kinds.tolist() == ["good", "hole"]
    assert not masks[0].any() and masks[1, :112].all() and not masks[1, 112:].any()
    # padded, a photograph of 60 x 20 has 75 columns, beyond which there are no pixels to score
    *_, masks = defects.read_photographs(tmp_path, 0, "pad")
    assert (masks[0, 28:-28] == 0).all() and (masks[0, :28] == -1).all()
    assert (masks[1, :112, 74:149] == 1).all() and (masks[1, 112:, 74:149] == 0).all()
    assert (np.delete(masks[1], np.s_[74:149], axis=1) == -1).all()


def test_rows_are_of_each_kind_and_of_all(rng):
    kinds = np.array(["good"] * 6 + ["hole"] * 3 + ["dent"] * 3)
    masks = np.zeros((12, 8, 8), np.int8)
    masks[6:, 2:4, 2:4] = 1
    masks[:, 7] = -1  # beyond the photograph
    scores = np.arange(12.0)
    scores[9] = -1  # a dent that looks normal

    class Detector:
        def score_samples(self, X):
            return -scores

        def explain(self, X):
            heatmaps = np.abs(masks) + 0.1 * rng.uniform(size=masks.shape)
            return Bunch(heatmaps=heatmaps)

    rows = {row["kind"]: row for row in defects.evaluate(Detector, None, scores, kinds, masks)}
    assert rows.keys() == {"all", "dent", "hole"} and rows["hole"]["image_auroc"] == 100
    expected = 100 * roc_auc_score(kinds != "good", scores)
    assert rows["all"]["image_auroc"] == pytest.approx(expected, abs=0.01)
    assert rows["all"]["pixel_auroc"] == 100 and "fit_seconds" in rows["all"]
    assert rows["all"]["region_overlap"] > 99
    assert rows["dent"]["image_auroc"] < 80 and "fit_seconds" not in rows["dent"]
