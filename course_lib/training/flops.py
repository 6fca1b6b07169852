"""How much of a GPU a training run uses: the model's floating-point operations, beside what the GPU could do.

MFU, model FLOP utilisation, counts what the formulas of the model ask for, and nothing that an implementation adds:
operations of a step / (seconds of a step x peak of the device).
Source: Chowdhery et al., PaLM, section 4.1 and appendix B.
"""

import torch

# Dense half-precision operations per second, in units of 10^12, as data sheets give them; by the GPU's name.
PEAKS = {
    "H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125, "V100": 125, "T4": 65,
    "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip


def transformer_flops(tokens: int, width: int, layers: int, mlp_width: int, read: int | None = None) -> int:
    """Operations of a transformer for one sequence, forward: a multiplication and an addition count as two.

    In each layer four matrices of width x width (queries, keys, values, output) and two of width x mlp_width meet every
    token; and every token meets every token twice, in the scores and in the sum of values.

    Args:
        tokens, width, layers, mlp_width: the sizes.
        read: of how many tokens the last layer's output is read; its others need keys and values only. None for all.
    """

    def layer(asking: int) -> int:
        matrices = 2 * asking * (2 * width**2 + 2 * width * mlp_width) + 2 * tokens * 2 * width**2
        return matrices + 2 * 2 * asking * tokens * width

    return (layers - 1) * layer(tokens) + layer(tokens if read is None else read)


def clip_flops(config) -> int:
    """Operations of a CLIP with a ViT for one pair of picture and text, forward; the loss is left out, as it is small.

    Each tower is read at one token.

    Args:
        config: a `course_lib.models.clip.CLIPConfig`.
    """
    vision, text = config.vision, config.text
    patches = (vision.image_size // vision.patch_size) ** 2
    embedding = 2 * patches * vision.channels * vision.patch_size**2 * vision.width
    towers = transformer_flops(patches + 1, vision.width, vision.layers, vision.mlp_width, 1)
    towers += transformer_flops(text.context_length, text.width, text.layers, text.mlp_width, 1)
    return embedding + towers + 2 * (vision.width + text.width) * config.projection_dim


def peak_flops(device: torch.device | None = None) -> float | None:
    """What a device can do in a second in half precision, by its data sheet; None for a CPU or an unknown GPU."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for known, peak in PEAKS.items() if known in name), None)


def utilisation(
    forward_flops: int, batch_size: int, seconds: float, device: torch.device | None = None
) -> float | None:
    """MFU of training: the share of its peak that a device spends on the model.

    Args:
        forward_flops: of one example, forward; a step computes three times that, as backward takes twice as much.
        batch_size: examples of a step.
        seconds: of a step.
        device: where; the GPU if left out and there is one.

    Returns:
        from 0 to 1, or None where no peak is known: on a CPU.
    """
    peak = peak_flops(device)
    return None if peak is None else 3 * forward_flops * batch_size / seconds / peak
