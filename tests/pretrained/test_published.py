"""Published checkpoints: loaded from a Hub cache without a network, and every way in which that can fail."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from course_lib.authoring import stand_ins
from course_lib.errors import FileError, InputError, OfflineError
from course_lib.models.align import ALIGN
from course_lib.models.clip import CLIP
from course_lib.models.siglip import SigLIP
from course_lib.pretrained import clip as clip_names
from course_lib.pretrained import open_clip as open_clip_names
from course_lib.pretrained import weights
from course_lib.pretrained.weights import fuse, rename


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A Hub cache that holds tiny models under the published ids, and nothing else."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield folder


@pytest.fixture(scope="module")
def clip(cache):
    return stand_ins.clip(cache)


@pytest.fixture
def folder(cache, clip, tmp_path) -> Path:
    """A copy of the tiny CLIP that a test may damage."""
    return Path(shutil.copytree(stand_ins.snapshot(cache, stand_ins.CLIP_ID), tmp_path / "clip"))


PICTURES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[3, 7, 9, 20, 0, 0], [3, 8, 8, 8, 19, 20]])


def same(ours, theirs, input_ids=IDS) -> bool:
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, pixel_values=PICTURES).logits_per_image
        return torch.allclose(ours(PICTURES, input_ids).logits_per_image, wanted, atol=1e-5)


def test_clip(cache, clip):
    model = CLIP.from_pretrained("openai/clip-vit-base-patch32")
    assert same(model, clip) and not model.training
    assert model.config.text.eos_token_id is None and model.config.text.vocab_size == 49408


def test_siglip(cache):
    theirs = stand_ins.siglip(cache)
    ids = torch.randint(0, 30, (2, 64), generator=torch.Generator().manual_seed(0))
    assert same(SigLIP.from_pretrained("google/siglip-base-patch16-224"), theirs, ids)


def test_align(cache):
    theirs = stand_ins.align(cache)
    assert same(ALIGN.from_pretrained("kakaobrain/align-base"), theirs)


def test_open_clip(cache):
    theirs = stand_ins.open_clip(cache)
    ours = CLIP.from_pretrained("laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    input_ids = torch.zeros(2, 77, dtype=torch.long)
    input_ids[:, :6] = IDS
    with torch.no_grad():
        wanted = theirs.get_logits(PICTURES, input_ids)[0]
        assert torch.allclose(ours(PICTURES, input_ids).logits_per_image, wanted, atol=1e-5)


def test_a_repository_with_both_formats(cache, clip, folder):
    (folder / "open_clip_config.json").write_text("{}")
    assert same(CLIP.from_pretrained(folder), clip)


def test_a_folder(folder, clip):
    assert same(CLIP.from_pretrained(folder), clip) and same(CLIP.from_pretrained(str(folder)), clip)


def test_older_weights(folder, clip):
    """A pickled file, with the position ids that were saved until 2023."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save(state, folder / "pytorch_model.bin")
    assert same(CLIP.from_pretrained(folder), clip)


def test_shards(folder, clip):
    clip.save_pretrained(folder / "shards", max_shard_size="1MB")
    assert len(list((folder / "shards").glob("*.safetensors"))) > 1
    assert same(CLIP.from_pretrained(folder / "shards"), clip)
    next((folder / "shards").glob("*.safetensors")).unlink()
    with pytest.raises(FileError, match="which its index names: fetch it again"):
        CLIP.from_pretrained(folder / "shards")


def test_nothing_is_run_from_a_pickle(folder, tmp_path):
    class Mischief:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "mischief"),))

    (folder / "model.safetensors").unlink()
    torch.save({"logit_scale": Mischief()}, folder / "pytorch_model.bin")
    with pytest.raises(FileError, match="pytorch_model.bin of .* is damaged"):
        CLIP.from_pretrained(folder)
    assert not (tmp_path / "mischief").exists()


@pytest.mark.parametrize("model", [CLIP, SigLIP, ALIGN])
def test_no_network(cache, model):
    with pytest.raises(OfflineError, match=r"acme/model \(config.json\) needs a network once; run on a machine"):
        model.from_pretrained("acme/model")


