"""Lesson 06: CLIP, SigLIP and ALIGN beside transformers' and open_clip's."""

from collections.abc import Callable
from dataclasses import asdict

import torch

from course_lib.authoring.parity.rows import ParityRow, difference, disturb, random_texts, small_transformer, tell_apart
from course_lib.encoders.efficientnet import EfficientNetConfig
from course_lib.models.align import ALIGN
from course_lib.models.clip import CLIP
from course_lib.models.siglip import SigLIP
from course_lib.pretrained import align as align_names
from course_lib.pretrained import clip as clip_names
from course_lib.pretrained import open_clip as open_clip_names
from course_lib.pretrained import siglip as siglip_names
from course_lib.pretrained.weights import without_warnings


def clip_beside_transformers(
    vision: dict | None = None, text: dict | None = None, mask: str | None = None, seed: int = 0
) -> list[ParityRow]:
    """CLIP beside transformers' CLIPModel.

    Args:
        vision, text: what differs from the small default of the two towers' configurations.
        mask: None, "right" or "left": where the attention mask hides two tokens of each text.
        seed: of weights and input.
    """
    from transformers import CLIPConfig, CLIPModel

    vision = {"image_size": 32, "patch_size": 8} | small_transformer(48, 4) | (vision or {})
    special = {"bos_token_id": 94, "eos_token_id": 95, "pad_token_id": 0}
    text = {"vocab_size": 96, "max_position_embeddings": 20} | special | small_transformer(32, 2) | (text or {})
    torch.manual_seed(seed)
    theirs = disturb(CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)), seed)
    ours = CLIP.from_weights(*clip_names.from_transformers(theirs.config.to_dict(), theirs.state_dict()))
    pixel_values = torch.randn(5, vision.get("num_channels", 3), vision["image_size"], vision["image_size"])
    input_ids, attention_mask = random_texts(text["vocab_size"], 6, text["max_position_embeddings"] - 3, mask)
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        got = ours(pixel_values, input_ids, attention_mask)
    return _rows("CLIP", "transformers CLIPModel", got, wanted)


def clip_beside_open_clip(
    vision: dict | None = None, text: dict | None = None, quick_gelu: bool = False, seed: int = 0
) -> list[ParityRow]:
    """CLIP beside open_clip's, with a ViT; or with CLIP's ResNet where `vision` gives four `layers`."""
    from open_clip.model import CLIP as OpenCLIP
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    vision = {"layers": 3, "width": 48, "head_width": 12, "patch_size": 8, "image_size": 32} | (vision or {})
    text = {"context_length": 20, "vocab_size": 96, "width": 32, "heads": 2, "layers": 2} | (text or {})
    vision_cfg, text_cfg = CLIPVisionCfg(**vision), CLIPTextCfg(**text)
    torch.manual_seed(seed)
    theirs = OpenCLIP(24, vision_cfg, text_cfg, quick_gelu=quick_gelu)
    size = vision["image_size"]
    pixel_values = torch.randn(5, 3, *((size, size) if isinstance(size, int) else size))
    input_ids, _ = random_texts(text["vocab_size"], 6, text["context_length"])
    disturb(theirs, seed, image=pixel_values)
    config = {"embed_dim": 24, "vision_cfg": asdict(vision_cfg), "text_cfg": asdict(text_cfg), "quick_gelu": quick_gelu}
    ours = CLIP.from_weights(*open_clip_names.from_open_clip(config, theirs.state_dict()))
    with torch.no_grad():
        got = ours(pixel_values, input_ids)
        images, texts = theirs.encode_image(pixel_values, normalize=True), theirs.encode_text(input_ids, normalize=True)
        wanted = theirs.get_logits(pixel_values, input_ids)[0]
    tower = "ViT" if isinstance(vision["layers"], int) else "ModifiedResNet"
    tell_apart(images, texts)
    embeds = max(difference(got.image_embeds, images), difference(got.text_embeds, texts))
    return [
        ParityRow("CLIP", f"open_clip CLIP ({tower})", "embeddings", embeds),
        ParityRow("CLIP", f"open_clip CLIP ({tower})", "logits", difference(got.logits_per_image, wanted)),
    ]


def siglip_beside_transformers(
    vision: dict | None = None, text: dict | None = None, mask: str | None = None, seed: int = 0
) -> list[ParityRow]:
    """SigLIP beside transformers' SiglipModel; arguments as in `clip_beside_transformers`."""
    from transformers import SiglipConfig, SiglipModel

    vision = {"image_size": 32, "patch_size": 8} | small_transformer(48, 4) | (vision or {})
    special = {"bos_token_id": 94, "eos_token_id": 95, "pad_token_id": 0}
    sizes = {"vocab_size": 96, "max_position_embeddings": 20, "projection_size": 48} | small_transformer(32, 2)
    text = sizes | special | (text or {})
    torch.manual_seed(seed)
    with without_warnings():
        theirs = disturb(SiglipModel(SiglipConfig(vision_config=vision, text_config=text)), seed)
    ours = SigLIP.from_weights(*siglip_names.from_transformers(theirs.config.to_dict(), theirs.state_dict()))
    pixel_values = torch.randn(5, 3, vision["image_size"], vision["image_size"])
    input_ids, attention_mask = random_texts(text["vocab_size"], 6, text["max_position_embeddings"], mask)
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        got = ours(pixel_values, input_ids, attention_mask)
    return _rows("SigLIP", "transformers SiglipModel", got, wanted)


def align_beside_transformers(
    vision: dict | None = None, text: dict | None = None, mask: str | None = "right", size: int = 64, seed: int = 0
) -> list[ParityRow]:
    """ALIGN beside transformers' AlignModel; `size` is that of the pictures."""
    from transformers import AlignConfig, AlignModel

    vision = {"width_coefficient": 0.25, "depth_coefficient": 0.4, "hidden_dim": 64} | (vision or {})
    text = (
        {"vocab_size": 96, "max_position_embeddings": 20, "pad_token_id": 0} | small_transformer(32, 2) | (text or {})
    )
    torch.manual_seed(seed)
    width = EfficientNetConfig(width_coefficient=vision["width_coefficient"]).width
    config = AlignConfig(vision_config=vision, text_config=text, projection_dim=width)
    pixel_values = torch.randn(5, 3, size, size)
    input_ids, attention_mask = random_texts(text["vocab_size"], 6, text["max_position_embeddings"] - 3, mask)
    text_inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    theirs = disturb(AlignModel(config), seed, pixel_values=pixel_values, **text_inputs)
    ours = ALIGN.from_weights(*align_names.from_transformers(theirs.config.to_dict(), theirs.state_dict()))
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        got = ours(pixel_values, input_ids, attention_mask)
    return _rows("ALIGN", "transformers AlignModel", got, wanted)


def _rows(system: str, reference: str, got, wanted) -> list[ParityRow]:
    tell_apart(wanted.image_embeds, wanted.text_embeds)
    embeds = max(difference(getattr(got, name), getattr(wanted, name)) for name in ("image_embeds", "text_embeds"))
    logits = difference(got.logits_per_image, wanted.logits_per_image)
    logits = max(logits, difference(got.logits_per_text, wanted.logits_per_text))
    return [ParityRow(system, reference, "embeddings", embeds), ParityRow(system, reference, "logits", logits)]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    clip_beside_transformers,
    lambda: clip_beside_open_clip(),
    lambda: clip_beside_open_clip({"layers": (1, 2, 1, 1), "width": 16, "head_width": 16, "image_size": 64}),
    siglip_beside_transformers,
    align_beside_transformers,
]
