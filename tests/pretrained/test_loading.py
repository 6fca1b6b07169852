"""Every system with a published checkpoint: loaded under its id without a network, in any dtype, in memory once."""

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from course_lib.authoring import stand_ins
from course_lib.errors import FileError
from course_lib.models.align import ALIGN
from course_lib.models.bart import BART
from course_lib.models.bert import BERTForPretraining
from course_lib.models.clip import CLIP
from course_lib.models.gpt2 import GPT2
from course_lib.models.image_classifier import ImageClassifier
from course_lib.models.llama import Llama
from course_lib.models.siglip import SigLIP
from course_lib.models.t5 import T5

pytestmark = pytest.mark.slow  # a dozen systems of two libraries

PICTURES = {"pixel_values": torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
IDS = {"input_ids": torch.tensor([[3, 7, 9, 20], [3, 8, 8, 20]])}
SYSTEMS = {
    "openai/clip-vit-base-patch32": (CLIP, stand_ins.clip, PICTURES | IDS),
    "google/siglip-base-patch16-224": (SigLIP, stand_ins.siglip, PICTURES | {"input_ids": torch.ones(2, 64).long()}),
    "kakaobrain/align-base": (ALIGN, stand_ins.align, PICTURES | IDS),
    "google/vit-base-patch16-224": (ImageClassifier, stand_ins.vit, PICTURES),
    "microsoft/swin-tiny-patch4-window7-224": (ImageClassifier, stand_ins.swin, PICTURES),
    "facebook/convnext-tiny-224": (ImageClassifier, stand_ins.convnext, PICTURES),
    "microsoft/resnet-50": (ImageClassifier, stand_ins.resnet, PICTURES),
    "google-bert/bert-base-uncased": (BERTForPretraining, stand_ins.bert, IDS),
    "openai-community/gpt2": (GPT2, stand_ins.gpt2, IDS),
    "HuggingFaceTB/SmolLM2-135M": (Llama, stand_ins.llama, IDS),
    "google-t5/t5-small": (T5, stand_ins.t5, IDS | {"decoder_input_ids": IDS["input_ids"]}),
    "facebook/bart-base": (BART, stand_ins.bart, IDS | {"decoder_input_ids": IDS["input_ids"]}),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A Hub cache that holds all of these, and what transformers made of them."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        stand_ins.write(folder, *(make for _, make, _ in SYSTEMS.values()))
        yield folder


def logits(model, inputs):
    with torch.no_grad():
        found = model(**inputs)
    for name in ("logits_per_image", "prediction_logits", "logits"):
        found = getattr(found, name, found)
    return found


@pytest.mark.parametrize("name", SYSTEMS)
def test_loaded_under_its_id_it_gives_the_references_logits(cache, name):
    import transformers

    kinds = {ImageClassifier: "ForImageClassification", BERTForPretraining: "ForPreTraining", GPT2: "ForCausalLM"}
    kinds |= {Llama: "ForCausalLM", T5: "ForSeq2SeqLM", BART: "ForSeq2SeqLM"}
    kind, _, inputs = SYSTEMS[name]
    theirs = getattr(transformers, f"AutoModel{kinds.get(kind, '')}").from_pretrained(name).eval()
    assert torch.allclose(logits(kind.from_pretrained(name), inputs), logits(theirs, inputs), atol=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_in_half_precision_it_says_nearly_the_same(cache, name):
    kind, _, inputs = SYSTEMS[name]
    whole, half = kind.from_pretrained(name), kind.from_pretrained(name, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in whole.parameters()} == {torch.float32}
    assert {tensor.dtype for tensor in half.parameters()} == {torch.bfloat16}
    given = {key: value.bfloat16() if value.is_floating_point() else value for key, value in inputs.items()}
    wanted, got = logits(whole, inputs), logits(half, given)
    assert got.dtype == torch.bfloat16
    assert (got.float() - wanted).norm() < 0.3 * wanted.norm()


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_goes_to_the_device_asked_for(cache, name):
    model = SYSTEMS[name][0].from_pretrained(name, device="meta")
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_can_be_trained_and_its_file_may_go(cache, name, tmp_path):
    kind, _, inputs = SYSTEMS[name]
    (file,) = stand_ins.snapshot(cache, name).glob("*.safetensors")
    model = kind.from_pretrained(name)
    before = file.read_bytes()
    file.write_bytes(bytes(len(before)))  # a model that still read its weights from the file would be spoiled by this
    try:
        found = model(**inputs)
        for part in ("logits_per_image", "prediction_logits"):
            found = getattr(found, part, found)
        assert torch.isfinite(found).all() and found.std() > 0
        found.sum().backward()
        assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("name", SYSTEMS)
def test_missing_and_surplus_keys_are_listed(cache, name, tmp_path):
    kind, snapshot = SYSTEMS[name][0], stand_ins.snapshot(cache, name)
    (tmp_path / "config.json").write_text((snapshot / "config.json").read_text())
    state = load_file(snapshot / "model.safetensors")
    state["another.weight"] = torch.zeros(2)
    gone = next(key for key in state if "norm" in key.lower() or "ln_" in key)
    del state[gone]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(FileError, match="is missing.*another.weight is not part of the model"):
        kind.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["openai-community/gpt2", "google-t5/t5-small", "facebook/convnext-tiny-224"])
def test_a_checkpoint_in_shards(cache, name, tmp_path):
    import json

    kind, _, inputs = SYSTEMS[name]
    snapshot = stand_ins.snapshot(cache, name)
    state = load_file(snapshot / "model.safetensors")
    names = sorted(state)
    parts = {f"model-{n + 1:05}-of-00003.safetensors": names[n::3] for n in range(3)}
    for file, members in parts.items():
        save_file({key: state[key] for key in members}, tmp_path / file)
    index = {"weight_map": {key: file for file, members in parts.items() for key in members}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text((snapshot / "config.json").read_text())
    wanted = kind.from_pretrained(snapshot)
    assert torch.equal(logits(kind.from_pretrained(tmp_path), inputs), logits(wanted, inputs))


def test_torchvisions_files_are_found_by_their_published_names(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    names = ("resnet18", "vit_b_16", "vgg11", "efficientnet_b0")
    stand_ins.torchvision(tmp_path, *names)
    for name in names:
        model = ImageClassifier.from_torchvision(name, dtype=torch.bfloat16)
        assert {tensor.dtype for tensor in model.parameters()} == {torch.bfloat16} and len(model.head.weight) == 1000
    theirs = torchvision.models.efficientnet_b0(weights="DEFAULT").eval()
    ours, pixel_values = ImageClassifier.from_torchvision("efficientnet_b0"), torch.randn(2, 3, 64, 64)
    assert torch.allclose(logits(ours, {"pixel_values": pixel_values}), theirs(pixel_values), atol=1e-5)


MEASURE = """
import sys
from course_lib.models.{module} import {kind}

def megabytes(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) / 1024

import transformers.models.{module}
from transformers import {config}
before = megabytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
model = {kind}.from_pretrained(sys.argv[1])
weights = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters()) / 2**20
print(weights, (megabytes("VmHWM") - before) / weights)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to measure")
@pytest.mark.parametrize(
    ("module", "kind", "config", "sizes"),
    [
        # GPT-2 transposes most of its weights, Llama fuses them, CLIP's stay mostly as they are.
        ("gpt2", "GPT2", "GPT2Config", {"n_embd": 768, "n_layer": 5, "n_head": 8, "vocab_size": 1000}),
        ("llama", "Llama", "LlamaConfig", {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 4}),
        ("clip", "CLIP", "CLIPConfig", {}),
    ],
)
def test_memory_holds_the_weights_once(tmp_path, module, kind, config, sizes):
    import transformers

    tower = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 2, "num_attention_heads": 8}
    if module == "clip":
        sizes = {"vision_config": tower, "text_config": tower | {"vocab_size": 1000}}
    if module == "llama":
        sizes = sizes | {"vocab_size": 1000, "num_attention_heads": 8}
    name = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "clip": "CLIPModel"}[module]
    getattr(transformers, name)(getattr(transformers, config)(**sizes)).save_pretrained(tmp_path)
    code = MEASURE.format(module=module, kind=kind, config=config)
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    weights, copies = map(float, run.stdout.split())
    assert weights > 100 and copies < 1.3, (weights, copies)


TEXTS = [
    "a photo of a cat",
    "A Photo, of a CAT!? And it's 3 dogs...",
    "naïve café ½ – “quoted” tête-à-tête",
    "  many   spaces\tand\nlines ",
    "日本語 🙂 emoji",
    "stars & circles (small) [red] {blue} #5",
]


def test_clips_and_aligns_ids_are_their_processors(cache):
    from transformers import AutoTokenizer

    from course_lib.data.tokenizers import HubCLIPTokenizer, WordPieceTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(stand_ins.CLIP_ID), HubCLIPTokenizer.from_pretrained(stand_ins.CLIP_ID)
    wanted = theirs(TEXTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt")["input_ids"]
    assert torch.equal(ours(TEXTS), wanted)
    theirs = AutoTokenizer.from_pretrained(stand_ins.ALIGN_ID)
    ours = WordPieceTokenizer.from_pretrained(stand_ins.ALIGN_ID, context_length=64)
    wanted = theirs(TEXTS, padding="max_length", max_length=64, truncation=True, return_tensors="pt")["input_ids"]
    assert torch.equal(ours(TEXTS), wanted)


def test_siglips_ids_are_its_tokenizers(cache):
    """transformers' own code for a text, around sentencepiece; only its reading of the file needs protobuf."""
    import sentencepiece
    from transformers.models.siglip.tokenization_siglip import SiglipTokenizer as Theirs

    from course_lib.data.tokenizers import SigLIPTokenizer

    theirs = object.__new__(Theirs)
    theirs.sp_model = sentencepiece.SentencePieceProcessor(
        model_file=str(stand_ins.snapshot(cache, stand_ins.SIGLIP_ID) / "spiece.model")
    )
    theirs.do_lower_case, theirs._special_tokens_map = True, {"unk_token": "<unk>"}
    ours = SigLIPTokenizer.from_pretrained(stand_ins.SIGLIP_ID)
    for text in TEXTS:
        pieces = Theirs._tokenize(theirs, "▁" + text)
        ids = [theirs.sp_model.piece_to_id(piece) for piece in pieces] + [1]
        assert ours([text])[0].tolist() == ids + [1] * (64 - len(ids)), text
