import pytest
import torch

from course_lib.errors import InputError
from course_lib.training.schedules import warmup_cosine


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_it_rises_to_the_peak_and_falls_to_nearly_nothing(warmup):
    rates = [warmup_cosine(step, 100, warmup, 2.0) for step in range(100)]
    assert max(rates) == rates[warmup] == 2.0
    assert all(rate > 0 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[-1] < 0.01


def test_after_the_warm_up_it_is_torchs_cosine():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=90)
    for step in range(10, 100):
        assert warmup_cosine(step, 100, 10, 0.3) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-9)
        optimiser.step()
        schedule.step()


def test_a_warm_up_longer_than_the_run_and_a_step_outside_it_are_refused():
    with pytest.raises(InputError, match="less than the 10 steps"):
        warmup_cosine(0, 10, 10, 1.0)
    with pytest.raises(InputError, match="steps 0 to 9"):
        warmup_cosine(10, 10, 2, 1.0)
