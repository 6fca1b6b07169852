"""Colour spaces: equal to scikit-image's, and what they mean."""

import numpy as np
import pytest
import torch
from skimage import color

from course_lib.data.colour import grey, hsv_to_rgb, rgb_to_hsv, rgb_to_yuv, yuv_to_rgb
from course_lib.errors import InputError

random = np.random.default_rng(0)
# Any colours; and those at the edges of the cube, where two channels are equal, least or greatest.
PICTURE = np.concatenate([random.random((40, 60, 3)), random.integers(0, 3, (40, 60, 3)) / 2])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (rgb_to_yuv, color.rgb2yuv),
        (yuv_to_rgb, color.yuv2rgb),
        (rgb_to_hsv, color.rgb2hsv),
        (hsv_to_rgb, color.hsv2rgb),
        (grey, color.rgb2gray),
    ],
)
def test_the_same_as_scikit_image(ours, theirs):
    np.testing.assert_allclose(ours(PICTURE).numpy(), theirs(PICTURE), atol=1e-12)
    bytes_ = (255 * PICTURE).astype(np.uint8)
    np.testing.assert_allclose(ours(bytes_).numpy(), theirs(bytes_), atol=2e-6)
    assert ours(bytes_).dtype == torch.float32 and ours(torch.from_numpy(bytes_)[None]).shape[0] == 1


def test_there_and_back():
    for there, back in ((rgb_to_yuv, yuv_to_rgb), (rgb_to_hsv, hsv_to_rgb)):
        np.testing.assert_allclose(back(there(PICTURE)).numpy(), PICTURE, atol=1e-12)


def test_what_the_numbers_mean():
    red, green, blue = torch.eye(3)
    hues = [rgb_to_hsv(colour)[0].item() for colour in (red, green, blue)]
    assert hues == pytest.approx([0, 1 / 3, 2 / 3])
    some_grey = torch.full((3,), 0.3)
    assert rgb_to_yuv(some_grey).tolist() == pytest.approx([0.3, 0, 0], abs=1e-6)
    assert rgb_to_hsv(some_grey).tolist() == pytest.approx([0, 0, 0.3])
    assert grey(green) > grey(red) > grey(blue)


def test_bad_input():
    with pytest.raises(InputError, match=r"the pictures are \(3, 8, 8\); the last axis should be red, green, blue"):
        rgb_to_hsv(np.zeros((3, 8, 8)))
    with pytest.raises(InputError, match="the pictures are torch.int64"):
        grey(np.zeros((8, 8, 3), dtype=np.int64))
