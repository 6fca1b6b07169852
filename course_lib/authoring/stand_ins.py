"""Tiny random models under published ids, in a Hub cache of their own: code for real weights, run without a network.

`python -m course_lib.authoring.stand_ins FOLDER` writes them; then `HF_HUB_CACHE=FOLDER HF_HUB_OFFLINE=1` makes
`from_pretrained("openai/clip-vit-base-patch32")` find one, in every library that reads the Hub.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase

import torch
from safetensors.torch import save_file

from course_lib.authoring.parity.rows import disturb
from course_lib.data.tokenizers import BytePairTokenizer, read_merges
from course_lib.pretrained.weights import without_warnings

CLIP_ID, SIGLIP_ID, ALIGN_ID = "openai/clip-vit-base-patch32", "google/siglip-base-patch16-224", "kakaobrain/align-base"
VIT_ID = "google/vit-base-patch16-224"
OPEN_CLIP_ID = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
IMAGE_SIZE = 32
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_lowercase, "photo", "of", "cat", "dog"]


def snapshot(cache: Path, repository: str) -> Path:
    """The folder in which a Hub cache keeps a repository's newest files, made and named as `huggingface_hub` does."""
    commit = hashlib.sha1(repository.encode()).hexdigest()
    folder = Path(cache) / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    return folder / "snapshots" / commit


def clip(cache: Path):
    """A tiny CLIPModel with CLIP's own tokenizer and image processing, under OpenAI's id; returns the model."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder = snapshot(cache, CLIP_ID)
    ours = BytePairTokenizer()
    vocabulary = {_named(piece): index for piece, index in ours.ids.items()}
    merges = [" ".join(pair) for pair in read_merges()]
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(**_sizes(crop=True)), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    vision = TOWER | {"image_size": IMAGE_SIZE, "patch_size": 8}
    text = TOWER | {"vocab_size": ours.vocab_size, "eos_token_id": 2}  # as OpenAI's file says: the highest id
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=16)).eval()
    model.save_pretrained(folder)
    return model


def siglip(cache: Path):
    """A tiny SiglipModel with a tokenizer of single characters, under Google's id; returns the model."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        PreTrainedTokenizerFast,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipProcessor,
    )

    folder = snapshot(cache, SIGLIP_ID)
    characters = _numbered(["<pad>", "</s>", "<unk>", *map(chr, range(33, 127))])
    backend = Tokenizer(models.WordLevel(characters, unk_token="<unk>"))
    single = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    backend.pre_tokenizer = pre_tokenizers.Sequence(single)
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )
    SiglipProcessor(SiglipImageProcessor(**_sizes(crop=False)), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    vision = TOWER | {"image_size": IMAGE_SIZE, "patch_size": 8}
    text = TOWER | {"vocab_size": len(characters), "max_position_embeddings": 64, "projection_size": 32}
    with without_warnings():
        model = SiglipModel(SiglipConfig(vision_config=vision, text_config=text)).eval()
        model.save_pretrained(folder)
    return model


def align(cache: Path):
    """A tiny AlignModel with a BERT tokenizer of a few words, under Kakao Brain's id; returns the model."""
    from transformers import AlignConfig, AlignModel, AlignProcessor, BertTokenizer, EfficientNetImageProcessor

    folder = snapshot(cache, ALIGN_ID)
    vocabulary = _numbered([*WORDS, *(f"##{letter}" for letter in ascii_lowercase)])
    tokenizer = BertTokenizer(vocab=vocabulary)
    AlignProcessor(EfficientNetImageProcessor(**_sizes(crop=False)), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    vision = {"width_coefficient": 0.25, "depth_coefficient": 0.4, "hidden_dim": 64}
    config = AlignConfig(vision_config=vision, text_config=TOWER | {"vocab_size": len(vocabulary)}, projection_dim=80)
    # Freshly made, its normalisation statistics shrink a picture to nothing, layer by layer.
    sample = {"pixel_values": torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE), "input_ids": torch.arange(8)[:, None] % 5}
    model = disturb(AlignModel(config), seed=0, **sample)
    model.save_pretrained(folder)
    return model


def open_clip(cache: Path):
    """A tiny open_clip CLIP in that library's own format, under LAION's id; returns the model."""
    from open_clip.model import CLIP

    folder = snapshot(cache, OPEN_CLIP_ID)
    model_cfg = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": IMAGE_SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    preprocess_cfg = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1))
    torch.manual_seed(0)
    model = CLIP(**model_cfg).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def vit(cache: Path):
    """A tiny ViTForImageClassification under Google's id, with ImageNet's 1,000 classes; returns the model."""
    from transformers import ViTConfig, ViTForImageClassification

    folder = snapshot(cache, VIT_ID)
    torch.manual_seed(0)
    config = ViTConfig(**TOWER, image_size=IMAGE_SIZE, patch_size=8, num_labels=1000)
    with without_warnings():
        model = ViTForImageClassification(config).eval()
        model.save_pretrained(folder)
    return model


def write(cache: str | Path, *only: Callable) -> None:
    """Writes all of them, or `only` those named (`stand_ins.vit`), saying nothing.

    transformers' bars and warnings are about models that mean something.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()
    try:
        for make in only or (clip, siglip, align, open_clip, vit):
            make(Path(cache))
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _sizes(crop: bool) -> dict:
    square = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return {"size": {"shortest_edge": IMAGE_SIZE}, "crop_size": square} if crop else {"size": square}


def _numbered(words: list[str]) -> dict[str, int]:
    return {word: index for index, word in enumerate(words)}


def _named(piece: str) -> str:
    """CLIP's two marks, by the names they have in transformers' files."""
    return {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}.get(piece, piece)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
