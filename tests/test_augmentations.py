"""Views: every operation against torchvision, and parameters of its own for each sample."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as F
from torch.testing import assert_close
from torchvision.transforms import InterpolationMode, RandomResizedCrop

from skanomaly import SelfSupervisedEncoder
from skanomaly.encoders import ColumnCorruption, ImageAugmentation
from skanomaly.encoders import _image_operations as ours
from skanomaly.encoders._augmentations import PRESETS


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[1, 3])
def images(request):
    images = torch.rand(6, request.param, 16, 20, generator=generator(), dtype=torch.float64)
    images[1] = 0.5  # no colour, no contrast
    return images


FACTORS = torch.tensor([0.0, 0.3, 1.0, 1.3, 2.0, 0.7], dtype=torch.float64)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_blends(images, name):
    changed = getattr(ours, f"adjust_{name}")(images, FACTORS)
    expected = [
        getattr(F, f"adjust_{name}")(image, float(factor))
        for image, factor in zip(images, FACTORS, strict=True)
    ]
    # torchvision's luminance weights have four digits as well, but in float32
    assert_close(changed, torch.stack(expected), atol=1e-6, rtol=0)


def test_hue():
    images = torch.rand(6, 3, 8, 8, generator=generator(), dtype=torch.float64)
    images[0, :, 0] = 0.25  # gray pixels stay as they are
    shifts = torch.tensor([-0.5, -0.2, 0.0, 0.1, 0.3, 0.5], dtype=torch.float64)
    expected = [F.adjust_hue(i, float(s)) for i, s in zip(images, shifts, strict=True)]
    assert_close(ours.adjust_hue(images, shifts), torch.stack(expected), atol=1e-6, rtol=0)


def test_grayscale():
    images = torch.rand(2, 3, 4, 4, generator=generator())
    assert_close(ours.to_gray(images), F.rgb_to_grayscale(images), atol=1e-6, rtol=0)


def test_blur(images):
    sigmas = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0, 0.7], dtype=torch.float64)
    expected = [
        F.gaussian_blur(i, [5, 5], [float(s)] * 2) for i, s in zip(images, sigmas, strict=True)
    ]
    assert_close(ours.gaussian_blur(images, sigmas), torch.stack(expected), atol=1e-6, rtol=0)


def crop_boxes(images, boxes, flip=False, angle=None):
    """Our crop with boxes (top, left, height, width) in pixels."""
    height, width = images.shape[2:]
    top, left, box_height, box_width = torch.tensor(boxes, dtype=torch.float64).T
    center = torch.stack(
        [(2 * left + box_width) / width - 1, (2 * top + box_height) / height - 1], dim=1
    )
    size = torch.stack([box_width / width, box_height / height], dim=1)
    return ours.crop(images, center, size, torch.full((len(boxes),), flip), angle)


@pytest.mark.parametrize("flip", [False, True])
def test_crop(images, flip):
    boxes = [
        (0, 0, 16, 20),
        (2, 3, 8, 10),
        (4, 5, 4, 5),
        (1, 0, 12, 8),
        (8, 10, 8, 10),
        (3, 3, 10, 9),
    ]
    changed = crop_boxes(images, boxes, flip)
    for image, view, box in zip(images, changed, boxes, strict=True):
        expected = F.resized_crop(
            image, *box, [16, 20], InterpolationMode.BILINEAR, antialias=False
        )
        expected = F.horizontal_flip(expected) if flip else expected
        assert_close(view, expected, atol=1e-6, rtol=0)


def test_vertical_flip(images):
    n = len(images)
    flips = torch.tensor([True, False] * 3)
    center, size = torch.zeros(n, 2), torch.ones(n, 2)
    changed = ours.crop(images, center, size, flips.flip(0), vertical_flip=flips)
    for i in range(n):
        expected = F.vertical_flip(images[i]) if flips[i] else F.horizontal_flip(images[i])
        assert_close(changed[i], expected, atol=1e-6, rtol=0)


def test_rotation(images):
    angles = torch.tensor([0.0, 0.1, -0.4, 1.0, math.pi / 2, math.pi], dtype=torch.float64)
    changed = crop_boxes(images, [(0, 0, 16, 20)] * 6, angle=angles)
    for image, view, angle in zip(images, changed, angles, strict=True):
        degrees = math.degrees(float(angle))
        expected = F.rotate(image, degrees, InterpolationMode.BILINEAR, fill=[2.0])
        inside = F.rotate(torch.ones_like(image), degrees, InterpolationMode.BILINEAR) > 0.999
        assert_close(view[inside], expected[inside], atol=1e-4, rtol=0)


def test_crops_stay_inside_the_image():
    """A ramp from 0 to 1: a crop that left the image would repeat its border."""
    ramp = torch.linspace(0.5 / 64, 1 - 0.5 / 64, 64).expand(500, 1, 64, 64)
    augment = ImageAugmentation(crop_area=(0.1, 0.5), jitter=0)
    views = augment(ramp, generator())
    slopes = views.diff(dim=3).abs()
    assert slopes[:, :, :, 1:-1].min() > 0
    share = (views.amax(dim=(1, 2, 3)) - views.amin(dim=(1, 2, 3))).square()
    assert 0.05 < share.min() < share.max() < 0.5 * 4 / 3 + 0.05


@pytest.mark.parametrize(
    "height, width, options",
    [
        (64, 64, {}),
        (64, 96, {}),
        (64, 40, {"crop_area": (0.2, 0.6), "aspect_ratio": (0.5, 3.0)}),
        (128, 32, {}),  # of which no crop of the ratios fits
    ],
)
def test_crops_are_distributed_as_torchvisions(height, width, options):
    """Areas and ratios of pixels, by their quantiles; theirs are rounded to whole pixels."""
    n = 4000
    augment = ImageAugmentation(**options)
    scale, ratio = list(augment.crop_area), list(augment.aspect_ratio)
    scaled = torch.empty(1, 16 * height, 16 * width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boxes = [RandomResizedCrop.get_params(scaled, scale, ratio) for _ in range(n)]
    theirs = torch.tensor(boxes, dtype=torch.float32)[:, 2:] / 16
    ours = augment.draw(n, (3, height, width), generator())["size"].flip(1)
    ours = ours * torch.tensor([height, width])
    levels = torch.linspace(0.05, 0.95, 10)
    for measure in (lambda box: box.prod(dim=1) / (height * width), log_ratio):
        found, expected = (torch.quantile(measure(box), levels) for box in (ours, theirs))
        assert_close(found, expected, atol=0.025, rtol=0.02)
    assert ours[:, 0].max() <= height and ours[:, 1].max() <= width


def log_ratio(boxes):
    return (boxes[:, 1] / boxes[:, 0]).log()


def test_ratios_are_drawn_on_a_log_scale():
    """Wide and tall crops are as likely, where all of them fit."""
    augment = ImageAugmentation(crop_area=(0.05, 0.1), aspect_ratio=(1 / 8, 8))
    size = augment.draw(4000, (1, 16, 16), generator())["size"]
    found = (size[:, 0] / size[:, 1]).log() / math.log(8)
    levels = torch.tensor([0.25, 0.5, 0.75])
    assert_close(torch.quantile(found, levels), 2 * levels - 1, atol=0.06, rtol=0)


def test_hues_are_shifted_both_ways():
    shifts = ImageAugmentation(hue=0.2).draw(2000, (3, 8, 8), generator())["hue"]
    levels = torch.tensor([0.0, 0.5, 1.0])
    assert_close(torch.quantile(shifts, levels), 0.4 * levels - 0.2, atol=0.02, rtol=0)


def test_crops_do_not_see_what_is_outside_the_box():
    """A bright image with a dark box: nothing bright gets into the crop, turned or not."""
    image = torch.ones(1, 1, 24, 32)
    image[:, :, 8:16, 8:24] = 0
    center, size = torch.zeros(1, 2), torch.tensor([[1 / 2, 1 / 3]])
    flip = torch.tensor([False])
    assert ours.crop(image, center, size, flip).max() < 1e-5
    assert ours.crop(image, center, size / 2, flip, torch.tensor([math.pi])).max() < 1e-5
    assert ours.crop(image, center, size * 1.2, flip).max() > 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_each_sample_has_parameters_of_its_own(channels):
    image = torch.rand(1, channels, 16, 16, generator=generator())
    augment = ImageAugmentation(degrees=10, blur=0.5)
    views = augment(image.expand(8, -1, -1, -1), generator())
    assert views.shape == (8, channels, 16, 16)
    assert views.min() >= 0 and views.max() <= 1 + 1e-6
    assert len(torch.unique(views.flatten(1), dim=0)) == 8


def test_views_depend_on_the_generator_alone():
    image = torch.rand(4, 3, 16, 16, generator=generator())
    augment = ImageAugmentation()
    state = torch.get_rng_state()
    first, second = augment(image, generator(1)), augment(image, generator(1))
    assert_close(first, second, atol=0, rtol=0)
    assert not torch.equal(first, augment(image, generator(2)))
    assert torch.equal(state, torch.get_rng_state())


def test_corruption_takes_values_of_the_same_column():
    rows = torch.arange(50.0)[:, None] + 1000 * torch.arange(4)
    views = ColumnCorruption(0.4)(rows, generator())
    assert torch.equal(views // 1000, rows // 1000)
    assert 0.25 < (views != rows).double().mean() < 0.5
    assert torch.equal(ColumnCorruption(0.0)(rows, generator()), rows)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("channels", [1, 3])
def test_presets(preset, channels):
    views = PRESETS[preset]()(torch.rand(8, channels, 16, 12, generator=generator()), generator())
    assert views.shape == (8, channels, 16, 12) and 0 <= views.min() < views.max() <= 1 + 1e-6


def test_presets_mirror_what_may_be_mirrored():
    """A ramp's slope has the sign of its direction, after small rotations too."""
    ramp = torch.linspace(0, 1, 32).expand(300, 1, 32, 32)
    mirrored = {}
    for name, preset in PRESETS.items():
        views = preset()(ramp, generator())
        across = views.diff(dim=3).mean(dim=(1, 2, 3)) < 0
        down = preset()(ramp.mT, generator()).diff(dim=2).mean(dim=(1, 2, 3)) < 0
        mirrored[name] = (across.any().item(), down.any().item())
    assert mirrored == {
        "color": (True, False),
        "grayscale": (True, False),
        "digits": (False, False),
        "texture": (True, True),
    }


