"""Language models in transformers' format: read from a folder, and refused where they are not what they say."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from course_lib.authoring.parity import lesson_03 as parity
from course_lib.errors import FileError, InputError
from course_lib.models.bart import BART
from course_lib.models.bert import BERTForPretraining
from course_lib.models.gpt2 import GPT2
from course_lib.models.llama import Llama
from course_lib.models.t5 import T5
from course_lib.pretrained import gpt2, llama, t5

PAIRS = {
    BERTForPretraining: parity.bert_pair,
    GPT2: parity.gpt2_pair,
    Llama: parity.llama_pair,
    T5: parity.t5_pair,
    BART: parity.bart_pair,
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_saved_model_is_read_whole(kind, tmp_path):
    ours, theirs = PAIRS[kind](seed=1)
    theirs.save_pretrained(tmp_path)
    read = kind.from_pretrained(tmp_path)
    assert read.config == ours.config and not read.training
    wanted = ours.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in read.state_dict().items())

    state = load_file(tmp_path / "model.safetensors")
    name = next(name for name in state if "layer" in name or ".h." in name or ".block." in name)
    for change in ({}, state | {"surplus.weight": torch.zeros(2)}):
        save_file(change or {key: value for key, value in state.items() if key != name}, tmp_path / "model.safetensors")
        with pytest.raises(FileError, match="is not part of the model|is missing|but not"):
            kind.from_pretrained(tmp_path)


def test_the_first_published_files_are_read_too():
    ours, theirs = parity.gpt2_pair(seed=1)
    old = {name.removeprefix("transformer."): tensor for name, tensor in theirs.state_dict().items()}
    old |= {"h.0.attn.bias": torch.ones(1, 1, 40, 40)}
    old.pop("lm_head.weight")
    read = GPT2.from_weights(*gpt2.from_transformers(theirs.config.to_dict(), old))
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in read.state_dict().items())


def test_t5_with_logits_of_their_own():
    _, theirs = parity.t5_pair({"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, seed=1)
    theirs.lm_head = torch.nn.Linear(32, 96, bias=False)
    read = T5.from_weights(*t5.from_transformers(theirs.config.to_dict(), theirs.state_dict()))
    assert not read.config.tie_embeddings and not read.config.scale_outputs
    input_ids = torch.randint(3, 96, (2, 5))
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, decoder_input_ids=input_ids).logits
    assert torch.allclose(read(input_ids, input_ids), wanted, atol=1e-5)


def test_what_ours_does_not_have_is_refused(tmp_path):
    _, theirs = parity.gpt2_pair()
    config = theirs.config.to_dict()
    with pytest.raises(InputError, match="scale_attn_by_inverse_layer_idx=True"):
        gpt2.from_transformers(config | {"scale_attn_by_inverse_layer_idx": True}, theirs.state_dict())
    untied = theirs.state_dict() | {"lm_head.weight": torch.zeros(96, 32)}
    with pytest.raises(FileError, match="should be one tensor"):
        gpt2.from_transformers(config, untied)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="a model of type 'gpt2', not 'llama'"):
        Llama.from_pretrained(tmp_path)
    _, theirs = parity.llama_pair()
    stretched = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    with pytest.raises(InputError, match=r"stretches its positions \(linear\) in a way"):
        llama.from_transformers(theirs.config.to_dict() | {"rope_parameters": stretched}, theirs.state_dict())
