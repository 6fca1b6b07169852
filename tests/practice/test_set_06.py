"""Exercise set 06: its references are the field's own, and its training reaches what it asks (see test_sets.py too)."""

import math

import open_clip
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from course_lib.practice.asking import ask
from course_lib.practice.exercise import exercise
from course_lib.practice.lesson_06 import answers
from course_lib.practice.lesson_06.exercises import CLIPHead, held_back_recall, pairs, projection_case
from course_lib.practice.lesson_06.figures import CAPTIONS, batch_similarity, watched_run

TRAINED = exercise("06.7")


@pytest.mark.slow
def test_the_threshold_of_training_leaves_room_on_ten_seeds():
    measure = TRAINED.measure
    scores = {answers.training: [], answers.training_too_short: [], least_squares: [], untrained: []}
    for seed in range(10):
        case = projection_case(5_000 + seed, "")
        for answer, found in scores.items():
            found.append(held_back_recall(case, ask(answer, TRAINED.question(case)).value))
    assert min(scores[answers.training]) > measure.at_least + 0.05
    assert max(scores[answers.training_too_short]) < measure.at_least - 0.05
    assert measure.baseline == pytest.approx(sum(scores[least_squares]) / 10, abs=0.05)
    assert measure.chance == pytest.approx(sum(scores[untrained]) / 10, abs=0.01)


def least_squares(image_features, text_features, image_projection, text_projection, logit_scale):
    """The baseline: the caption's features as a linear function of the picture's, in 16 directions."""
    centred = image_features - image_features.mean(0), text_features - text_features.mean(0)
    left, strength, right = torch.linalg.svd(torch.linalg.lstsq(*centred).solution, full_matrices=False)
    return left[:, :16] * strength[:16], right[:16].T, [1.0, 0.5]


def untrained(image_features, text_features, image_projection, text_projection, logit_scale):
    return image_projection, text_projection, [1.0, 0.5]


def test_recall_on_held_back_pairs_is_what_it_is_called():
    case = projection_case(7, "")
    weights = torch.randn(48, 16), torch.randn(40, 16), [1.0, 0.5]
    images = case.hidden["image_features"] @ weights[0]
    texts = case.hidden["text_features"] @ weights[1]
    cosines = torch.cosine_similarity(images[:, None], texts[None], dim=-1)
    own = torch.arange(len(images))
    by_hand = ((cosines.argmax(1) == own).float().mean() + (cosines.argmax(0) == own).float().mean()) / 2
    assert held_back_recall(case, weights) == pytest.approx(float(by_hand), abs=1e-6)


def test_training_sees_none_of_the_held_back_pairs():
    case = projection_case(3, "")
    question = TRAINED.question(case)
    assert not {"image_features", "text_features"} - set(case.hidden)
    assert all(len(one) in (256, 48, 40) for one in question.inputs.values() if isinstance(one, torch.Tensor))
    between = torch.cdist(case.hidden["image_features"], question.inputs["image_features"])
    assert between.shape == (200, 256) and between.min() > 0.5


def test_the_losses_asked_for_are_open_clips():
    batch = pairs(3, 8, 16)
    ours = exercise("06.2").reference(**batch, logit_scale=torch.tensor(12.0))
    theirs = open_clip.ClipLoss()(batch["image_embeds"], batch["text_embeds"], torch.tensor(12.0))
    torch.testing.assert_close(ours, theirs)
    ours = exercise("06.5").reference(**batch, logit_scale=torch.tensor(12.0), logit_bias=torch.tensor(-8.0))
    theirs = open_clip.loss.SigLipLoss()(
        batch["image_embeds"], batch["text_embeds"], torch.tensor(12.0), torch.tensor(-8.0)
    )
    torch.testing.assert_close(ours, theirs)


def test_the_head_asked_for_is_that_of_transformers():
    """The same weights under the same names, between the two encoders of a published architecture."""
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "vocab_size": 64, "max_position_embeddings": 12, "eos_token_id": 63, "bos_token_id": 62, "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 16, "patch_size": 8,
        },
        projection_dim=8,
    )  # fmt: skip
    model = CLIPModel(config).eval()
    head = CLIPHead(24, 16, 8)
    published = model.state_dict()
    head.load_state_dict(
        {
            name: published[name] if name in published else published[f"{tower}.{name}"]
            for name, tower in zip(
                head.state_dict(), ["", *["vision_model"] * 2, "", *["text_model"] * 2, ""], strict=True
            )
            for tower in [tower or ("vision_model" if "post" in name else "text_model")]
        }
    )
    ids = torch.tensor([[62, 5, 9, 63, 0, 0], [62, 7, 63, 0, 0, 0], [62, 1, 2, 3, 4, 63]])
    pixels = torch.randn(3, 3, 16, 16)
    kept = {}
    model.text_model.encoder.register_forward_hook(lambda *a: kept.update(text=a[2][0]))
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels)
        hidden = model.vision_model(pixel_values=pixels).last_hidden_state
        per_image, per_text = head(hidden, kept["text"], ids)
    torch.testing.assert_close(per_image, expected.logits_per_image)
    torch.testing.assert_close(per_text, expected.logits_per_text)


def test_the_choices_are_true():
    """What exercise 06.3 calls right is computed here."""
    similarity, captions = batch_similarity()
    high = similarity > similarity.diagonal().min() - 0.05
    assert [(int(i), int(j)) for i, j in high.nonzero() if i != j] == [(2, 5), (5, 2)]
    assert captions[2] == captions[5] and len(set(CAPTIONS)) == 7

    losses, cosines = watched_run()
    assert all(abs(loss - math.log(64)) < 0.2 for loss in losses[-40:])
    assert min(cosines[-40:]) > 0.95

    perfect = 2 * torch.eye(64) - 1
    floor = torch.nn.functional.cross_entropy(perfect, torch.arange(64))
    assert floor.item() == pytest.approx(math.log(1 + 63 * math.exp(-2)), abs=1e-5)
    assert floor > 2
