"""Lesson 06: CLIP's training step."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch

from course_lib.authoring.bench.timing import Comparison, alternate


def clip_step() -> Iterator[Comparison]:
    """CLIP's training step (forward, loss, backward, AdamW): ours, open_clip's, transformers', from equal weights."""
    steps = clip_steps()
    medians = alternate(steps)
    ours, *peers = steps
    for peer in peers:
        yield Comparison("CLIP training step, batch 32", ours, peer, medians[ours], medians[peer], bound=1.0)


def clip_steps(
    batch: int = 32, width: int = 128, layers: int = 4, vocab_size: int = 1000
) -> dict[str, Callable[[], float]]:
    """The three training steps, each returning its loss: same configuration, weights, batch and optimiser."""
    import open_clip
    import transformers
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    from course_lib.losses.contrastive import clip_loss
    from course_lib.models.clip import CLIP
    from course_lib.pretrained.open_clip import from_open_clip

    torch.manual_seed(0)
    context, image, patch, heads = 32, 64, 8, width // 32
    vision_cfg = CLIPVisionCfg(image_size=image, patch_size=patch, width=width, layers=layers, head_width=32)
    text_cfg = CLIPTextCfg(context_length=context, vocab_size=vocab_size, width=width, heads=heads, layers=layers)
    open_clip_model = open_clip.model.CLIP(width, vision_cfg, text_cfg, quick_gelu=True)
    weights = from_open_clip(
        {"embed_dim": width, "vision_cfg": asdict(vision_cfg), "text_cfg": asdict(text_cfg), "quick_gelu": True},
        open_clip_model.state_dict(),
    )
    ours = CLIP.from_weights(*weights).train()
    tower = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }
    config = transformers.CLIPConfig(
        vision_config=tower | {"image_size": image, "patch_size": patch},
        text_config=tower
        | {"vocab_size": vocab_size, "max_position_embeddings": context, "bos_token_id": vocab_size - 2}
        | {"eos_token_id": vocab_size - 1, "pad_token_id": 0},
        projection_dim=width,
    )
    theirs = transformers.CLIPModel(config).train()
    load_into_transformers(theirs, ours)

    pixel_values = torch.randn(batch, 3, image, image)
    input_ids = torch.randint(1, vocab_size - 2, (batch, context))
    input_ids[:, 0], input_ids[:, -1] = vocab_size - 2, vocab_size - 1
    open_clip_loss = open_clip.ClipLoss()

    def our_loss() -> torch.Tensor:
        output = ours(pixel_values, input_ids)
        return clip_loss(output.image_embeds, output.text_embeds, ours.logit_scale.exp())

    def step(model: torch.nn.Module, loss_of: Callable[[], torch.Tensor]) -> Callable[[], float]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        def take() -> float:
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            return loss.item()

        return take

    return {
        "course": step(ours, our_loss),
        "open_clip": step(open_clip_model, lambda: open_clip_loss(*open_clip_model(pixel_values, input_ids))),
        "transformers": step(
            theirs, lambda: theirs(input_ids=input_ids, pixel_values=pixel_values, return_loss=True).loss
        ),
    }


def load_into_transformers(theirs: torch.nn.Module, ours: torch.nn.Module) -> None:
    """Copies our CLIP's weights into a transformers CLIPModel of the same sizes, tensor by tensor through the name map.

    The map is only written in the other direction, so each of their tensors is filled with its own number and followed.
    """
    from course_lib.pretrained.clip import from_transformers

    state, target = theirs.state_dict(), ours.state_dict()
    numbered = {name: torch.full_like(tensor, index) for index, (name, tensor) in enumerate(state.items())}
    names = list(state)
    with torch.no_grad():
        for our_name, markers in from_transformers(theirs.config.to_dict(), numbered)[1].items():
            value = target[our_name]
            for index in markers.unique().int().tolist():
                part = value[markers == index] if markers.ndim else value
                state[names[index]].copy_(part.reshape(state[names[index]].shape))


COMPARISONS: list[Callable[[], Iterator[Comparison]]] = [clip_step]