def test_drawn_parameters_can_be_applied_in_parts():
    images = torch.rand(6, 3, 16, 16, generator=generator())
    augment = ImageAugmentation(degrees=10, blur=0.5, vertical_flip=0.5)
    whole = augment(images, generator())
    drawn = augment.draw(6, (3, 16, 16), generator())
    assert {len(values) for values in drawn.values()} == {6}
    part = augment.apply(images[2:4], {name: values[2:4] for name, values in drawn.items()})
    assert_close(part, whole[2:4], atol=0, rtol=0)


def test_modules_of_kornia(images):
    kornia = pytest.importorskip("kornia.augmentation")
    views = kornia.AugmentationSequential(
        kornia.RandomResizedCrop((16, 20), scale=(0.5, 1.0)), kornia.RandomHorizontalFlip()
    )
    X = images.float().numpy()
    encoder = SelfSupervisedEncoder(augment=views, max_epochs=2, random_state=0)
    state = torch.get_rng_state()
    features = encoder.fit(X).transform(X)
    assert torch.equal(state, torch.get_rng_state())
    assert (encoder.fit(X).transform(X) == features).all()
    plain = SelfSupervisedEncoder(max_epochs=2, random_state=0).fit(X).transform(X)
    assert abs(plain - features).max() > 0


def test_repr_names_what_decides():
    text = repr(ImageAugmentation(flip=0.0))
    assert text.startswith("ImageAugmentation(crop_area=(0.5, 1.0), ") and "flip=0.0" in text


class Seeded(torch.nn.Module):
    def forward(self, batch, generator):
        return batch * torch.rand(len(batch), 1, 1, 1, generator=generator)


@pytest.mark.parametrize("augment", [torch.fliplr, Seeded(), lambda batch: batch / 2])
def test_ways_to_take_a_batch(images, augment):
    SelfSupervisedEncoder(augment=augment, max_epochs=1).fit(images.float().numpy())
