import pytest
import torch
import torch.nn.functional as F

from course_lib.encoders.convnet import ConvNetConfig
from course_lib.errors import InputError
from course_lib.evaluation.retrieval import recall_at_k
from course_lib.layers.recurrent import from_torch
from course_lib.models.fusion import FusionConfig
from course_lib.models.pointer_vqa import PointerVQA
from course_lib.models.reranker import Reranker, rerank
from course_lib.models.vse import VSE, VSEConfig

SMALL = VSEConfig(20, ConvNetConfig(image_size=16, channels=(6, 8), strides=(2, 2)), word_width=5, embed_dim=7)
IDS = torch.tensor([[1, 5, 9, 2, 0, 0], [1, 7, 2, 0, 0, 0], [1, 3, 4, 8, 9, 2]])


def vse() -> VSE:
    torch.manual_seed(0)
    return VSE(SMALL).eval()


def test_vse_compares_every_picture_with_every_sentence():
    model, pixels = vse(), torch.randn(4, 3, 16, 16)
    cosines = model(pixels, IDS)
    assert cosines.shape == (4, 3) and (cosines.abs() <= 1 + 1e-6).all()
    embeds = F.normalize(model.encode_image(pixels), dim=-1) @ F.normalize(model.encode_text(IDS), dim=-1).T
    assert torch.allclose(cosines, embeds)


def test_a_sentence_is_the_state_of_nn_gru_after_its_last_word():
    model = vse()
    theirs = torch.nn.GRU(5, 7, batch_first=True)
    model.gru.load_state_dict(from_torch(theirs.state_dict()))
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        model.words(IDS), (IDS != 0).sum(1), batch_first=True, enforce_sorted=False
    )
    assert torch.allclose(model.encode_text(IDS), theirs(packed)[1][-1], atol=1e-6)


def test_padding_changes_no_sentence_and_the_order_of_words_does():
    model = vse()
    assert torch.allclose(model.encode_text(IDS), model.encode_text(F.pad(IDS, (0, 3))), atol=1e-6)
    swapped = IDS[:, [0, 2, 1, 3, 4, 5]]
    assert not torch.allclose(model.encode_text(IDS), model.encode_text(swapped), atol=1e-3)


def test_a_mean_over_places_is_blind_to_where_things_are():
    model, feature_map = vse(), torch.randn(2, 8, 4, 4)
    shuffled = feature_map.flatten(2)[..., torch.randperm(16)].view(2, 8, 4, 4)
    assert torch.allclose(model.encode_feature_map(feature_map), model.encode_feature_map(shuffled), atol=1e-6)


def test_vse_refuses_ids_it_does_not_know():
    with pytest.raises(InputError):
        vse().encode_text(torch.tensor([[1, 20]]))


def small_reranker() -> Reranker:
    torch.manual_seed(0)
    return Reranker(FusionConfig(20, answers=2, region_width=10, place=6, width=8, hidden=12, pointers=2)).eval()


def test_the_score_is_the_log_odds_of_the_two_logits():
    model = small_reranker()
    regions, mask = torch.randn(3, 5, 10), torch.ones(3, 5, dtype=torch.bool)
    logits = model(regions, mask, IDS)
    assert logits.shape == (3, 2)
    odds = logits.softmax(-1)
    assert torch.allclose(model.score(regions, mask, IDS), (odds[:, 1] / odds[:, 0]).log(), atol=1e-5)
    alone = PointerVQA(model.config)
    alone.load_state_dict(model.reader.state_dict())
    assert torch.equal(alone.eval()(regions, mask, IDS), logits)
    with pytest.raises(InputError, match="matching has 2"):
        Reranker(FusionConfig(20, answers=3))


def test_the_score_reads_both_the_picture_and_the_sentence():
    model = small_reranker()
    regions, mask = torch.randn(1, 5, 10), torch.ones(1, 5, dtype=torch.bool)
    scores = [model.score(regions + shift, mask, ids[None]) for shift in (0, 1) for ids in IDS[:2]]
    assert len({round(score.item(), 6) for score in scores}) == 4


def test_reranking_sets_the_first_places_in_order_and_leaves_the_rest():
    generator = torch.Generator().manual_seed(0)
    similarity, second = torch.randn(6, 9, generator=generator), torch.randn(6, 9, generator=generator)
    asked = []

    def score(rows, columns):
        asked.append(len(rows))
        return second[rows, columns]

    new = rerank(similarity, score, k=4, batch_size=5)
    assert sum(asked) == 24 and max(asked) == 5
    before, after = (matrix.argsort(dim=1, descending=True) for matrix in (similarity, new))
    assert torch.equal(after[:, 4:], before[:, 4:])
    for query in range(6):
        wanted = sorted(before[query, :4].tolist(), key=lambda n: -second[query, n])
        assert after[query, :4].tolist() == wanted
    positives = torch.rand(6, 9, generator=generator) < 0.2
    positives[:, 0] = True
    assert recall_at_k(new, 4, positives) == recall_at_k(similarity, 4, positives)


def test_with_the_whole_gallery_only_the_second_model_counts():
    similarity, second = torch.randn(5, 7), torch.randn(5, 7)
    new = rerank(similarity, lambda rows, columns: second[rows, columns], k=7)
    assert torch.equal(new.argsort(dim=1), second.argsort(dim=1))


def test_both_models_vote_as_the_weight_says():
    similarity, second = torch.tensor([[0.9, 0.8, 0.1]]), torch.tensor([[0.0, 1.0, 5.0]])

    def order(weight):
        return rerank(similarity, lambda r, c: second[r, c], 2, weight).argsort(dim=1, descending=True)[0].tolist()

    assert order(0.0) == order(9.0) == [1, 0, 2] and order(11.0) == [0, 1, 2]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: rerank(torch.zeros(2, 3), lambda r, c: r * 1.0, k=4), "k from 1 to N"),
        (lambda: rerank(torch.zeros(2, 3), lambda r, c: r * 1.0, k=0), "k is 0"),
        (lambda: rerank(torch.zeros(3), lambda r, c: r * 1.0, k=1), "should be"),
        (lambda: rerank(torch.zeros(2, 3), lambda r, c: r * torch.nan, k=2), "not finite"),
    ],
)
def test_what_cannot_be_reranked_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
