"""The written-out optimisers: step for step those of torch.optim, also with changing rates and missing gradients."""

import math

import pytest
import torch

from course_lib.errors import InputError
from course_lib.training.optimisers import SGD, Adam, AdamW, clip_gradients, gradient_norm

CASES = {
    "SGD": (SGD, torch.optim.SGD, {}),
    "SGD, decay": (SGD, torch.optim.SGD, {"weight_decay": 0.1}),
    "momentum": (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    "Adam": (Adam, torch.optim.Adam, {}),
    "Adam, decay": (Adam, torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "AdamW": (AdamW, torch.optim.AdamW, {"weight_decay": 0.1}),
    "AdamW, betas": (AdamW, torch.optim.AdamW, {"betas": (0.9, 0.98), "weight_decay": 0.5}),
}


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator).requires_grad_() for shape in ((5, 3), (3,), (2, 3))]


def loss_of(parameters, step, with_all=True):
    inputs = torch.randn(8, 5, generator=torch.Generator().manual_seed(step))
    first, bias, last = parameters
    hidden = torch.tanh(inputs @ first + bias)
    return (hidden @ last.T).square().mean() if with_all else hidden.square().mean()


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_are_those_of_torch(name):
    ours_class, theirs_class, options = CASES[name]
    ours, theirs = weights(), weights()
    mine = ours_class(ours, learning_rate=0.05, **options)
    reference = theirs_class(theirs, lr=0.05, **options)
    for step in range(50):
        mine.learning_rate = reference.param_groups[0]["lr"] = 0.05 * (1 + math.cos(step / 20))
        for parameters, optimiser in ((ours, mine), (theirs, reference)):
            optimiser.zero_grad()
            # The last tensor gets no gradient in every third step: its state has to wait for it.
            loss_of(parameters, step, with_all=step % 3 > 0).backward()
            optimiser.step()
    start = weights()
    for mine_now, theirs_now, before in zip(ours, theirs, start, strict=True):
        assert (mine_now - theirs_now).abs().max() <= 1e-5
        assert (mine_now - before).abs().max() > 1e-2


def test_adam_takes_steps_of_the_rate_whatever_the_gradient_s_size():
    for size in (1e-4, 1.0, 1e4):
        weight = torch.zeros(3, requires_grad=True)
        weight.grad = torch.tensor([size, -size, 2 * size])
        Adam([weight], learning_rate=0.1).step()
        torch.testing.assert_close(weight.detach(), torch.tensor([-0.1, 0.1, -0.1]), atol=1e-4, rtol=0)


def test_decay_is_divided_in_adam_and_not_in_adamw():
    gradient = torch.tensor([100.0, 100.0])
    moved = {}
    for kind in (Adam, AdamW):
        weight = torch.tensor([1.0, 10.0], requires_grad=True)
        optimiser = kind([weight], learning_rate=0.01, weight_decay=1.0)
        weight.grad = gradient.clone()
        optimiser.step()
        moved[kind] = weight.detach()
    torch.testing.assert_close(moved[Adam], torch.tensor([0.99, 9.99]))  # the decay is gone in the division
    torch.testing.assert_close(moved[AdamW], torch.tensor([0.98, 9.89]))  # a hundredth of each weight goes as well


def test_clipping_is_torch_s_and_keeps_the_direction():
    ours, theirs = weights(), weights()
    for max_norm in (0.1, 1e3):
        for parameters in (ours, theirs):
            for parameter in parameters:
                parameter.grad = None
            (10 * loss_of(parameters, 1)).backward()
        before = torch.cat([parameter.grad.flatten() for parameter in ours])
        norm = clip_gradients(ours, max_norm)
        wanted = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
        torch.testing.assert_close(norm, wanted)
        after = torch.cat([parameter.grad.flatten() for parameter in ours])
        torch.testing.assert_close(after, torch.cat([parameter.grad.flatten() for parameter in theirs]))
        assert torch.cosine_similarity(before, after, dim=0) > 0.9999
        assert gradient_norm(ours) <= max_norm


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SGD([], 0.1), "nothing to train"),
        (lambda: Adam(torch.zeros(3, requires_grad=True)), "one tensor"),
        (lambda: Adam([torch.zeros(3)]), "requires_grad=True"),
        (lambda: SGD(weights(), -0.1), "learning_rate is -0.1"),
        (lambda: SGD(weights(), 0.1, momentum=1.0), "momentum is 1.0"),
        (lambda: Adam(weights(), betas=(0.9, 1.0)), "beta2 is 1.0"),
        (lambda: AdamW(weights(), weight_decay=float("nan")), "weight_decay is nan"),
        (lambda: clip_gradients(weights(), 0.0), "max_norm is 0.0"),
    ],
)
def test_bad_input_is_named(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
