import math

import pytest
import torch
import torch.nn.functional as F

from course_lib.data import microworld
from course_lib.data.microworld.reading import is_true
from course_lib.errors import InputError
from course_lib.evaluation.embedding_space import (
    alignment,
    false_negative_rate,
    fitting_pairs,
    modality_gap,
    move_apart,
    uniformity,
)


def unit(count, size=16, seed=0, centre=0.0):
    vectors = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    vectors[:, 0] += centre
    return F.normalize(vectors, dim=-1)


def test_alignment_is_the_mean_squared_distance_of_pairs():
    first, second = unit(5), unit(5, seed=1)
    assert alignment(first, second) == pytest.approx((2 - 2 * (first * second).sum(dim=1)).mean().item(), abs=1e-6)
    assert alignment(first, first) == 0 and alignment(first, -first, alpha=1) == pytest.approx(2)


def test_uniformity_counts_each_pair_once_and_no_vector_with_itself():
    embeds = unit(6)
    pairs = [(embeds[i] - embeds[j]).square().sum().item() for i in range(6) for j in range(i)]
    expected = math.log(sum(math.exp(-2 * square) for square in pairs) / len(pairs))
    assert uniformity(embeds) == pytest.approx(expected, abs=1e-5)


def test_uniformity_of_one_point_and_of_an_even_spread():
    assert uniformity(unit(1).expand(4, -1)) == pytest.approx(0)
    assert uniformity(unit(500, 512)) == pytest.approx(-4, abs=0.1)
    assert uniformity(unit(500)) < uniformity(unit(500, centre=3.0))


def test_the_gap_leads_from_the_texts_to_the_images():
    images, texts = unit(50, centre=3.0), unit(60, seed=1, centre=-3.0)
    gap = modality_gap(images, texts)
    assert gap.argmax() == 0 and gap[0] > 1
    torch.testing.assert_close(gap, images.mean(dim=0) - texts.mean(dim=0))


def test_the_gap_opens_closes_and_is_left_alone():
    images, texts = unit(50, centre=2.0), unit(50, seed=1, centre=-2.0)
    sizes = [modality_gap(*move_apart(images, texts, share)).norm().item() for share in (-1, -0.5, 0, 0.5, 1)]
    assert sizes == sorted(sizes) and sizes[0] < 0.25 * sizes[2]
    for before, after in zip((images, texts), move_apart(images, texts, 0.0), strict=True):
        torch.testing.assert_close(before, after)
    for after in move_apart(images, texts, -0.7):
        torch.testing.assert_close(after.norm(dim=1), torch.ones(50))


def test_fitting_pairs_are_those_that_a_reader_finds_true():
    scenes = microworld.sample_scenes(12, seed=5)
    captions = [microworld.captions(scene)[2] for scene in scenes]
    fits = fitting_pairs(scenes, captions)
    assert fits.diagonal().all()
    assert fits.tolist() == [[is_true(caption, scene) for caption in captions] for scene in scenes]
    assert false_negative_rate(fits) == pytest.approx((fits.sum().item() - 12) / (12 * 11))


@pytest.mark.parametrize(
    "bad, words",
    [
        (lambda: alignment(unit(3), unit(4)), "are not pairs"),
        (lambda: alignment(2 * unit(3), unit(3)), "first is not of length 1"),
        (lambda: uniformity(unit(1)), "at least two"),
        (lambda: uniformity(torch.full((3, 2), torch.nan)), "not of length 1"),
        (lambda: modality_gap(unit(3), unit(3, 8)), "one space"),
        (lambda: modality_gap(torch.zeros(0, 4), unit(3, 4)), "neither 0"),
        (lambda: false_negative_rate(torch.ones(2, 3)), "pairs, pairs"),
    ],
)
def test_bad_input_is_named(bad, words):
    with pytest.raises(InputError, match=words):
        bad()
