"""The models of lesson 04: one input and one output for all, and what each can hear of it."""

import dataclasses

import pytest
import torch

from course_lib.errors import InputError
from course_lib.models.fusion import FusionConfig, QuestionEncoder, RegionEncoder, neighbours
from course_lib.models.pointer_vqa import PointerVQA
from course_lib.models.recipes.fusion import FUSIONS

SMALL = FusionConfig(
    vocab_size=20, answers=7, region_width=12, place=8, width=16, hidden=24, layers=2, mlp_width=20, pointers=4
)
NOISE = 2e-3  # near 0 the root after a bilinear fusion makes a rounding error a thousand times larger


def inputs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(3, 4, 12, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]]).bool()
    input_ids = torch.randint(1, 20, (3, 6), generator=generator)
    input_ids[1, 4:] = 0
    return regions, mask, input_ids


@pytest.fixture(params=FUSIONS)
def model(request):
    torch.manual_seed(0)
    return FUSIONS[request.param](SMALL).eval()


def test_logits_of_all_answers_and_a_gradient_for_every_weight(model):
    for gate in (parameter for name, parameter in model.named_parameters() if "gate" in name):
        torch.nn.init.ones_(gate)  # a shut gate lets no gradient through
    for name, weight in model.named_parameters():
        if "scale_shift" in name:
            torch.nn.init.normal_(weight, std=0.1)
    logits = model(*inputs())
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_what_is_hidden_is_not_heard(model):
    regions, mask, input_ids = inputs()
    before = model(regions, mask, input_ids)
    regions[~mask] = 3.0
    assert torch.allclose(model(regions, mask, input_ids), before, atol=NOISE)
    longer = torch.cat([input_ids, torch.zeros(3, 2, dtype=torch.int64)], 1)
    assert torch.allclose(model(regions, mask, longer), before, atol=NOISE)


def test_the_order_of_the_regions_does_not_matter(model):
    regions, mask, input_ids = inputs()
    order = torch.tensor([2, 0, 3, 1])
    turned = model(regions[:, order], mask[:, order], input_ids)
    assert torch.allclose(turned, model(regions, mask, input_ids), atol=NOISE)


def test_picture_and_question_are_both_heard(model):
    for name, weight in model.named_parameters():
        if "scale_shift" in name or "gate" in name:
            torch.nn.init.normal_(weight)
    regions, mask, input_ids = inputs()
    before = model(regions, mask, input_ids)
    assert not torch.allclose(model(regions + 1, mask, input_ids), before, atol=1e-3)
    assert not torch.allclose(model(regions, mask, input_ids.clamp(max=9)), before, atol=1e-3)


def test_a_bag_of_words_does_not_hear_their_order():
    _, _, input_ids = inputs()
    input_ids[input_ids == 0] = 1
    for window, same in ((1, True), (5, False)):
        encoder = QuestionEncoder(dataclasses.replace(SMALL, window=window))
        turned = torch.allclose(encoder(input_ids.flip(1)).vector, encoder(input_ids).vector, atol=1e-6)
        assert turned == same
    pointers = PointerVQA(dataclasses.replace(SMALL, window=1)).eval()
    regions, mask, _ = inputs()
    assert torch.allclose(pointers(regions, mask, input_ids.flip(1)), pointers(regions, mask, input_ids), atol=1e-5)


def test_neighbours_stand_side_by_side():
    states = torch.tensor([[[1.0], [2.0], [3.0]]])
    assert neighbours(states, 3).tolist() == [[[0, 1, 2], [1, 2, 3], [2, 3, 0]]]
    assert torch.equal(neighbours(states, 1), states)


def test_coordinates_are_as_loud_as_they_are_told():
    regions, mask, _ = inputs()
    torch.manual_seed(0)
    quiet, loud = (RegionEncoder(dataclasses.replace(SMALL, coordinate_scale=scale)) for scale in (1.0, 5.0))
    loud.load_state_dict(quiet.state_dict())
    moved = regions.clone()
    moved[..., 8:10] += 1
    apart = [(encoder(moved, mask) - encoder(regions, mask))[0] for encoder in (quiet, loud)]
    assert torch.allclose(5 * apart[0], apart[1], atol=1e-5)
    pointers = PointerVQA(SMALL).eval()
    value = pointers.value(regions, torch.zeros(3, 4, 16))
    assert torch.allclose(value[..., -2:], 5 * regions[..., 8:10])


def test_pointers_read_words_and_point_at_regions():
    model = PointerVQA(SMALL).eval()
    regions, mask, input_ids = inputs()
    read, pointed = model.attention(regions, mask, input_ids)
    assert read.shape == (3, 4, 6) and torch.allclose(read.sum(-1), torch.ones(3, 4))
    assert read[1, :, 4:].abs().max() == 0
    assert pointed.shape == (3, 4, 4) and torch.allclose(pointed[:, :2].sum(-1), torch.ones(3, 2))
    assert (pointed >= 0).all() and (pointed <= 1).all() and pointed[1, :, 1:].abs().max() == 0


def test_what_is_refused():
    regions, mask, input_ids = inputs()
    model = PointerVQA(SMALL)
    for wrong, message in (
        ((regions[..., 1:], mask, input_ids), r"should be \(B, R, 12\)"),
        ((regions, mask[:, 1:], input_ids), r"should be \(B, R, 12\)"),
        ((regions, mask.float(), input_ids), "should be boolean"),
        ((regions, mask & False, input_ids), "at least one a picture"),
        ((regions, mask, input_ids + 20), "vocabulary is 0 to 19"),
        ((regions, mask, input_ids * 0), "a question has no word"),
        ((regions, mask, input_ids.float()), "should be integer"),
    ):
        with pytest.raises(InputError, match=message):
            model(*wrong)
    with pytest.raises(InputError, match="window is 4; it should be odd"):
        PointerVQA(dataclasses.replace(SMALL, window=4))
    with pytest.raises(InputError, match="3 pointers; choose an even number"):
        PointerVQA(dataclasses.replace(SMALL, pointers=3))
