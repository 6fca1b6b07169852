import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.losses.contrastive import clip_loss, info_nce, siglip_loss

warnings.filterwarnings("ignore", category=DeprecationWarning)


def pairs(count=6, size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(count, size, generator=generator), dim=-1).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("count, scale", [(2, 1.0), (6, 14.3), (33, 100.0)])
def test_clip_loss_and_its_gradients_are_open_clips(count, scale):
    import open_clip

    results = []
    for loss in (clip_loss, open_clip.ClipLoss()):
        image, text = pairs(count)
        logit_scale = torch.tensor(scale, requires_grad=True)
        value = loss(image, text, logit_scale)
        results.append([value, *torch.autograd.grad(value, [image, text, logit_scale])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count, scale, bias", [(1, 10.0, -10.0), (2, 1.0, 0.0), (33, 100.0, -10.0)])
def test_siglip_loss_and_its_gradients_are_open_clips(count, scale, bias):
    import open_clip

    results = []
    for loss in (siglip_loss, open_clip.loss.SigLipLoss()):
        image, text = pairs(count)
        logit_scale, logit_bias = (torch.tensor(value, requires_grad=True) for value in (scale, bias))
        value = loss(image, text, logit_scale, logit_bias)
        results.append([value, *torch.autograd.grad(value, [image, text, logit_scale, logit_bias])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_clip_loss_of_knowing_nothing_is_the_log_of_the_batch():
    alike = F.normalize(torch.ones(5, 3), dim=-1)
    assert clip_loss(alike, alike, 20.0).item() == pytest.approx(math.log(5), abs=1e-6)


def test_clip_loss_is_symmetric_and_does_not_mind_the_order_of_pairs():
    image, text = pairs()
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    torch.testing.assert_close(clip_loss(image, text, 9.0), clip_loss(text, image, 9.0))
    torch.testing.assert_close(clip_loss(image, text, 9.0), clip_loss(image[order], text[order], 9.0))


@pytest.mark.parametrize(
    "image, text, words",
    [
        (torch.ones(2, 3, 4), torch.ones(2, 4), r"image_embeds has shape \(2, 3, 4\)"),
        (torch.ones(2, 4), torch.ones(4), r"text_embeds has shape \(4,\)"),
        (torch.ones(2, 4), torch.ones(3, 4), "2 images and 3 texts"),
        (torch.ones(2, 4), torch.ones(2, 5), "project both to one size"),
        (torch.ones(0, 4), torch.ones(0, 4), "batch is empty"),
        (torch.tensor([[1.0, math.nan], [0, 1]]), torch.eye(2), "image_embeds holds a number that is not finite"),
        (torch.eye(2), torch.tensor([[1.0, math.inf], [0, 1]]), "text_embeds holds a number that is not finite"),
    ],
)
def test_what_is_no_batch_of_pairs_is_refused_in_one_sentence(image, text, words):
    for call in (lambda: clip_loss(image, text, 1.0), lambda: siglip_loss(image, text, 1.0, 0.0)):
        with pytest.raises(InputError, match=words):
            call()


def test_one_pair_is_refused_and_said_to_teach_nothing():
    with pytest.raises(InputError, match="loss is 0 and teaches nothing: give at least two"):
        clip_loss(torch.ones(1, 4), torch.ones(1, 4), 1.0)


def test_clip_loss_is_info_nce_both_ways():
    image, text = pairs()
    logits = 9.0 * image @ text.T
    torch.testing.assert_close(clip_loss(image, text, 9.0), (info_nce(logits) + info_nce(logits.T)) / 2)


def test_info_nce_leaves_out_what_fits_off_the_diagonal():
    scores = torch.tensor([[2.0, 1.0, 0.0], [0.5, 1.5, 3.0], [1.0, 0.0, 2.0]], requires_grad=True)
    positives = torch.zeros(3, 3, dtype=torch.bool)
    positives[1, 2] = True
    loss = info_nce(scores, positives)
    rows = [(2.0, [2.0, 1.0, 0.0]), (1.5, [0.5, 1.5]), (2.0, [1.0, 0.0, 2.0])]
    expected = sum(math.log(sum(map(math.exp, row))) - own for own, row in rows) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(info_nce(scores, torch.eye(3) > 0), info_nce(scores))
    loss.backward()
    assert scores.grad[1, 2] == 0 and (scores.grad[0] != 0).all()


def test_info_nce_bounds_the_mutual_information_of_gaussians_from_below():
    rho, generator = 0.9, torch.Generator().manual_seed(0)
    information = -0.5 * math.log(1 - rho**2)
    x, noise = (torch.randn(400, 64, generator=generator, dtype=torch.float64) for _ in range(2))
    y = rho * x + math.sqrt(1 - rho**2) * noise
    # log p(y | x) but for what does not depend on x: the best scores there are.
    scores = -((y[:, None, :] - rho * x[:, :, None]) ** 2) / (2 * (1 - rho**2))
    bounds = math.log(64) - torch.stack([info_nce(part) for part in scores])
    assert information - 0.15 < bounds.mean() < information + 0.01


@pytest.mark.parametrize("bad, words", [((2, 3), "should be"), ((1, 1), "at least two")])
def test_info_nce_refuses_what_is_no_batch(bad, words):
    with pytest.raises(InputError, match=words):
        info_nce(torch.zeros(bad))
