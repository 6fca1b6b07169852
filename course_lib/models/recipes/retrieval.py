"""How lesson 07 trains what finds and what decides, on pictures whose wrong neighbours are hard.

    data = look_alike_data(1500, seed=1)                # families of four look-alikes
    mined = mine(*embed(clip, data))                    # what the dual encoder takes for right, and is not
    reranker, history = train_reranker(data, mined)

Convolutions are frozen everywhere, so every picture passes them once, and each training takes seconds.
"""

import copy
import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.data.microworld import Scene, captions, render
from course_lib.data.microworld.look_alikes import VARIANTS, look_alikes
from course_lib.errors import InputError
from course_lib.evaluation.embedding import embed_texts, measuring
from course_lib.evaluation.retrieval import measures
from course_lib.losses.contrastive import clip_loss
from course_lib.losses.matching import itm_loss
from course_lib.losses.ranking import hardest_negative_loss
from course_lib.models.clip import CLIP
from course_lib.models.fusion import FusionConfig
from course_lib.models.recipes.clip import encode_feature_maps
from course_lib.models.recipes.fusion import seen_regions
from course_lib.models.recipes.inputs import OnStep, pixel_values, word_tokenizer
from course_lib.models.recipes.vision import VISION
from course_lib.models.reranker import Reranker, rerank
from course_lib.models.vse import VSE, VSEConfig
from course_lib.pretrained import course
from course_lib.runtime import one_thread, seed_everything
from course_lib.training.loop import History, TrainingConfig, train


@dataclasses.dataclass(frozen=True)
class RetrievalData:
    """N pictures, each with its one caption.

    scenes: N of them; feature_maps (N, 96, 8, 8), what the frozen convolutions of the vision checkpoint see; regions
    (N, R, 100) and region_mask (N, R), the objects that its heads find; input_ids (N, T), the complete captions.
    """

    scenes: list[Scene]
    feature_maps: Tensor
    regions: Tensor
    region_mask: Tensor
    input_ids: Tensor

    def __len__(self) -> int:
        return len(self.scenes)


def retrieval_data(scenes: list[Scene]) -> RetrievalData:
    """Scenes as the models of this lesson take them: about 2 seconds for 1,000 on two cores."""
    pictures = torch.from_numpy(render(scenes))
    trunk = CLIP.from_weights(*course.load("clip")[:2]).vision_model.trunk
    with measuring(trunk):
        maps = torch.cat([trunk(pixel_values(part)) for part in pictures.split(250)])
    input_ids = word_tokenizer()([captions(scene)[0] for scene in scenes])
    return RetrievalData(scenes, maps, *seen_regions(pictures), input_ids)


def look_alike_data(families: int = 1500, seed: int = 1, split: str = "train") -> RetrievalData:
    """Families of look-alikes one after the other: picture `4 f + v` is variant v of family f."""
    return retrieval_data([scene for family in look_alikes(families, seed, split) for scene in family])


def embed(model: CLIP | VSE, data: RetrievalData) -> tuple[Tensor, Tensor]:
    """Unit vectors of all pictures and of all captions, (N, D) each."""
    encode = model.encode_feature_map if isinstance(model, VSE) else lambda maps: encode_feature_maps(model, maps)
    with measuring(model):
        pictures = torch.cat([F.normalize(encode(maps), dim=-1) for maps in data.feature_maps.split(500)])
    return pictures, embed_texts(model, data.input_ids)


def mine(image_embeds: Tensor, text_embeds: Tensor, count: int = 3) -> tuple[Tensor, Tensor]:
    """Hard negatives: for each picture the wrong texts nearest to it, for each text the wrong pictures.

    Args:
        image_embeds, text_embeds: (N, D) of length 1; row i of one belongs to row i of the other.
        count: how many each, the hardest first.

    Returns:
        Texts for pictures (N, count), and pictures for texts (N, count): row numbers.

    Raises:
        InputError: there are not so many negatives.
    """
    if not 1 <= count < len(image_embeds):
        raise InputError(f"count is {count}; of {len(image_embeds)} pairs it should be from 1 to one less")
    similarity = (image_embeds @ text_embeds.T).fill_diagonal_(-torch.inf)
    return similarity.topk(count, dim=1).indices, similarity.topk(count, dim=0).indices.T


