"""Published BERT checkpoints (transformers' format) -> the names of `course_lib.models.bert`."""

from pathlib import Path

from torch import Tensor

from course_lib.pretrained.weights import complete, drop_copy, fuse, read_config_of, read_state, rename

# Of the encoder alone, wherever it stands: ALIGN has one too.
ENCODER = [
    (r"\.LayerNorm\.gamma$", ".LayerNorm.weight"),  # what the first published files call them
    (r"\.LayerNorm\.beta$", ".LayerNorm.bias"),
    (r"\.embeddings\.word_embeddings\.", ".token_embedding."),
    (r"\.embeddings\.token_type_embeddings\.", ".type_embedding."),
    (r"\.embeddings\.position_embeddings\.weight", ".position_embedding"),
    (r"\.embeddings\.LayerNorm\.", ".norm."),
    (r"\.encoder\.layer\.", ".transformer.blocks."),
    (r"\.attention\.self\.", ".attention."),
    (r"\.attention\.output\.dense\.", ".attention.out."),
    (r"\.attention\.output\.LayerNorm\.", ".norm1."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.output\.LayerNorm\.", ".norm2."),
]
HEADS = [
    (r"^bert\.pooler\.dense\.", "next_sentence.pooler."),
    (r"^cls\.seq_relationship\.", "next_sentence.classifier."),
    (r"^cls\.predictions\.transform\.dense\.", "masked_language.transform."),
    (r"^cls\.predictions\.transform\.LayerNorm\.(gamma|weight)", "masked_language.norm.weight"),
    (r"^cls\.predictions\.transform\.LayerNorm\.(beta|bias)", "masked_language.norm.bias"),
    (r"^cls\.predictions\.bias", "masked_language.bias"),
    (r"^bert\.", "encoder."),
]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads a BERT checkpoint from a folder or the Hub.

    Returns:
        (configuration for `BERTConfig(**…)`, state dict for `BERTForPretraining`).

    Raises:
        FileError, OfflineError, InputError: as `course_lib.pretrained.clip.load`.
    """
    return from_transformers(read_config_of("bert", source), read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' BertForPreTraining: its `config.to_dict()` and `state_dict()`."""
    from transformers import BertConfig

    sizes = encoder_sizes(complete(config, BertConfig))
    state = drop_copy(state, "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight")
    state = drop_copy(state, "cls.predictions.decoder.bias", "cls.predictions.bias")
    state = rename(state, [*HEADS, *ENCODER], drop=r".*\.position_ids")
    return sizes, fuse(state, ("query", "key", "value"), "qkv")


def encoder_sizes(config) -> dict:
    """The sizes of a BERT encoder, by our names, from transformers' configuration of one."""
    return {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "token_types": config.type_vocab_size,
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "mlp_width": config.intermediate_size,
        "activation": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
        "dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
    }
