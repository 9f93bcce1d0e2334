"""SelfSupervisedEncoder: training, layers, features, determinism, pickles."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from torchvision import models

from skanomaly import NSADetector, PretrainedEncoder, SelfSupervisedEncoder
from skanomaly.encoders import _self_supervised
from skanomaly.encoders._architectures import make_backbone
from skanomaly.encoders._backbones import outputs_of
from skanomaly.encoders._tiles import Tiles
from skanomaly.encoders.objectives import OBJECTIVES


def weights(encoder):
    return dict(encoder.network_.named_parameters())


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_training_changes_every_weight_and_lowers_the_loss(images, objective):
    untrained = SelfSupervisedEncoder(objective, max_epochs=0, random_state=0).fit(images)
    trained = SelfSupervisedEncoder(objective, max_epochs=15, random_state=0).fit(images)
    before, after = weights(untrained), weights(trained)
    assert not [k for k in before if torch.equal(before[k], after[k])]
    losses = [epoch["loss"] for epoch in trained.history_]
    assert len(losses) == 15 and np.mean(losses[-3:]) < np.mean(losses[:3])
    assert untrained.history_ == []


@pytest.mark.parametrize("normalize", ["both", "embedding", "projection", None])
def test_normalisations_are_switched_each_on_its_own(images, normalize):
    encoder = SelfSupervisedEncoder("simsiam", normalize=normalize, max_epochs=1).fit(images)
    objective = encoder.network_.objective
    assert objective.normalize_embedding == (normalize in ("both", "embedding"))
    assert objective.normalize_projection == (normalize in ("both", "projection"))


def test_layers_of_images(images):
    encoder = SelfSupervisedEncoder(layers="all", max_epochs=1, max_map_width=None).fit(images)
    widths = {name: s.stop - s.start for name, s in encoder.layer_slices_.items()}
    assert widths == {
        "conv_block_1": 32 * 6 * 6,
        "conv_block_1 (1x1)": 32,
        "conv_block_2": 64 * 3 * 3,
        "conv_block_2 (1x1)": 64,
        "conv_block_3": 128 * 2 * 2,
        "conv_block_3 (1x1)": 128,
        "head_layer_1": 256,
        "head_layer_2": 128,
    }
    features = encoder.transform(images)
    assert features.dtype == np.float32
    names = encoder.get_feature_names_out()
    assert len(names) == features.shape[1] and names[0] == "conv_block_1__0"
    maps = features[:, encoder.layer_slices_["conv_block_2"]].reshape(-1, 64, 3, 3)
    pooled = features[:, encoder.layer_slices_["conv_block_2 (1x1)"]]
    assert_allclose(maps.mean(axis=(2, 3)), pooled, atol=1e-5)


def test_layers_are_the_networks_outputs(images):
    """The maps that hooks collect are those of a plain forward pass."""
    encoder = SelfSupervisedEncoder("simsiam", layers="all", max_epochs=1).fit(images)
    network, slices = encoder.network_, encoder.layer_slices_
    features = encoder.transform(images)
    x = torch.tensor(images[:, None]).float() / 255
    with torch.inference_mode():
        y = network(x)
        head = network.objective.projector[0](torch.nn.functional.normalize(y))
    assert_allclose(features[:, slices["conv_block_3 (1x1)"]], y, atol=1e-5)
    assert_allclose(features[:, slices["head_layer_1"]], head, atol=1e-5)
    assert "head_layer_3" in slices


def test_wide_maps_are_projected_and_keep_their_angles(images):
    whole = SelfSupervisedEncoder(max_epochs=1, max_map_width=None, random_state=0).fit(images)
    projected = SelfSupervisedEncoder(max_epochs=1, max_map_width=500, random_state=0).fit(images)
    for layer, columns in whole.layer_slices_.items():
        before = whole.transform(images)[:, columns]
        after = projected.transform(images)[:, projected.layer_slices_[layer]]
        wide = layer in ("conv_block_1", "conv_block_2", "conv_block_3")
        assert after.shape[1] == (500 if wide else before.shape[1])
        before, after = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (before, after))
        # inner products of n random signs have a spread of 1 / sqrt(500)
        assert_allclose(after @ after.T, before @ before.T, atol=5 / 500**0.5 if wide else 1e-5)
        if layer == "conv_block_1":
            assert not np.allclose(after @ after.T, before @ before.T, atol=1e-3)


def test_chosen_layers(images):
    blocks = SelfSupervisedEncoder(max_epochs=1).fit(images)
    assert list(blocks.layer_slices_) == [
        f"conv_block_{i}{pooled}" for i in (1, 2, 3) for pooled in ("", " (1x1)")
    ]
    last = SelfSupervisedEncoder(layers="last", max_epochs=1).fit(images)
    assert list(last.layer_slices_) == ["conv_block_3 (1x1)"]
    some = SelfSupervisedEncoder(layers=["head_layer_1", "conv_block_1"], max_epochs=1).fit(images)
    assert list(some.layer_slices_) == ["head_layer_1", "conv_block_1"]


def test_tables(table):
    encoder = SelfSupervisedEncoder(max_epochs=2, random_state=0).fit(table)
    assert list(encoder.layer_slices_) == ["columns", *(f"dense_block_{i}" for i in (1, 2, 3))]
    features = encoder.transform(table)
    assert features.dtype == np.float64
    one_by_one = np.concatenate([encoder.transform(row[None]) for row in table])
    assert_allclose(one_by_one, features, rtol=1e-12, atol=1e-12)
    frame = encoder.set_output(transform="pandas").transform(table)
    assert isinstance(frame, pd.DataFrame) and frame.columns[-1].startswith("dense_block_3__")


def test_block_of_a_tables_columns(table, rng):
    """Five columns come back as five standardised columns."""
    encoder = SelfSupervisedEncoder(max_epochs=1).fit(table)
    queries = rng.normal(size=(50, 5)) * 2 + [5, 4, 3, 2, 1]
    blocks = encoder.transform_blocks(queries)
    assert {name: block.shape[1] for name, block in blocks.items()} == {
        "columns": 5,
        **{f"dense_block_{i}": 128 for i in (1, 2, 3)},
    }
    assert blocks["columns"].dtype == np.float64
    assert_allclose(blocks["columns"], StandardScaler().fit(table).transform(queries), rtol=1e-12)


def test_wide_tables_are_projected(rng):
    table = rng.normal(size=(40, 300))
    encoder = SelfSupervisedEncoder(max_epochs=1, layers=["columns"]).fit(table)
    assert encoder.transform(table).shape == (40, 128)


def test_dense_networks_for_images(images):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 16))
    encoder = SelfSupervisedEncoder(backbone=network, max_epochs=1).fit(images)
    assert list(encoder.layer_slices_) == ["dense_block_1"]
    assert encoder.transform(images).shape == (24, 16)


def test_threads_get_what_serial_calls_give(images):
    """With one encoder and with several that share nothing, also where layers are of the head."""
    first = SelfSupervisedEncoder(max_epochs=0, layers="all", random_state=0).fit(images)
    second = PretrainedEncoder(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3))).fit(images)
    calls = [(e, np.roll(images, i, axis=2)) for i in range(16) for e in (first, second)]
    expected = [encoder.transform(batch) for encoder, batch in calls]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda call: call[0].transform(call[1]), calls))
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)
    assert not any(module._forward_hooks for module in first.network_.modules())


def test_outputs_of_another_thread_are_not_collected():
    """A call from another thread in the middle of a ``with`` block changes nothing."""
    module = torch.nn.Identity()
    own, other = torch.zeros(2), torch.ones(2)
    with outputs_of({"name": module}, lambda name, output: output) as kept:
        module(own)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(module, other).result()
    assert kept == {"name": own} and kept["name"] is own


def test_fitted_network_holds_no_gradients(images):
    network = SelfSupervisedEncoder(max_epochs=1).fit(images).network_
    assert all(parameter.grad is None for parameter in network.parameters())


def test_refit_on_images_forgets_the_table(table, images):
    encoder = SelfSupervisedEncoder(max_epochs=1).fit(pd.DataFrame(table, columns=list("abcde")))
    encoder.fit(images)
    assert not hasattr(encoder, "scaler_") and not hasattr(encoder, "feature_names_in_")
    assert encoder.fit(table).transform(table).shape[0] == 60


def test_global_output_setting(table):
    with config_context(transform_output="polars"):
        encoder = SelfSupervisedEncoder(max_epochs=1).fit(table)
        assert encoder.transform(table).shape == (60, 5 + 3 * 128)


def test_extreme_entries_of_tables(table):
    encoder = SelfSupervisedEncoder(max_epochs=1).fit(table)
    for value in (1e300, 1.7e308, -1.7e308):
        assert np.isfinite(encoder.transform(np.full((1, 5), value))).all()


def test_scale_of_columns_does_not_matter(table):
    encoder = SelfSupervisedEncoder(max_epochs=2, random_state=0)
    features = encoder.fit(table).transform(table)
    moved = table * [1e-6, 1, 1e6, 1, 1] + [0, 0, 0, 1e5, 0]
    assert_allclose(encoder.fit(moved).transform(moved), features, rtol=1e-2, atol=1e-3)


def test_flattened_and_float_images_are_the_same_images(images):
    encoder = SelfSupervisedEncoder(max_epochs=2, random_state=0)
    features = encoder.fit(images).transform(images)
    assert_array_equal(encoder.fit(images[..., None]).transform(images[:, None]), features)
    assert_allclose(encoder.fit(images / 255).transform(images / 255), features, atol=1e-4)
    flat = images.reshape(len(images), -1)
    encoder.set_params(image_shape=(12, 12))
    assert_array_equal(encoder.fit(flat).transform(flat), features)


def test_same_seed_same_weights_and_no_global_state(images):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = SelfSupervisedEncoder(max_epochs=2, random_state=3).fit(images)
    second = SelfSupervisedEncoder(max_epochs=2, random_state=3).fit(images)
    other = SelfSupervisedEncoder(max_epochs=2, random_state=4).fit(images)
    assert_array_equal(first.transform(images), second.transform(images))
    assert not np.array_equal(first.transform(images), other.transform(images))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert_array_equal(numpy_state, np.random.get_state()[1])


def test_pickle_gives_the_same_features(images):
    encoder = SelfSupervisedEncoder(max_epochs=1, random_state=0).fit(images)
    loaded = pickle.loads(pickle.dumps(encoder))
    assert_array_equal(loaded.transform(images), encoder.transform(images))


def test_missing_device_is_refused_in_fit_and_replaced_in_transform(images):
    encoder = SelfSupervisedEncoder(max_epochs=1, random_state=0).fit(images)
    features = encoder.transform(images)
    encoder.set_params(device="cuda:99")
    assert_allclose(encoder.transform(images), features, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used here"):
        encoder.fit(images)


def test_batches_without_a_lonely_sample(images):
    """25 samples in batches of 8 or 24: batch normalisation would refuse a batch of one."""
    X = np.concatenate([images, images[:1]])
    for batch_size in (2, 8, 24, 1000):
        SelfSupervisedEncoder(max_epochs=1, batch_size=batch_size).fit(X)
    SelfSupervisedEncoder(max_epochs=1, batch_size=2).fit(images[:3])


def test_user_augmentation_is_used(images):
    seen = []

    def augment(batch, generator):
        assert isinstance(generator, torch.Generator)
        seen.append((tuple(batch.shape), float(batch.min()), float(batch.max())))
        return batch

    SelfSupervisedEncoder(max_epochs=1, augment=augment).fit(images)
    assert seen[0][0] == (48, 1, 12, 12)  # both views
    assert 0 <= seen[0][1] < seen[0][2] <= 1


def test_collapse_is_reported(images, monkeypatch):
    monkeypatch.setattr(_self_supervised, "COLLAPSED", 2.0)
    with pytest.warns(ConvergenceWarning, match=r"the embedding collapsed .* normalize='both'"):
        SelfSupervisedEncoder(max_epochs=1).fit(images)


def test_divergence_is_reported(images):
    def explode(batch, generator):
        return batch * torch.nan

    encoder = SelfSupervisedEncoder(augment=explode)
    with pytest.raises(FloatingPointError, match=r"loss is nan in epoch 1: .* below 0.003"):
        encoder.fit(images)
    assert not hasattr(encoder, "network_")


def test_divergence_in_the_last_step_is_reported(images):
    encoder = SelfSupervisedEncoder(max_epochs=1, batch_size=24, learning_rate=1e12)
    with pytest.raises(FloatingPointError, match=r"features are not finite: .* below 1e\+12"):
        encoder.fit(images)


def test_quiet_by_default(images, capsys):
    SelfSupervisedEncoder(max_epochs=2).fit(images)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name, embedding_dim", [("resnet18", 512), ("resnet50", 2048)])
def test_resnets_are_torchvisions(name, embedding_dim):
    small = make_backbone(name, (3, 32, 32))
    x = torch.randn(2, 3, 32, 32)
    assert small.embedding_dim == embedding_dim
    assert small(x).shape == (2, embedding_dim)
    assert small.network.layer1(small.network.maxpool(small.network.conv1(x))).shape[2:] == (32, 32)
    large = make_backbone(name, (3, 224, 224)).eval()
    original = models.get_model(name, weights=None).eval()
    original.load_state_dict(large.network.state_dict(), strict=False)
    original.fc = torch.nn.Identity()
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert_allclose(large(x), original(x), atol=1e-5)
    assert make_backbone(name, (1, 224, 224)).network.conv1.in_channels == 1


def test_resnet_layers(rng):
    X = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    encoder = SelfSupervisedEncoder(backbone="resnet18", max_map_width=None, max_epochs=1).fit(X)
    widths = {name: s.stop - s.start for name, s in encoder.layer_slices_.items()}
    assert widths["conv_block_1"] == 64 * 16 * 16 and widths["conv_block_4 (1x1)"] == 512


def test_tiles_cover_images(rng):
    images = rng.integers(0, 256, (3, 2, 20, 13), dtype=np.uint8)
    tiles = Tiles(images, 8)
    assert tiles.shape == (3 * 3 * 2, 2, 8, 8) and tiles.nbytes == tiles[:].nbytes
    assert_array_equal(tiles[np.array([17, 0])], [images[2, :, 12:, 5:], images[0, :, :8, :8]])
    places = np.arange(20 * 13).reshape(1, 1, 20, 13)
    assert set(Tiles(places, 8)[:].ravel()) == set(places.ravel())


def test_training_on_tiles_is_training_on_their_array(rng):
    images = rng.integers(0, 256, (6, 96, 80), dtype=np.uint8)
    options = {"layers": "last", "max_epochs": 1, "random_state": 0, "precision": "float32"}
    encoder = SelfSupervisedEncoder(tile_size=32, **options).fit(images)
    tiles = Tiles(images[:, None], 32)[:]
    expected = SelfSupervisedEncoder(**options).fit(tiles)
    assert encoder.sample_shape_ == (1, 96, 80)
    for name, values in weights(expected).items():
        assert torch.equal(weights(encoder)[name], values)
    # whole images are encoded at their resolution
    assert encoder.transform_map(images, "conv_block_3").shape == (6, 128, 12, 10)
    pooled = SelfSupervisedEncoder(max_epochs=0).fit(images)
    assert pooled.transform_map(images, "conv_block_3").shape == (6, 128, 6, 5)
    assert list(pooled.layer_slices_)[:2] == ["conv_block_1", "conv_block_1 (1x1)"]
    assert list(encoder.set_params(layers="all").fit(images).layer_slices_) == [
        *(f"conv_block_{i} (1x1)" for i in (1, 2, 3)),
        "head_layer_1",
        "head_layer_2",
    ]
    assert np.isfinite(NSADetector(encoder).fit(images).score_samples(images)).all()


def test_compact_backbone_bounds_the_cost_of_large_images():
    backbone = make_backbone("compact", (3, 300, 200))
    assert backbone.block("conv_block_1")(torch.randn(2, 32, 30, 20)).shape == (2, 32, 30, 20)
    assert backbone.network.reduction(torch.randn(2, 3, 300, 200)).shape == (2, 3, 60, 40)
    assert backbone(torch.randn(2, 3, 300, 200)).shape == (2, 128)
    assert backbone(torch.randn(2, 3, 8, 600)).shape == (2, 128)
