"""A published ViT, as its stand-in: the file loads into our class and gives transformers' logits."""

import torch

from course_lib.authoring import stand_ins
from course_lib.models.image_classifier import ImageClassifier


def test_the_stand_in_vit_loads_and_gives_the_same_logits(tmp_path):
    theirs = stand_ins.vit(tmp_path)
    ours = ImageClassifier.from_pretrained(stand_ins.snapshot(tmp_path, stand_ins.VIT_ID))
    pixel_values = torch.randn(2, 3, stand_ins.IMAGE_SIZE, stand_ins.IMAGE_SIZE)
    with torch.no_grad():
        wanted, got = theirs(pixel_values=pixel_values).logits, ours(pixel_values)
    assert got.shape == (2, 1000)
    assert torch.allclose(got, wanted, atol=1e-5)


def test_only_the_stand_ins_asked_for_are_written(tmp_path):
    stand_ins.write(tmp_path, stand_ins.vit)
    assert [folder.name for folder in tmp_path.iterdir()] == ["models--google--vit-base-patch16-224"]