VSE_TRAINING = TrainingConfig(steps=150, batch_size=128, learning_rate=3e-3, warmup_steps=20, weight_decay=0.01)


def train_vse(
    data: RetrievalData,
    loss: Callable[[Tensor], Tensor] = hardest_negative_loss,
    seed: int = 0,
    config: TrainingConfig = VSE_TRAINING,
    start: VSE | None = None,
    mined: tuple[Tensor, Tensor] | None = None,
    on_step: OnStep | None = None,
) -> tuple[VSE, History]:
    """VSE++ on the frozen convolutions of the vision checkpoint.

    From nothing, the hardest negatives are mostly noise, and the loss stays near twice the margin, where all vectors
    are alike: so begin with the sum of hinges, and give what came out as `start` for the hardest ones.

    Args:
        data: pictures with captions.
        loss: cosines (B, B) to a scalar: `hardest_negative_loss` (VSE++), or `hinge_sum_loss` (VSE0).
        seed: of the new weights and the batches.
        config: its seed is replaced by `seed`.
        start: a model to go on from, which stays as it is; new weights if None.
        mined: of `mine`: half of a batch is then drawn at random, and each picture brings one of its hard negatives
            along, with the picture it belongs to; None for random batches.
        on_step: as for `train`.
    """
    seed_everything(seed)
    model = copy.deepcopy(start) if start is not None else VSE(VSEConfig(word_tokenizer().vocab_size, VISION))
    if start is None:
        model.trunk.load_state_dict(CLIP.from_weights(*course.load("clip")[:2]).vision_model.trunk.state_dict())
    model.trunk.requires_grad_(False)

    def batch_loss(model: VSE, generator: torch.Generator) -> Tensor:
        rows = _company(len(data), config.batch_size, mined, generator)
        image_embeds = F.normalize(model.encode_feature_map(data.feature_maps[rows]), dim=-1)
        text_embeds = F.normalize(model.encode_text(without_padding(data.input_ids[rows])), dim=-1)
        return loss(image_embeds @ text_embeds.T)

    return model, train(model, batch_loss, dataclasses.replace(config, seed=seed), on_step)


DUAL_TRAINING = TrainingConfig(steps=200, batch_size=128, learning_rate=1e-3, warmup_steps=20, weight_decay=0.1)


def tune_dual_encoder(
    clip: CLIP,
    data: RetrievalData,
    mined: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
    config: TrainingConfig = DUAL_TRAINING,
    on_step: OnStep | None = None,
) -> tuple[CLIP, History]:
    """Trains a copy of a CLIP further, in random batches or in batches of look-alikes.

    With `mined`, half of a batch is drawn at random, and each of its pictures brings one of its hard negatives along,
    with the picture it belongs to: the loss is CLIP's, only the company is harder.

    Args:
        clip: where to start; it stays as it is.
        data: pictures with captions.
        mined: of `mine`; None for random batches.
        seed: of the batches.
        config: its seed is replaced by `seed`.
        on_step: as for `train`.

    Source: batches of neighbours, Yuksekgonul et al., When and Why Vision-Language Models Behave like Bags-of-Words,
    section 4 ("NegCLIP").
    """
    seed_everything(seed)
    model = copy.deepcopy(clip)
    model.vision_model.trunk.requires_grad_(False)

    def batch_loss(model: CLIP, generator: torch.Generator) -> Tensor:
        model.clamp_logit_scale()
        rows = _company(len(data), config.batch_size, mined, generator)
        image_embeds = F.normalize(encode_feature_maps(model, data.feature_maps[rows]), dim=-1)
        text_embeds = F.normalize(model.encode_text(without_padding(data.input_ids[rows])), dim=-1)
        return clip_loss(image_embeds, text_embeds, model.logit_scale.exp())

    return model, train(model, batch_loss, dataclasses.replace(config, seed=seed), on_step)


