"""Diagrams are drawn from what a forward pass did."""

import pytest
import torch
from torch import nn

from course_lib.encoders.bert import BERTConfig
from course_lib.encoders.clip_text import CLIPTextConfig
from course_lib.encoders.clip_vit import CLIPViTConfig
from course_lib.errors import InputError
from course_lib.models.bert import BERTForPretraining
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.dense_detector import DenseDetector
from course_lib.viz import style
from course_lib.viz.diagram import architecture, arrange, count, written_shape
from course_lib.viz.trace import trace


@pytest.fixture(scope="module")
def clip():
    vision = CLIPViTConfig(image_size=16, patch_size=8, width=8, layers=3, heads=2, mlp_width=16)
    text = CLIPTextConfig(vocab_size=20, context_length=6, width=8, layers=2, heads=2, mlp_width=16)
    return CLIP(CLIPConfig(vision=vision, text=text, projection_dim=4))


INPUTS = torch.rand(3, 3, 16, 16), torch.randint(1, 20, (5, 6))


def test_clip_is_traced_as_two_towers_that_meet(clip):
    boxes = {box.path: box for box in trace(clip, *INPUTS)}
    tower = ["patch_embedding", "pre_norm", "transformer", "post_norm"]
    chain = [*(f"vision_model.{name}" for name in tower), "visual_projection", "image_embeds"]
    assert [source.path for source in boxes[chain[0]].sources] == ["pixel_values"]
    for before, after in zip(chain, chain[1:], strict=False):
        assert boxes[before] in boxes[after].sources
    logits = boxes["logits_per_image, logits_per_text"]
    assert {source.path for source in logits.sources} == {"image_embeds", "text_embeds", "logit_scale"}
    assert logits.shape == (3, 5) and boxes["image_embeds"].operations == "normalise"
    assert boxes["vision_model.transformer"].repeats == "3 × PreNormBlock"
    assert boxes["vision_model.pre_norm"].operations == "concatenate  +"
    assert boxes["vision_model.pre_norm"].shape == (3, 5, 8)
    assert boxes["vision_model.class_embedding"] in boxes["vision_model.pre_norm"].sources
    readers = {box.path for box in boxes.values() if boxes["input_ids"] in box.sources}
    assert len(readers) == 2  # the token embedding, and whatever reads off the ids where the end token is


def test_every_parameter_is_in_one_box(clip):
    boxes = trace(clip, *INPUTS)
    assert sum(box.parameters for box in boxes) == sum(each.numel() for each in clip.parameters())
    assert sum(box.parameters for box in trace(clip, *INPUTS, depth=1)) == sum(box.parameters for box in boxes)


def test_tracing_leaves_the_model_as_it_was(clip):
    clip.train()
    trace(clip, *INPUTS)
    assert clip.training and not any(part._forward_hooks or part._forward_pre_hooks for part in clip.modules())
    clip.eval()


def test_what_does_not_run_is_not_drawn_and_frozen_is_said():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.fixed = nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(3, 1).requires_grad_(False)

        def forward(self, x):
            return self.fixed(self.used(x).relu() * 2)

    boxes = {box.path: box for box in trace(Model(), torch.ones(4, 2))}
    assert set(boxes) == {"x", "used", "fixed", "output"}
    assert boxes["fixed"].frozen and not boxes["used"].frozen
    assert boxes["output"].sources == [boxes["fixed"]]


def test_a_dropout_that_does_nothing_is_passed_through():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1))
    boxes = {box.path: box for box in trace(model, torch.ones(4, 2))}
    assert "1" not in boxes and boxes["2"].sources == [boxes["0"]]


def test_several_outputs_under_one_name_are_one_box():
    boxes = {box.path: box for box in trace(DenseDetector(), torch.zeros(2, 3, 64, 64), depth=1)}
    assert boxes["attributes"].kind == "output" and boxes["attributes"].shape == (2, "…", 8, 8)
    assert [source.kind for source in boxes["attributes"].sources] == ["module"]


def test_no_words_of_two_groups_cover_each_other():
    model = BERTForPretraining(BERTConfig(30, width=8, layers=1, heads=2, mlp_width=8))
    ids = torch.ones(3, 6, dtype=torch.long)
    figure = architecture(model, ids, ids > 0)
    figure.canvas.draw()
    drawn = [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts if text.get_text()]
    names = [(text, place) for text, place in drawn if text in ("masked_language", "next_sentence")]
    assert len(names) == 2
    for name, place in names:
        assert [text for text, other in drawn if text != name and place.overlaps(other)] == []


def test_boxes_stand_below_their_sources_and_do_not_cover_each_other(clip):
    boxes = trace(clip, *INPUTS)
    layout = arrange(boxes)
    for box in boxes:
        for source in box.sources:
            if source.kind != "parameter":
                assert layout.y[source] > layout.y[box]
    places = [(round(layout.x[box], 3), round(layout.y[box], 3)) for box in boxes]
    assert len(set(places)) == len(places)


def test_the_figure_names_every_box_and_both_batch_sizes(clip):
    figure = architecture(clip, *INPUTS)
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    for expected in ("patch embedding", "logit scale", "(N, M)", "(N, 5, 8)", "3 × PreNormBlock", "vision_model"):
        assert expected in texts
    assert "logits_per_image" in figure.get_label()
    assert len(style.encode(figure)[1]) < 60_000


def test_it_needs_an_input_and_a_depth(clip):
    with pytest.raises(InputError, match="give the model's inputs"):
        architecture(clip)
    with pytest.raises(InputError, match="depth is 0"):
        trace(clip, *INPUTS, depth=0)


def test_numbers_and_shapes_are_short():
    assert [count(number) for number in (812, 49_200, 1_350_000, 7_000_000_000)] == ["812", "49.2 k", "1.35 M", "7 G"]
    assert written_shape((3, 5, 8), {3: "N", 5: "M"}) == "(N, 5, 8)"
    assert written_shape((3, 5), {3: "N", 5: "M"}, both=True) == "(N, M)"