def test_no_network_and_no_weights(cache, clip, tmp_path, monkeypatch):
    """The configuration is cached and the weights are not."""
    shutil.copytree(cache, tmp_path / "hub", symlinks=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (stand_ins.snapshot(tmp_path / "hub", stand_ins.CLIP_ID) / "model.safetensors").unlink()
    with pytest.raises(OfflineError, match=r"\(model.safetensors\) needs a network once"):
        CLIP.from_pretrained(stand_ins.CLIP_ID)


def test_no_such_place(cache):
    with pytest.raises(InputError, match="there is no folder './nowhere/at all'"):
        CLIP.from_pretrained("./nowhere/at all")


@pytest.mark.parametrize(
    ("trouble", "error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FileError, "cannot write config.json: the disk is full"),
        (httpx.ReadTimeout("timed out"), OfflineError, r"did not give acme/model \(config.json\): timed out"),
    ],
)
def test_a_download_that_fails(monkeypatch, trouble, error, message):
    def fail(*_):
        raise trouble

    monkeypatch.setattr(weights, "hf_hub_download", fail)
    with pytest.raises(error, match=message):
        CLIP.from_pretrained("acme/model")


def test_damaged_weights(folder):
    whole = (folder / "model.safetensors").read_bytes()
    for damaged in (whole[:1000], whole[:-8], b"", b"\0" * 100):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(FileError, match="model.safetensors of .* is damaged"):
            CLIP.from_pretrained(folder)


def test_incomplete_weights(folder):
    state = load_file(folder / "model.safetensors")
    name = "vision_model.encoder.layers.1.self_attn.k_proj.weight"
    save_file({key: value for key, value in state.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(FileError, match="has .*q_proj.weight but not .*k_proj.weight"):
        CLIP.from_pretrained(folder)
    less = {key: value for key, value in state.items() if "final_layer_norm" not in key}
    save_file(less, folder / "model.safetensors")
    with pytest.raises(FileError, match="text_model.final_norm.weight is missing"):
        CLIP.from_pretrained(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileError, match="holds no weights: neither model.safetensors nor pytorch_model.bin"):
        CLIP.from_pretrained(folder)


def test_damaged_configuration(folder):
    for content, message in (("{", "it is not JSON"), ("[1]", "it holds no object")):
        (folder / "config.json").write_text(content)
        with pytest.raises(FileError, match=message):
            CLIP.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileError, match="neither config.json nor open_clip_config.json is there"):
        CLIP.from_pretrained(folder)


def test_another_model(cache, clip):
    stand_ins.siglip(cache)
    with pytest.raises(InputError, match="holds a model of type 'siglip'; CLIP.from_pretrained wants 'clip'"):
        CLIP.from_pretrained(stand_ins.SIGLIP_ID)
    for model in (SigLIP, ALIGN):
        with pytest.raises(InputError, match="holds a model of type 'clip', not"):
            model.from_pretrained(stand_ins.CLIP_ID)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_cfg": {"timm_model_name": "vit_base"}}, "vision_cfg says timm_model_name='vit_base'"),
        ({"vision_cfg": {"ls_init_value": 0.1}}, "ls_init_value=0.1, which CLIP of the paper does not have"),
        ({"text_cfg": {"hf_model_name": "roberta-base"}}, "text_cfg says hf_model_name='roberta-base'"),
        ({"text_cfg": {"pool_type": "last"}}, "reads its text at 'last'"),
    ],
)
def test_an_open_clip_model_that_is_no_clip(change, message):
    config = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}
    with pytest.raises(InputError, match=message):
        open_clip_names.from_open_clip(config | change, {})
    with pytest.raises(InputError, match="so it is a SigLIP"):
        open_clip_names.from_open_clip(config, {"logit_bias": torch.zeros(1)})


def test_a_sparse_configuration():
    """Files of 2022 leave out what is as usual; transformers knows what that was."""
    ours, _ = clip_names.from_transformers({"model_type": "clip", "vision_config": {"patch_size": 16}}, {})
    assert ours["vision"]["patch_size"] == 16 and ours["vision"]["width"] == 768
    assert ours["text"]["context_length"] == 77 and ours["projection_dim"] == 512


def test_names():
    one, two, three = (torch.full((2, 2), float(number)) for number in range(3))
    state = {"a.q.weight": one, "a.k.weight": two, "a.v.weight": three, "a.ids": one, "b.weight": two}
    renamed = fuse(rename(state, [(r"^a\.", "c.")], drop=r".*\.ids"), ("q", "k", "v"), "qkv")
    assert renamed.keys() == {"c.qkv.weight", "b.weight"}
    assert renamed["c.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.slow
def test_the_processors_too_in_a_process_of_its_own(tmp_path):
    """What the full-scale cells do, with the Hub's own variables set from outside."""
    code = """
import sys, torch
from PIL import Image
from transformers import AutoProcessor
from course_lib.authoring import stand_ins
from course_lib.models.align import ALIGN
from course_lib.models.clip import CLIP
from course_lib.models.siglip import SigLIP
from course_lib.data.preprocessing import Preprocessing
from course_lib.data.tokenizers import SigLIPTokenizer
picture, texts = Image.new("RGB", (50, 40)), ["a photo of a cat", "a dog"]
for model, name in ((CLIP, stand_ins.CLIP_ID), (SigLIP, stand_ins.SIGLIP_ID), (ALIGN, stand_ins.ALIGN_ID)):
    if model is SigLIP:
        batch = {"input_ids": SigLIPTokenizer.from_pretrained(name)(texts)}
        batch["pixel_values"] = Preprocessing.from_pretrained(name)(picture)
    else:
        batch = AutoProcessor.from_pretrained(name)(images=picture, text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        print(name, *model.from_pretrained(name)(**batch).logits_per_image.shape)
"""
    stand_ins.write(tmp_path)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\n")[:3] == [
        "openai/clip-vit-base-patch32 1 2",
        "google/siglip-base-patch16-224 1 2",
        "kakaobrain/align-base 1 2",
    ]


def test_transformers_reads_the_stand_in_too(cache, clip):
    """The cache is laid out as the Hub's own is."""
    model = CLIPModel.from_pretrained("openai/clip-vit-base-patch32").eval()
    assert torch.equal(model.logit_scale, clip.logit_scale)
    config = stand_ins.snapshot(cache, stand_ins.CLIP_ID) / "config.json"
    assert json.loads(config.read_text())["model_type"] == "clip"
