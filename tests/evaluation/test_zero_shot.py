import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.evaluation.embedding import embed_images, measuring
from course_lib.evaluation.zero_shot import (
    accuracy,
    accuracy_by_group,
    contrastive_accuracy,
    roc_auc,
    text_classifier,
)


class Letters(torch.nn.Module):
    """Embeds a text as the counts of its characters, not normalised, so that longer texts are longer vectors."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(3.0))

    def encode_text(self, input_ids):
        return self.scale * F.one_hot(input_ids, 128).sum(dim=1).float()


def tokenizer(texts):
    width = max(map(len, texts))
    return torch.tensor([[ord(letter) for letter in text.ljust(width)] for text in texts])


def test_text_classifier_averages_normalised_sentences_and_normalises_again():
    names, templates = ["cat", "horse"], ["{}", "a picture of a {} !!!!"]
    model = Letters()
    weights = text_classifier(model, tokenizer, names, templates)
    for row, name in zip(weights, names, strict=True):
        width = max(len(template.format(other)) for other in names for template in templates)
        sentences = tokenizer([template.format(name).ljust(width) for template in templates])
        by_hand = sum(F.normalize(model.encode_text(sentence[None]), dim=-1)[0] for sentence in sentences) / 2
        torch.testing.assert_close(row, by_hand / by_hand.norm())
    assert not weights.requires_grad


def test_a_template_without_a_place_and_an_empty_list_are_refused():
    with pytest.raises(InputError, match="write {} where it goes"):
        text_classifier(Letters(), tokenizer, ["cat"], ["a picture"])
    with pytest.raises(InputError, match="at least one class name and one template"):
        text_classifier(Letters(), tokenizer, [], ["{}"])


def test_accuracy_counts_strict_winners_only():
    logits = torch.tensor([[2.0, 1.0], [0.0, 0.0], [3.0, 4.0], [5.0, 1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert accuracy(logits, labels) == 0.5
    assert accuracy_by_group(logits, labels, ["a", "a", "b", "c"]) == {"a": 0.5, "b": 1.0, "c": 0.0}


@pytest.mark.parametrize(
    "logits, labels, words",
    [
        (torch.zeros(2, 3), torch.tensor([0]), "do not fit"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "between 0 and 2"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "no row to measure"),
    ],
)
def test_accuracy_refuses_what_does_not_fit(logits, labels, words):
    with pytest.raises(InputError, match=words):
        accuracy(logits, labels)


def test_contrastive_accuracy_is_that_of_the_rows():
    assert contrastive_accuracy(torch.tensor([[2.0, 1.0], [3.0, 1.0]])) == 0.5
    assert contrastive_accuracy(torch.zeros(5, 5)) == 0


@pytest.mark.parametrize("levels", [1000, 3])
def test_roc_auc_is_scikit_learns_also_with_ties(levels):
    from sklearn.metrics import roc_auc_score

    generator = torch.Generator().manual_seed(levels)
    labels = torch.rand(200, generator=generator) < 0.3
    scores = ((torch.randn(200, generator=generator) + labels) * levels / 4).round()
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_roc_auc_needs_both_kinds_and_numbers():
    with pytest.raises(InputError, match="positives and negatives"):
        roc_auc(torch.ones(3), torch.ones(3))
    with pytest.raises(InputError, match="nan"):
        roc_auc(torch.tensor([1.0, torch.nan]), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="3 scores and 2 labels"):
        roc_auc(torch.ones(3), torch.ones(2))


def test_measuring_uses_running_statistics_and_restores_each_modules_mode():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    model.encode_image = model.forward
    model.train()
    model[1].eval()
    before = model[0].running_mean.clone()
    embeds = embed_images(model, torch.randn(10, 4) + 5, batch_size=3)
    assert torch.equal(model[0].running_mean, before)
    assert model.training and model[0].training and not model[1].training
    assert not embeds.requires_grad
    torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(10))
    with measuring(model):
        assert not model[0].training


def test_nothing_to_embed_is_refused():
    model = torch.nn.Linear(4, 2)
    model.encode_image = model.forward
    with pytest.raises(InputError, match="nothing to embed"):
        embed_images(model, torch.zeros(0, 4))