def _company(count: int, batch_size: int, mined: tuple[Tensor, Tensor] | None, generator: torch.Generator) -> Tensor:
    """Row numbers of a batch: at random, or half of them at random and a hard negative for each; none twice."""
    rows = torch.randperm(count, generator=generator)[:batch_size]
    if mined is None:
        return rows
    rows = rows[: batch_size // 2]
    which = torch.randint(mined[0].shape[1], rows.shape, generator=generator)
    return torch.cat([rows, mined[0][rows, which]]).unique()


RERANKER = FusionConfig(word_tokenizer().vocab_size, answers=2)
# After a warm-up of 30 steps one run of ten never told materials apart (R@1 0.48, all others 0.69 to 0.88).
RERANKER_TRAINING = TrainingConfig(steps=1000, batch_size=64, learning_rate=2e-3, warmup_steps=200, weight_decay=0.01)


def train_reranker(
    data: RetrievalData,
    mined: tuple[Tensor, Tensor] | None,
    seed: int = 0,
    config: TrainingConfig = RERANKER_TRAINING,
    on_step: OnStep | None = None,
) -> tuple[Reranker, History]:
    """Teaches a cross-encoder to tell a pair from its hard negatives.

    A batch holds as many true pairs as `config.batch_size` says, each picture again with a wrong text, and each text
    again with a wrong picture: two of three answers are no.

    Args:
        data: pictures with captions.
        mined: of `mine`; None draws the wrong ones at random, to see what mining is worth.
        seed: of the new weights and the batches.
        config: its seed is replaced by `seed`.
        on_step: as for `train`.
    """
    seed_everything(seed)
    model = Reranker(RERANKER)

    def batch_loss(model: Reranker, generator: torch.Generator) -> Tensor:
        rows = torch.randperm(len(data), generator=generator)[: config.batch_size]
        if mined is None:
            texts, images = ((rows + torch.randint(1, len(data), rows.shape, generator=generator)) % len(data)
                             for _ in range(2))  # fmt: skip
        else:
            texts, images = (
                part[rows, torch.randint(part.shape[1], rows.shape, generator=generator)] for part in mined
            )
        pictures, sentences = torch.cat([rows, rows, images]), torch.cat([rows, texts, rows])
        labels = (torch.arange(3 * len(rows)) < len(rows)).long()
        input_ids = without_padding(data.input_ids[sentences])
        return itm_loss(model(data.regions[pictures], data.region_mask[pictures], input_ids), labels)

    with one_thread():  # as for the other readers of `recipes.fusion`
        return model, train(model, batch_loss, dataclasses.replace(config, seed=seed), on_step)


def reranked(
    model: Reranker, data: RetrievalData, similarity: Tensor, k: int = 10, weight: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Both directions of a search with the first k places of each query re-ranked.

    Args:
        model: the cross-encoder.
        data: what the similarity is of.
        similarity: (N, N), pictures by texts, of the dual encoder.
        k: how many places.
        weight: of the similarity in the new score, as for `rerank`.

    Returns:
        Pictures by texts and texts by pictures, (N, N) each: they are no longer each other's transpose.
    """

    def score(pictures: Tensor, sentences: Tensor) -> Tensor:
        return model.score(data.regions[pictures], data.region_mask[pictures], data.input_ids[sentences])

    with measuring(model):
        image_to_text = rerank(similarity, score, k, weight)
        text_to_image = rerank(similarity.T, lambda sentences, pictures: score(pictures, sentences), k, weight)
    return image_to_text, text_to_image


def both_ways(image_to_text: Tensor, text_to_image: Tensor | None = None) -> dict[str, dict[str, float]]:
    """`measures` of both directions; the second is the transpose of the first if it is not given."""
    text_to_image = image_to_text.T if text_to_image is None else text_to_image
    return {"image_to_text": measures(image_to_text), "text_to_image": measures(text_to_image)}


def against_look_alikes(image_to_text: Tensor) -> dict[str, float]:
    """How often a picture's own caption scores above that of one member of its family, by what the two differ in.

    Args:
        image_to_text: (N, N), of families in the order of `look_alike_data`.

    Returns:
        For every variant but the first, the share of right choices between it and the first, both asked; chance 0.5.
    """
    size = len(VARIANTS)
    families = torch.arange(len(image_to_text) // size)
    within = image_to_text.view(len(families), size, len(families), size)[families, :, families]  # (F, 4, 4)
    shares = {}
    for variant in range(1, size):
        first = within[:, 0, 0] > within[:, 0, variant]
        second = within[:, variant, variant] > within[:, variant, 0]
        shares[VARIANTS[variant]] = torch.cat([first, second]).double().mean().item()
    return shares


def without_padding(input_ids: Tensor) -> Tensor:
    """The columns that hold a word: (B, T) -> (B, T') with T' the longest text's length."""
    return input_ids[:, : int((input_ids != 0).sum(dim=1).max())]
