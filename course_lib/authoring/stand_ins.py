"""Tiny random models under published ids, in a Hub cache of their own: code for real weights, run without a network.

`python -m course_lib.authoring.stand_ins FOLDER` writes them; then `HF_HUB_CACHE=FOLDER HF_HUB_OFFLINE=1` makes
`from_pretrained("openai/clip-vit-base-patch32")` find one, in every library that reads the Hub.
"""

import atexit
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from string import ascii_lowercase

import torch
from safetensors.torch import save_file

from course_lib.authoring.parity import lesson_03 as parity
from course_lib.authoring.parity.lesson_03_text import train_sentencepiece
from course_lib.authoring.parity.rows import disturb
from course_lib.data import hub
from course_lib.data.photos import photos
from course_lib.data.tokenizers import BytePairTokenizer, GPT2Tokenizer, WordPieceTokenizer, read_merges
from course_lib.data.tokenizers.sentence_piece import read_model
from course_lib.pretrained.weights import without_warnings

CLIP_ID, SIGLIP_ID, ALIGN_ID = "openai/clip-vit-base-patch32", "google/siglip-base-patch16-224", "kakaobrain/align-base"
OPEN_CLIP_ID = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
VIT_ID, SWIN_ID = "google/vit-base-patch16-224", "microsoft/swin-tiny-patch4-window7-224"
CONVNEXT_ID, RESNET_ID = "facebook/convnext-tiny-224", "microsoft/resnet-50"
BERT_ID, GPT2_ID, LLAMA_ID = "google-bert/bert-base-uncased", "openai-community/gpt2", "HuggingFaceTB/SmolLM2-135M"
T5_ID, BART_ID, LXMERT_ID = "google-t5/t5-small", "facebook/bart-base", "unc-nlp/lxmert-base-uncased"
IMAGE_SIZE = 32
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_lowercase, "photo", "of", "cat", "dog"]
TEXTS = [
    "A photo of a cat and a dog on the mat.", "The picture shows a small red star and a large blue circle.",
    "the cat sat on the mat . how many stars are there , and where is the circle ?",
]  # fmt: skip


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
    """A tiny SiglipModel with a tokenizer of a few pieces, under Google's id; returns the model."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    folder = snapshot(cache, SIGLIP_ID)
    vocab_size = len(read_model(train_sentencepiece(folder / "spiece.model", TEXTS, "unigram")).pieces)
    told = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 64, "do_lower_case": True, "pad_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    SiglipImageProcessor(**_sizes(crop=False)).save_pretrained(folder)
    torch.manual_seed(0)
    vision = TOWER | {"image_size": IMAGE_SIZE, "patch_size": 8}
    text = TOWER | {"vocab_size": vocab_size, "max_position_embeddings": 64, "projection_size": 32}
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

    config = ViTConfig(**TOWER, image_size=IMAGE_SIZE, patch_size=8, num_labels=1000)
    return _classifier(snapshot(cache, VIT_ID), ViTForImageClassification, config)


def swin(cache: Path):
    """A tiny SwinForImageClassification under Microsoft's id; returns the model."""
    from transformers import SwinConfig, SwinForImageClassification

    sizes = {"embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4, "patch_size": 2}
    config = SwinConfig(image_size=IMAGE_SIZE, num_labels=1000, **sizes)
    return _classifier(snapshot(cache, SWIN_ID), SwinForImageClassification, config, resample=3)


def convnext(cache: Path):
    """A tiny ConvNextForImageClassification under Facebook's id; returns the model."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(depths=[1, 2, 1, 1], hidden_sizes=[8, 16, 24, 32], num_labels=1000)
    return _classifier(snapshot(cache, CONVNEXT_ID), ConvNextForImageClassification, config, CONVNEXT_PICTURES)


def resnet(cache: Path):
    """A tiny ResNetForImageClassification under Microsoft's id; returns the model."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=8, depths=[1, 1], hidden_sizes=[32, 64], num_labels=1000)
    return _classifier(snapshot(cache, RESNET_ID), ResNetForImageClassification, config, CONVNEXT_PICTURES)


CONVNEXT_PICTURES = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": IMAGE_SIZE, "crop_pct": 0.875}


def _classifier(folder: Path, kind: Callable, config, pictures: dict | None = None, resample: int | None = None):
    """Writes a classifier and how its pictures are prepared, in the old form in which all of these are published."""
    torch.manual_seed(0)
    pictures = pictures or {"feature_extractor_type": "ViTFeatureExtractor", "size": IMAGE_SIZE}
    pictures |= {"do_normalize": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    pictures |= {"resample": resample} if resample else {}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    with without_warnings():
        model = kind(config).eval()
        model.save_pretrained(folder)
    return model


def bert(cache: Path):
    """A tiny BertForPreTraining with a vocabulary of a few pieces, under Google's id; returns the model."""
    folder = snapshot(cache, BERT_ID)
    pieces = WordPieceTokenizer.train(TEXTS, 120, min_count=1).pieces
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return _language_model(folder, parity.bert_pair, len(pieces))


def gpt2(cache: Path):
    """A tiny GPT2LMHeadModel with a few merges, under OpenAI's id; returns the model."""
    folder = snapshot(cache, GPT2_ID)
    return _language_model(folder, parity.gpt2_pair, _byte_pairs(folder))


def llama(cache: Path):
    """A tiny LlamaForCausalLM, positions stretched as in Llama 3.1, under SmolLM2's id; returns the model."""
    folder = snapshot(cache, LLAMA_ID)
    stretched = {"rope_parameters": parity.STRETCHED}
    return _language_model(folder, parity.llama_pair, _byte_pairs(folder), stretched)


def t5(cache: Path):
    """A tiny T5ForConditionalGeneration with a unigram vocabulary of a few pieces, under Google's id; the model."""
    from transformers import T5Tokenizer

    folder = snapshot(cache, T5_ID)
    model = read_model(train_sentencepiece(folder / "spiece.model", TEXTS, "unigram"))
    scored = [*model.scores, *((f"<extra_id_{number}>", 0.0) for number in reversed(range(4)))]
    T5Tokenizer(scored, _spm_precompiled_charsmap=model.charsmap, extra_ids=4).save_pretrained(folder)
    return _language_model(folder, parity.t5_pair, len(scored))


def bart(cache: Path):
    """A tiny BartForConditionalGeneration with a few merges, under Facebook's id; returns the model."""
    folder = snapshot(cache, BART_ID)
    return _language_model(folder, parity.bart_pair, _byte_pairs(folder))


def lxmert(cache: Path):
    """A tiny LxmertModel under its authors' id, pictures as 36 vectors of 32 numbers; returns the model."""
    from transformers import LxmertConfig, LxmertModel

    sizes = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 200}
    torch.manual_seed(0)
    model = LxmertModel(LxmertConfig(**sizes, visual_feat_dim=32, l_layers=2, r_layers=1, x_layers=5)).eval()
    model.save_pretrained(snapshot(cache, LXMERT_ID))
    return model


def _byte_pairs(folder: Path) -> int:
    """Writes a small byte-level tokenizer in GPT-2's files; returns the size of its vocabulary."""
    tokenizer = GPT2Tokenizer.train(TEXTS, 300, min_count=1)
    (folder / "vocab.json").write_text(json.dumps(tokenizer.ids), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in tokenizer.ranks)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return tokenizer.vocab_size


def _language_model(folder: Path, pair: Callable, vocab_size: int, sizes: dict | None = None):
    with without_warnings():
        model = pair({"vocab_size": vocab_size} | (sizes or {}))[1]
        model.save_pretrained(folder)
    return model


def torchvision(hub: Path, *names: str) -> None:
    """Tiny classifiers and a Mask R-CNN under the names of their published files, where `TORCH_HOME=hub` finds them.

    Args:
        hub: the folder.
        names: "resnet18", "vit_b_16", "vgg11", "efficientnet_b0", "maskrcnn_resnet50_fpn".
    """
    from torchvision import models

    tiny = {
        "resnet18": lambda: models.resnet.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1]),
        "vit_b_16": lambda: models.VisionTransformer(224, 32, 1, 2, 128, 256),
        "vgg11": lambda: models.vgg.VGG(models.vgg.make_layers([4, "M", 8, "M", 8, 8, "M", 8, 8, "M", 8, 8, "M"])),
        "efficientnet_b0": lambda: models.efficientnet_b0(weights=None),
        # A detector is told by its name how large it is, so this one has its full size, and no training.
        "maskrcnn_resnet50_fpn": lambda: models.detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None),
    }
    folder = Path(hub) / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.manual_seed(0)
        file = models.get_model_weights(name).DEFAULT.url.rsplit("/", 1)[-1]
        torch.save(tiny[name]().state_dict(), folder / file)


