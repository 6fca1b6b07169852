import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.evaluation import protocols
from course_lib.evaluation.protocols import COCO_1K, COCO_5K, FLICKR30K, Protocol, five_captions


def by_loops(similarity, ks):
    """Both directions, query by query: what the protocols are in words."""
    counts = {way: dict.fromkeys(ks, 0) for way in ("image_to_text", "text_to_image")}
    for picture, row in enumerate(similarity):
        own = torch.arange(5 * picture, 5 * picture + 5)
        before = int((row >= row[own].max()).sum() - (row[own] >= row[own].max()).sum())
        for k in ks:
            counts["image_to_text"][k] += before < k
    for text, column in enumerate(similarity.T.contiguous()):
        before = int((column >= column[text // 5]).sum()) - 1
        for k in ks:
            counts["text_to_image"][k] += before < k
    total = {"image_to_text": len(similarity), "text_to_image": similarity.shape[1]}
    return {way: {f"R@{k}": found / total[way] for k, found in at.items()} for way, at in counts.items()}


def scores(pictures, seed=0, noise=1.5):
    generator = torch.Generator().manual_seed(seed)
    own = (torch.arange(pictures)[:, None] == torch.arange(5 * pictures) // 5).float()
    # One decimal place, so that there are ties.
    return (own + noise * torch.randn(own.shape, generator=generator)).round(decimals=1)


@pytest.mark.parametrize("folds", [1, 5])
def test_both_directions_and_the_folds_equal_a_loop_over_queries(folds):
    similarity = scores(30)
    found = Protocol("thirty", 30, folds)(similarity, ks=(1, 3, 10))
    size = 30 // folds
    parts = [similarity[s : s + size, 5 * s : 5 * (s + size)] for s in range(0, 30, size)]
    wanted = [by_loops(part, (1, 3, 10)) for part in parts]
    total = 0.0
    for way in ("image_to_text", "text_to_image"):
        for name in ("R@1", "R@3", "R@10"):
            mean = sum(part[way][name] for part in wanted) / folds
            total += 100 * mean
            assert found[way][name] == pytest.approx(mean)
    assert 0 < total < 600 and found["both"]["rsum"] == pytest.approx(total)


def test_the_protocols_have_the_sizes_of_the_data_sets():
    assert (FLICKR30K.pictures, FLICKR30K.folds) == (1_000, 1)
    assert (COCO_5K.pictures, COCO_5K.folds) == (5_000, 1)
    assert (COCO_1K.pictures, COCO_1K.folds) == (5_000, 5)


@pytest.mark.slow
def test_coco_by_loops_at_its_real_size():
    similarity = scores(5_000, noise=0.5)
    wanted = [by_loops(similarity[s : s + 1000, 5 * s : 5 * (s + 1000)], (1, 5, 10)) for s in range(0, 5_000, 1_000)]
    found = COCO_1K(similarity)
    for way in ("image_to_text", "text_to_image"):
        for name, value in wanted[0][way].items():
            assert found[way][name] == pytest.approx(sum(part[way][name] for part in wanted) / 5), (way, name, value)
    assert COCO_5K(similarity)["text_to_image"]["R@1"] < found["text_to_image"]["R@1"]  # a larger gallery is harder


def test_embeddings_give_what_their_similarity_gives():
    generator = torch.Generator().manual_seed(0)
    images = F.normalize(torch.randn(20, 8, generator=generator), dim=1)
    texts = F.normalize(images.repeat_interleave(5, 0) + torch.randn(100, 8, generator=generator), dim=1)
    protocol = Protocol("twenty", 20)
    assert protocol.of_embeddings(images, texts) == protocol(images @ texts.T)
    with pytest.raises(InputError, match="text_embeds should hold vectors of length 1"):
        protocol.of_embeddings(images, 2 * texts)
    with pytest.raises(InputError, match=r"text_embeds has shape \(100, 7\)"):
        protocol.of_embeddings(images, texts[:, :7])


def test_another_number_of_pictures_or_captions_is_refused():
    with pytest.raises(InputError, match=r"Flickr30k 1K has 1,000 pictures with 5 captions each.*\(1000, 5000\)"):
        FLICKR30K(torch.zeros(1_000, 4_999))


def test_a_sixth_caption_is_left_out_and_a_missing_one_refused():
    assert five_captions([list("abcdef"), list("ghijk")]) == list("abcdeghijk")
    with pytest.raises(InputError, match="picture 1 has 4 captions"):
        five_captions([list("abcde"), list("abcd")])
    assert protocols.CAPTIONS == 5
