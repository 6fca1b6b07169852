import pytest
import torch
from torch import nn

from course_lib.errors import InputError
from course_lib.training.contrastive import contrastive_batch_loss
from course_lib.training.loop import TrainingConfig, train

INPUT_IDS = torch.arange(1, 1 + 20 * 2 * 4).view(20, 2, 4).clone()
INPUT_IDS[:, 1, 2:] = 0


class Table(nn.Module):
    """A picture is its row number, a text its first id: learnt by heart, so the loss can fall to nothing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.images, self.texts = nn.Embedding(20, 8), nn.Embedding(200, 8)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.seen, self.clamped = [], 0

    def encode_text(self, input_ids):
        self.seen.append(input_ids)
        return self.texts(input_ids[:, 0])

    def clamp_logit_scale(self):
        self.clamped += 1


def rows(model, rows):
    model.rows = rows
    return model.images(rows)


def test_each_picture_meets_a_caption_of_its_own_and_none_comes_twice():
    model = Table()
    contrastive_batch_loss(rows, INPUT_IDS, 20)(model, torch.Generator().manual_seed(0))
    assert sorted(model.rows.tolist()) == list(range(20))
    assert torch.equal((model.seen[0][:, 0] - 1) // 8, model.rows)
    assert model.clamped == 1


def test_the_odds_decide_which_captions_and_the_batch_is_as_long_as_its_longest():
    model, generator = Table(), torch.Generator().manual_seed(0)
    contrastive_batch_loss(rows, INPUT_IDS, 8, [0, 1])(model, generator)
    assert model.seen[0].shape == (8, 2)
    contrastive_batch_loss(rows, INPUT_IDS, 8, [1, 0])(model, generator)
    assert model.seen[1].shape == (8, 4)


def test_training_on_it_brings_pairs_together():
    model = Table()
    history = train(model, contrastive_batch_loss(rows, INPUT_IDS, 10), TrainingConfig(steps=120, learning_rate=0.05))
    assert history.losses[0] > 1.5 and sum(history.losses[-10:]) / 10 < 0.1


@pytest.mark.parametrize(
    "input_ids, batch_size, odds, words",
    [
        (INPUT_IDS[:, 0], 4, None, "pictures, captions, tokens"),
        (INPUT_IDS, 1, None, "from 2 to the 20"),
        (INPUT_IDS, 21, None, "from 2 to the 20"),
        (INPUT_IDS, 4, [1.0], "2 numbers"),
        (INPUT_IDS, 4, [0.0, 0.0], "not all 0"),
    ],
)
def test_what_does_not_fit_is_refused(input_ids, batch_size, odds, words):
    with pytest.raises(InputError, match=words):
        contrastive_batch_loss(rows, input_ids, batch_size, odds)