ALL = (clip, siglip, align, open_clip, vit, swin, convnext, resnet, bert, gpt2, llama, t5, bart, lxmert)


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
        for make in only or ALL:
            make(Path(cache))
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def data_sets(root: str | Path, *names: str) -> None:
    """Tiny data sets with the columns of `course_lib.data.hub`, made of the course's photographs.

    Args:
        root: the folder that stands for the Hub: `COURSE_HUB_ROOT`.
        names: as in `hub.DATA_SETS`; all of them if none is given.
    """
    import datasets

    pictures = photos()
    boxes = [photo.boxes[0] for photo in pictures]
    numbers = [str(number) for number in range(len(pictures))]
    questions = [photo.questions[0] for photo in pictures]
    asked, answers = [question for question, *_ in questions], [answer for _, answer, _ in questions]
    captions = [[*photo.captions, *photo.captions][:5] for photo in pictures]
    ten = [[{"answer": a, "answer_confidence": "yes", "answer_id": n} for n in range(10)] for a in answers]
    box_rows = {
        "bbox": [[float(x) for x in (left, top, right - left, low - top)] for _, (left, top, right, low) in boxes],
        "answer": [[f"the {what}", what] for what, _ in boxes], "question_id": numbers,
    }  # fmt: skip
    rows = {
        "coco_captions": {"answer": captions, "id": [int(n) for n in numbers], "question_id": numbers},
        "flickr30k": {"caption": captions, "img_id": numbers},
        "vqav2": {"question": asked, "answers": ten, "multiple_choice_answer": answers, "question_id": numbers}
        | {"question_type": [question.split()[0] for question in asked]},
        "gqa": {"question": asked, "answer": answers, "imageId": numbers},
        "refcoco": box_rows, "refcoco+": box_rows, "refcocog": box_rows,
        "pope": {"question": asked, "answer": ["yes" for _ in numbers], "question_id": numbers},
        "docvqa": {"question": asked, "answers": [[answer] for answer in answers], "questionId": numbers},
    }  # fmt: skip
    shown = {"image": [photo.image for photo in pictures]}
    for name in names or hub.DATA_SETS:
        entry, folder = hub.DATA_SETS[name], Path(root) / hub.DATA_SETS[name].repository
        tables = {entry.config or "default": rows[name] | ({} if entry.pictures else shown)}
        if entry.pictures:
            tables[entry.pictures[0]] = {entry.pictures[1]: numbers[::-1], "image": shown["image"][::-1]}
        lines = ["---", "configs:"]
        for config, columns in tables.items():
            table = datasets.Dataset.from_dict(columns)
            table = table.cast_column("image", datasets.Image()) if "image" in columns else table
            lines += [f"- config_name: {config}", "  data_files:"]
            for split in entry.splits:
                (folder / config).mkdir(parents=True, exist_ok=True)
                with open(folder / config / f"{split}-00000-of-00001.parquet", "wb") as file:
                    table.to_parquet(file)
                lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
        (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def serve(*makers: Callable, classifiers: Sequence[str] = (), data: Sequence[str] = ()) -> None:
    """From now on this process finds stand-ins under the published ids, and nothing else: no network is used.

    Cells at full scale begin with this where nothing can be downloaded; the cells after it are the same everywhere.

    Args:
        makers: which models of the Hub: `stand_ins.clip`, ...; none of them if left out.
        classifiers: which of torchvision: "resnet18", ...
        data: which data sets: "coco_captions", ...
    """
    import datasets
    import huggingface_hub.constants

    folder = Path(tempfile.mkdtemp(prefix="stand-ins-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if makers:
        from transformers.utils import logging

        logging.disable_progress_bar()
        write(folder, *makers)
    if classifiers:
        torchvision(folder, *classifiers)
    if data:
        datasets.disable_progress_bars()
        data_sets(folder / "data", *data)
    huggingface_hub.constants.HF_HUB_CACHE, huggingface_hub.constants.HF_HUB_OFFLINE = str(folder), True
    datasets.config.HF_DATASETS_CACHE = folder / "datasets"
    os.environ |= {"TORCH_HOME": str(folder), "COURSE_HUB_ROOT": str(folder / "data")}


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
