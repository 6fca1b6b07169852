import pytest
import torch
import torch.nn.functional as F

from course_lib.data import microworld
from course_lib.errors import FileError, InputError
from course_lib.evaluation.embedding import embed_images, embed_texts
from course_lib.models.clip import CLIP
from course_lib.models.recipes.inputs import pixel_values, word_tokenizer
from course_lib.models.vector_index import VectorIndex, hnsw
from course_lib.models.visual_search import Hit, VisualSearch
from course_lib.pretrained import course

SCENES = microworld.sample_scenes(60, seed=3, split="test")
PICTURES = torch.from_numpy(microworld.render(SCENES))
TEXTS = [microworld.captions(scene)[0] for scene in SCENES]


@pytest.fixture(scope="module")
def clip():
    return CLIP.from_weights(*course.load("clip")[:2])


@pytest.fixture(scope="module")
def engine(clip):
    engine = VisualSearch(clip, word_tokenizer(), pixel_values)
    engine.add(PICTURES, torch.arange(60) + 100)
    return engine


def test_text_to_picture_is_the_order_of_cosines(clip, engine):
    cosines = (embed_texts(clip, word_tokenizer()(TEXTS[:1])) @ embed_images(clip, pixel_values(PICTURES)).T)[0]
    order = cosines.argsort(descending=True)[:7]
    hits = engine.search(TEXTS[0], k=7)
    assert [hit.id - 100 for hit in hits] == order.tolist()
    assert [hit.score for hit in hits] == pytest.approx(cosines[order].tolist(), abs=1e-5)


def test_words_find_their_picture_and_a_picture_finds_itself(engine):
    first = [engine.search(text, k=1)[0].id - 100 for text in TEXTS]
    assert sum(found == wanted for wanted, found in enumerate(first)) >= 54
    hits = [engine.search(picture=picture, k=1)[0] for picture in PICTURES[:5]]
    assert [hit.id for hit in hits] == [100, 101, 102, 103, 104]
    assert all(hit.score > 0.999 for hit in hits) and isinstance(hits[0], Hit)


def test_both_together_lie_between_and_the_share_decides(engine):
    text, picture = TEXTS[0], PICTURES[9]
    words, shown = engine.query(text), engine.query(picture=picture)
    assert torch.allclose(engine.query(text, picture, 1.0), words, atol=1e-6)
    assert torch.allclose(engine.query(text, picture, 0.0), shown, atol=1e-6)
    both = engine.query(text, picture, 0.3)
    assert torch.allclose(both, F.normalize(0.3 * words + 0.7 * shown, dim=-1)) and both.norm() == pytest.approx(1)
    first = [engine.search(text, picture, k=1, text_share=share)[0].id for share in (0.9, 0.1)]
    assert first == [100, 109]


def test_an_index_is_loaded_only_for_its_own_pictures_and_model(clip, engine, tmp_path):
    path = engine.save(tmp_path / "pictures.index", PICTURES)
    again = VisualSearch(clip, word_tokenizer(), pixel_values)
    again.load(path, PICTURES)
    assert again.search(TEXTS[4], k=3) == engine.search(TEXTS[4], k=3)
    changed = PICTURES.clone()
    changed[59, 0, 0, 0] ^= 1
    with pytest.raises(FileError, match="another gallery"):
        again.load(path, changed)
    other = CLIP(clip.config).eval()
    with pytest.raises(FileError, match="by another model"):
        VisualSearch(other, word_tokenizer(), pixel_values).load(path, PICTURES)


def test_another_index_does_as_well(clip, engine):
    graph = VisualSearch(clip, word_tokenizer(), pixel_values, VectorIndex(hnsw(clip.config.projection_dim)))
    graph.add(PICTURES, torch.arange(60) + 100)
    assert [hit.id for hit in graph.search(TEXTS[0], k=3)] == [hit.id for hit in engine.search(TEXTS[0], k=3)]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda engine: engine.search(), "nothing to look for"),
        (lambda engine: engine.search("  "), "text is empty"),
        (lambda engine: engine.search("a star", PICTURES[0], text_share=1.5), "text_share is 1.5"),
        (lambda engine: engine.search(picture=PICTURES[0].float()), r"should be uint8 \(H, W, 3\)"),
        (lambda engine: engine.search(picture=PICTURES[:1]), "should be uint8"),
        (lambda engine: engine.search("a star", k=61), "k is 61; the gallery holds 60"),
        (lambda engine: engine.add(PICTURES[:1], torch.tensor([100])), "id 100 is there twice"),
        (lambda engine: engine.add(PICTURES[:0]), "no pictures"),
        (lambda engine: VisualSearch(engine.model, engine.tokenizer, engine.prepare).search("a star"), "empty"),
        (lambda engine: VisualSearch(engine.model, None, None).save("x", PICTURES), "nothing to save"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(engine, call, words):
    with pytest.raises(InputError, match=words):
        call(engine)
