"""Pictures to pixel values: equal to open_clip's and torchvision's preprocessing, and bad input named."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as theirs

from course_lib.data.microworld import render, sample_scenes
from course_lib.data.transforms import (
    CLIP_MEAN,
    CLIP_STD,
    HALF_MEAN,
    HALF_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    augment,
    centre_crop,
    denormalise,
    normalise,
    random_crop_box,
    resize,
    resize_values,
    to_pixel_values,
)
from course_lib.errors import InputError


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return render(sample_scenes(6, 0), 64)


@pytest.mark.parametrize("shape", [(90, 133), (200, 64), (64, 64), (31, 47)])
def test_a_photo_is_prepared_as_open_clip_does(shape):
    from open_clip import image_transform

    rough = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    picture = Image.fromarray(rough).resize(shape, Image.Resampling.BICUBIC)
    wanted = image_transform(64, is_train=False, mean=CLIP_MEAN, std=CLIP_STD)(picture)
    torch.testing.assert_close(to_pixel_values([picture], size=64)[0], wanted, atol=1e-6, rtol=0)


def test_arrays_tensors_and_pictures_give_the_same(images):
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (CLIP_MEAN, CLIP_STD))
    expected = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    for given in (images, torch.from_numpy(images), list(images), [Image.fromarray(image) for image in images]):
        values = to_pixel_values(given)
        assert values.dtype == torch.float32 and values.shape == (6, 3, 64, 64) and values.is_contiguous()
        torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(to_pixel_values(images[0]), expected[:1], atol=1e-6, rtol=0)
    torch.testing.assert_close(to_pixel_values(Image.fromarray(images[0])), expected[:1], atol=1e-6, rtol=0)


def test_other_means_and_modes(images):
    values = to_pixel_values(images, HALF_MEAN, HALF_STD)
    assert -1 <= values.min() < values.max() <= 1
    grey = to_pixel_values([Image.fromarray(images[0]).convert("L")])
    assert grey.shape == (1, 3, 64, 64)
    see_through = to_pixel_values([Image.fromarray(images[0]).convert("RGBA")])
    torch.testing.assert_close(see_through, to_pixel_values(images[:1]))


def test_the_pictures_given_are_not_changed(images):
    before = images.copy()
    to_pixel_values(images)
    to_pixel_values(images, size=32)
    np.testing.assert_array_equal(images, before)


def test_resize_keeps_the_middle():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    found = np.asarray(resize(Image.fromarray(wide), 10))
    assert found.shape == (10, 10, 3) and np.abs(found[:, 1:-1].astype(int) - 200).max() <= 12


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), {}, "float32 .* should be uint8"),
        (np.zeros((2, 3, 8, 8), np.uint8), {}, r"\(2, 3, 8, 8\)"),
        (np.zeros((8, 8), np.uint8), {}, "should be uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), {}, "no pictures"),
        ([], {}, "no pictures"),
        ([Image.new("RGB", (8, 8)), Image.new("RGB", (9, 8))], {}, "differ in size"),
        ([np.zeros((8, 8, 4), np.uint8)], {}, r"uint8 \(8, 8, 4\)"),
        ([Image.new("RGB", (8, 8))], {"size": 0}, "size is 0"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"std": (1, 1, 0)}, "std above 0"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"mean": (0.5,)}, "one number for each"),
    ],
)
def test_bad_input_is_named(given, options, words):
    with pytest.raises(InputError, match=words):
        to_pixel_values(given, **options)


@pytest.fixture(scope="module")
def values(images) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


def test_each_step_is_torchvisions(values):
    wide = values[:, :, :40]
    torch.testing.assert_close(
        normalise(values, IMAGENET_MEAN, IMAGENET_STD), theirs.normalize(values, IMAGENET_MEAN, IMAGENET_STD)
    )
    torch.testing.assert_close(
        denormalise(normalise(values, CLIP_MEAN, CLIP_STD), CLIP_MEAN, CLIP_STD), values, atol=1e-6, rtol=0
    )
    torch.testing.assert_close(resize_values(wide, 17, 30), theirs.resize(wide, [17, 30]), atol=1e-6, rtol=0)
    assert torch.equal(centre_crop(wide, 33), theirs.center_crop(wide, [33, 33]))
    for ours, reference in (
        (adjust_brightness, theirs.adjust_brightness),
        (adjust_contrast, theirs.adjust_contrast),
        (adjust_saturation, theirs.adjust_saturation),
    ):
        for factor in (0.0, 0.6, 1.0, 1.7):
            torch.testing.assert_close(ours(values, factor), reference(values, factor), atol=1e-5, rtol=0)
    for turn in (-0.5, -0.1, 0.0, 0.3):
        torch.testing.assert_close(adjust_hue(values, turn), theirs.adjust_hue(values, turn), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "scale"), [((64, 64), (0.08, 1.0)), ((30, 90), (0.2, 0.9)), ((90, 10), (0.9, 1.0)), ((9, 99), (1.0, 1.0))]
)
def test_a_random_crop_is_drawn_as_torchvision_draws_it(size, scale):
    for seed in range(20):
        torch.manual_seed(seed)
        wanted = RandomResizedCrop.get_params(torch.zeros(3, *size), list(scale), [3 / 4, 4 / 3])
        generator = torch.Generator().manual_seed(seed)
        assert random_crop_box(*size, scale, generator=generator) == wanted


def test_augmentation_varies_and_is_repeatable(values):
    first, again, other = (augment(values, torch.Generator().manual_seed(seed), hue=0.1) for seed in (0, 0, 1))
    assert first.shape == values.shape and torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.01) and 0 <= first.min() and first.max() <= 1
    generator = torch.Generator().manual_seed(0)
    still = augment(values, generator, scale=(1.0, 1.0), flip=False, jitter=0.0)
    assert still.shape == values.shape


def test_bad_tensors_are_named(values):
    with pytest.raises(InputError, match="2 numbers do not go with values of shape"):
        normalise(values, (0, 0), (1, 1))
    with pytest.raises(InputError, match="a square of 65 does not fit a picture of 64 x 64"):
        centre_crop(values, 65)
    with pytest.raises(InputError, match="the size is 0 x 5"):
        resize_values(values, 0, 5)
