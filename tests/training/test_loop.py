import dataclasses

import pytest
import torch

from course_lib.errors import FileError, InputError
from course_lib.training.loop import TrainingConfig, adamw, train

CONFIG = TrainingConfig(steps=12, batch_size=8, learning_rate=0.05, warmup_steps=3, save_every=5)
INPUTS = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
TARGETS = INPUTS @ torch.tensor([1.0, -2.0, 0.5, 3.0])


def make_model():
    """With batch normalisation and dropout: state that is not a parameter, and randomness that is not the batch's."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1)
    )


def batch_loss(model, generator):
    rows = torch.randint(len(INPUTS), (CONFIG.batch_size,), generator=generator)
    return torch.nn.functional.mse_loss(model(INPUTS[rows])[:, 0], TARGETS[rows])


class Interrupted(Exception):
    pass


def interrupt(step, loss, rate):
    if step == 7:
        raise Interrupted


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_it_learns_and_reports_each_step():
    model, seen = make_model(), []
    config = dataclasses.replace(CONFIG, steps=150, warmup_steps=10)
    history = train(model, batch_loss, config, on_step=lambda *told: seen.append(told))
    assert history.losses[-1] < 0.3 * history.losses[0]
    assert history.steps == list(range(150))
    assert seen == list(zip(history.steps, history.losses, history.learning_rates, strict=True))
    assert max(history.learning_rates) == config.learning_rate
    assert not model.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    models = [make_model() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, batch_loss, dataclasses.replace(CONFIG, seed=seed))
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    whole, resumed = make_model(), make_model()
    expected = train(whole, batch_loss, CONFIG)
    state = tmp_path / "run.state"
    with pytest.raises(Interrupted):
        train(resumed, batch_loss, CONFIG, on_step=interrupt, resume_from=state)
    assert state.exists()
    torch.manual_seed(99)
    resumed = torch.nn.Sequential(*make_model())
    went_on = []
    history = train(resumed, batch_loss, CONFIG, on_step=lambda step, *_: went_on.append(step), resume_from=state)
    assert went_on == list(range(5, 12))
    assert same_weights(whole, resumed)
    assert history.losses == expected.losses
    assert not state.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def state(tmp_path):
    with pytest.raises(Interrupted):
        train(make_model(), batch_loss, CONFIG, on_step=interrupt, resume_from=tmp_path / "run.state")
    return tmp_path / "run.state"


def test_another_configuration_is_not_resumed(state):
    with pytest.raises(FileError, match="state of another run.*learning_rate 0.05 there, 0.01 here"):
        train(make_model(), batch_loss, dataclasses.replace(CONFIG, learning_rate=0.01), resume_from=state)


def test_another_model_is_not_resumed(state):
    with pytest.raises(FileError, match="state of another model"):
        train(torch.nn.Linear(4, 1), batch_loss, CONFIG, resume_from=state)


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-10], lambda whole: whole[:500] + b"?" + whole[501:], lambda _: b""]
)
def test_a_damaged_state_is_not_resumed_and_the_model_is_left_alone(state, damage):
    state.write_bytes(damage(state.read_bytes()))
    model = make_model()
    with pytest.raises(FileError, match="run.state is damaged.*delete it"):
        train(model, batch_loss, CONFIG, resume_from=state)
    assert same_weights(model, make_model())


def test_frozen_parts_keep_their_weights_and_statistics():
    model = make_model()
    model[0].requires_grad_(False)
    model[1].requires_grad_(False)
    train(model, batch_loss, CONFIG)
    fresh = make_model()
    assert same_weights(model[0], fresh[0]) and same_weights(model[1], fresh[1])
    assert not same_weights(model[4], fresh[4])


def test_weight_decay_spares_norms_biases_and_scales():
    model = make_model()
    model.logit_scale = torch.nn.Parameter(torch.tensor(2.0))
    decayed, spared = adamw(model, CONFIG).param_groups
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[4].weight)}
    assert decayed["weight_decay"] == CONFIG.weight_decay and spared["weight_decay"] == 0
    assert len(spared["params"]) == 5


def test_gradients_are_clipped():
    model = torch.nn.Linear(4, 1, bias=False)
    kept = {}

    def loss(model, generator):
        model.weight.register_hook(lambda gradient: kept.update(raw=gradient.norm().item()))
        return 1e4 * model(INPUTS).sum()

    def after(step, *_):
        kept.setdefault("clipped", model.weight.grad.norm().item())

    train(model, loss, dataclasses.replace(CONFIG, steps=1, warmup_steps=0, clip_norm=0.5), on_step=after)
    assert kept["raw"] > 1000
    assert kept["clipped"] == pytest.approx(0.5, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run():
    with pytest.raises(InputError, match="loss of step 0 is nan: lower learning_rate"):
        train(make_model(), lambda model, generator: batch_loss(model, generator) * torch.nan, CONFIG)


def test_nothing_to_train_is_said():
    with pytest.raises(InputError, match="nothing to train"):
        train(make_model().requires_grad_(False), batch_loss, CONFIG)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"learning_rate": -1.0}, {"warmup_steps": 12}, {"save_every": 0}])
def test_an_impossible_configuration_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        dataclasses.replace(CONFIG, **wrong)
