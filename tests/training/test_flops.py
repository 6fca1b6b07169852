"""The count of operations: beside torch's own counter, and by what the published models are said to take."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_lib.encoders.clip_text import CLIPTextConfig
from course_lib.encoders.clip_vit import CLIPViTConfig
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.training import flops


@pytest.mark.parametrize(("layers", "mlp_width", "context_length"), [(1, 40, 9), (3, 96, 12)])
def test_the_formula_counts_what_torch_counts(layers, mlp_width, context_length):
    sizes = {"layers": layers, "heads": 4, "mlp_width": mlp_width}
    vision = CLIPViTConfig(image_size=32, patch_size=8, width=32, **sizes)
    text = CLIPTextConfig(vocab_size=50, context_length=context_length, width=24, **sizes)
    config = CLIPConfig(vision=vision, text=text, projection_dim=16)
    model = CLIP(config)
    batch = 3
    # Attention written as matrix products: the counter knows no kernels of a CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.randn(batch, 3, 32, 32), torch.randint(1, 50, (batch, context_length)))
    similarities = 2 * batch * batch * 16
    # What our last layers add: queries come out of one product with keys and values, and one query is read.
    unread = sum(2 * (tokens - 1) * width**2 for tokens, width in ((17, 32), (context_length, 24)))
    assert counter.get_total_flops() == batch * (flops.clip_flops(config) + unread) + similarities


def test_a_published_vit_takes_what_is_said_of_it():
    """ViT-B/16 at 224: 17.6 billion multiplications by the paper's authors and by torchvision's table."""
    assert flops.transformer_flops(197, 768, 12, 3072) / 2 == pytest.approx(17.5e9, rel=0.02)
    assert flops.transformer_flops(197, 768, 12, 3072, read=1) < flops.transformer_flops(197, 768, 12, 3072)


def test_utilisation_is_the_share_of_the_peak(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert flops.peak_flops(gpu) == 65e12
    # 10^9 operations, 650 examples, three times: 1.95 x 10^12 in a tenth of a second is 30 % of the peak.
    assert flops.utilisation(10**9, 650, 0.1, gpu) == pytest.approx(0.3)
    names = {"NVIDIA H100 80GB HBM3": 989, "NVIDIA A100-SXM4-40GB": 312, "NVIDIA L4": 121, "NVIDIA L40S": 362}
    for name, peak in names.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert flops.peak_flops(gpu) == peak * 1e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GeForce 256")
    assert flops.utilisation(10**9, 650, 0.1, gpu) is None
    assert flops.utilisation(10**9, 650, 0.1, torch.device("cpu")) is None
