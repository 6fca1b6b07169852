import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.data.tokenizers import WordTokenizer
from course_lib.encoders.clip_text import CLIPTextConfig
from course_lib.encoders.convnet import ConvNetConfig
from course_lib.errors import InputError
from course_lib.evaluation.zero_shot import accuracy, text_classifier
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.training.adaptation import (
    LearnedPrompt,
    LoRA,
    classification_loss,
    few_shot,
    inject_lora,
    linear_probe,
    merge_lora,
    wise_ft,
)
from course_lib.training.loop import TrainingConfig, train

NAMES = ["red circle", "blue square", "green star"]
TOKENIZER = WordTokenizer("a picture of red blue green circle square star".split(), context_length=12)


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return CLIP(
        CLIPConfig(
            vision=ConvNetConfig(image_size=16, channels=(8, 16), strides=(2, 2), heads=2),
            text=CLIPTextConfig(TOKENIZER.vocab_size, 12, 16, 2, 2, 32),
            projection_dim=8,
        )
    ).eval()


def clusters(count=120, size=5, classes=3, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    centres = torch.randn(classes, size, generator=generator)
    return centres[labels] + spread * torch.randn(count, size, generator=generator), labels


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_the_linear_probe_is_scikit_learns_logistic_regression(strength):
    from sklearn.linear_model import LogisticRegression

    embeds, labels = clusters()
    theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=2000).fit(embeds.double().numpy(), labels.numpy())
    ours = linear_probe(embeds, labels, 3, strength)
    expected = torch.tensor(theirs.predict_proba(embeds.double().numpy()))
    torch.testing.assert_close(ours(embeds).softmax(-1).double(), expected, rtol=0, atol=1e-4)


def test_the_linear_probe_refuses_what_does_not_fit():
    embeds, labels = clusters()
    with pytest.raises(InputError, match="do not fit"):
        linear_probe(embeds, labels[:-1], 3)
    with pytest.raises(InputError, match="between 0 and 1"):
        linear_probe(embeds, labels, 2)


def test_few_shot_takes_as_many_of_each_class_and_no_row_twice():
    _, labels = clusters()
    rows = few_shot(labels, 4, torch.Generator().manual_seed(0))
    assert torch.equal(labels[rows].bincount(), torch.tensor([4, 4, 4]))
    assert len(rows.unique()) == 12
    with pytest.raises(InputError, match="ask for fewer shots"):
        few_shot(labels, 100, torch.Generator())


def test_a_learned_prompt_starts_as_the_words_it_starts_from(clip):
    prompt = LearnedPrompt(clip, TOKENIZER, NAMES, start_from="a picture of a")
    expected = text_classifier(clip, TOKENIZER, NAMES, ["a picture of a {}"])
    torch.testing.assert_close(prompt(), expected, rtol=1e-5, atol=1e-6)
    assert prompt.context.shape == (1, 4, 16)
    assert [name for name, p in prompt.named_parameters() if p.requires_grad] == ["context"]


def test_coop_learns_only_its_words(clip):
    before = copy.deepcopy(clip.state_dict())
    prompt = LearnedPrompt(clip, TOKENIZER, NAMES)
    images = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    labels = torch.arange(3)
    start = prompt.loss(images, labels).item()
    train(prompt, lambda model, _: model.loss(images, labels), TrainingConfig(steps=60, learning_rate=0.05))
    assert prompt.loss(images, labels).item() < 0.5 * start
    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())


def test_a_prompt_without_a_word_or_without_names_is_refused(clip):
    with pytest.raises(InputError, match="no room"):
        LearnedPrompt(clip, TOKENIZER, NAMES, start_from="")
    with pytest.raises(InputError, match="at least one class"):
        LearnedPrompt(clip, TOKENIZER, [])


@pytest.mark.parametrize(
    "make, inputs",
    [
        (lambda: nn.Linear(6, 10), torch.randn(4, 6)),
        (lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), torch.randn(2, 3, 9, 9)),
    ],
)
def test_lora_is_pefts_with_the_same_weights_before_and_after_merging(make, inputs):
    import peft

    torch.manual_seed(0)
    base = make()
    theirs = peft.get_peft_model(
        nn.Sequential(copy.deepcopy(base)), peft.LoraConfig(r=3, lora_alpha=12, target_modules=["0"])
    ).eval()
    ours = LoRA(copy.deepcopy(base), rank=3, alpha=12)
    torch.testing.assert_close(ours(inputs), base(inputs))  # at first it changes nothing
    layer = theirs.base_model.model[0]
    with torch.no_grad():
        for mine, other in ((ours.down, layer.lora_A["default"]), (ours.up, layer.lora_B["default"])):
            mine.weight.normal_()
            other.weight.copy_(mine.weight)
    expected = theirs(inputs)
    assert not torch.allclose(expected, base(inputs), atol=1e-2)
    torch.testing.assert_close(ours(inputs), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.merged()(inputs), expected, rtol=1e-4, atol=1e-4)


def test_injecting_freezes_all_but_the_new_layers_and_merging_gives_the_first_shape_back(clip):
    names = list(clip.state_dict())
    pixel_values = torch.randn(2, 3, 16, 16)
    before = clip.encode_image(pixel_values)
    trainable = inject_lora(clip, rank=2, skip=("text_model", "text_projection"))
    assert 0 < trainable == sum(p.numel() for n, p in clip.named_parameters() if ".down." in n or ".up." in n)
    assert not any("text" in n for n, p in clip.named_parameters() if p.requires_grad)
    torch.testing.assert_close(clip.encode_image(pixel_values), before)
    with pytest.raises(InputError, match="already"):
        inject_lora(clip)
    for name, parameter in clip.named_parameters():
        if ".up." in name:
            nn.init.normal_(parameter, std=0.1)
    changed = clip.encode_image(pixel_values)
    merge_lora(clip)
    assert list(clip.state_dict()) == names
    torch.testing.assert_close(clip.encode_image(pixel_values), changed, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(changed, before, atol=1e-3)


def test_nothing_to_inject_into_is_said():
    with pytest.raises(InputError, match="no linear map or convolution"):
        inject_lora(nn.Sequential(nn.ReLU()))


def test_fine_tuning_and_wise_ft(clip):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (48,), generator=generator)
    pixel_values = torch.randn(48, 3, 16, 16, generator=generator) * 0.3
    pixel_values[torch.arange(48), labels] += 1.0
    classifier = text_classifier(clip, TOKENIZER, NAMES)
    before = copy.deepcopy(clip.state_dict())
    loss = classification_loss(classifier, pixel_values, labels, 16)
    train(clip, loss, TrainingConfig(steps=40, learning_rate=0.01))
    after = copy.deepcopy(clip.state_dict())
    with torch.no_grad():
        assert accuracy(clip.encode_image(pixel_values) @ classifier.T, labels) > 0.9
    half = wise_ft(before, after, 0.5)
    name = "visual_projection.weight"
    torch.testing.assert_close(half[name], (before[name] + after[name]) / 2)
    for weight, end in ((0.0, before), (1.0, after)):
        clip.load_state_dict(wise_ft(before, after, weight))
        torch.testing.assert_close(clip.state_dict()[name], end[name])


def test_wise_ft_between_different_models_is_refused():
    with pytest.raises(InputError, match="differ in 'bias'"):
        wise_ft(nn.Linear(2, 2).state_dict(), nn.Linear(2, 2, bias=False).state_dict(), 0.5)
