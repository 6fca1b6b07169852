"""The real loading code on folders of parquet files that have the columns of the Hub's repositories."""

import io
from itertools import islice

import datasets
import numpy as np
import pytest
from PIL import Image

from course_lib.authoring import stand_ins
from course_lib.data import hub
from course_lib.errors import InputError, OfflineError


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8))


ROWS = {
    "coco_captions": {"answer": [["a", "b"], ["c"]], "id": [7, 8], "question_id": ["7.jpg", "8.jpg"]},
    "flickr30k": {"caption": [list("abcde"), list("fghij")], "img_id": ["0", "1"]},
    "vqav2": {
        "question": ["how many?", "is it?"],
        "answers": [[{"answer": str(n), "answer_confidence": "yes", "answer_id": n} for n in range(10)]] * 2,
        "question_type": ["how many", "is it"],
        "multiple_choice_answer": ["3", "no"],
        "question_id": [1, 2],
    },
    "refcoco": {
        "bbox": [[1.0, 2.0, 3.0, 4.0]] * 2,
        "answer": [["the left one"], ["it", "that"]],
        "question_id": ["x", "y"],
    },
    "pope": {"question": ["is there a dog?"] * 2, "answer": ["yes", "no"], "question_id": ["1", "2"]},
    "docvqa": {"question": ["total?", "name?"], "answers": [["12", "12.00"], ["Ada"]], "questionId": ["1", "2"]},
}


def write(root, name, split=None, config="default", **columns):
    entry = hub.DATA_SETS[name]
    folder = root / entry.repository / (entry.config or config)
    folder.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict({"image": [picture(0), picture(1)]} | columns, features=None).cast_column(
        "image", datasets.Image()
    )
    table.to_parquet(folder / f"{split or entry.splits[0]}-00000-of-00001.parquet")
    card(root / entry.repository, {entry.config or config: [split or entry.splits[0]]})


def card(folder, configs):
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("streaming", [True, False])
def test_samples_have_the_same_types_whatever_the_columns(tmp_path, name, streaming):
    write(tmp_path, name, **ROWS[name])
    samples = list(hub.load(name, root=tmp_path, streaming=streaming))
    assert len(samples) == 2
    for sample in samples:
        assert isinstance(sample.image, Image.Image) and sample.image.mode == "RGB" and sample.image.size == (16, 12)
        assert isinstance(sample.id, str)
    first, second = samples
    assert np.array_equal(first.image, picture(0)) and np.array_equal(second.image, picture(1))
    if name == "coco_captions":
        assert first.captions == ("a", "b") and second.captions == ("c",) and first.id == "7"
    if name == "flickr30k":
        assert second.captions == tuple("fghij")
    if name == "vqav2":
        assert first.answer == "3" and first.answers == tuple("0123456789") and first.kind == "how many"
    if name == "refcoco":
        assert first.box == (1.0, 2.0, 4.0, 6.0) and second.expressions == ("it", "that")
    if name == "pope":
        assert [sample.answer for sample in samples] == ["yes", "no"]
    if name == "docvqa":
        assert first.answer == "12" and first.answers == ("12", "12.00")


def test_gqa_joins_questions_with_pictures_kept_apart(tmp_path):
    folder = tmp_path / "lmms-lab-encoder/GQA"
    for config in ("testdev_balanced_instructions", "testdev_balanced_images"):
        (folder / config).mkdir(parents=True)
    questions = {"question": ["q1", "q2", "q3"], "answer": ["a1", "a2", "a3"], "imageId": ["n2", "n1", "n2"]}
    datasets.Dataset.from_dict(questions).to_parquet(folder / "testdev_balanced_instructions/testdev-0.parquet")
    images = datasets.Dataset.from_dict({"id": ["n1", "n2"], "image": [picture(1), picture(2)]})
    images.cast_column("image", datasets.Image()).to_parquet(folder / "testdev_balanced_images/testdev-0.parquet")
    card(folder, {"testdev_balanced_instructions": ["testdev"], "testdev_balanced_images": ["testdev"]})
    samples = list(hub.load("gqa", root=tmp_path))
    assert [sample.question for sample in samples] == ["q1", "q2", "q3"]
    for sample, seed in zip(samples, (2, 1, 2), strict=True):
        assert np.array_equal(sample.image, picture(seed))


def test_a_missing_column_is_named_with_those_found(tmp_path):
    write(tmp_path, "flickr30k", sentences=["one", "two"], img_id=["0", "1"])
    with pytest.raises(InputError, match=r"lmms-lab-encoder/flickr30k .*no column 'caption'; it has .*'sentences'"):
        list(hub.load("flickr30k", root=tmp_path))


def test_columns_with_something_else_in_them_are_named(tmp_path):
    write(tmp_path, "vqav2", **ROWS["vqav2"] | {"answers": [[1, 2], [3, 4]]})
    with pytest.raises(InputError, match=r"lmms-lab-encoder/VQAv2 has the columns expected.*answers: list"):
        list(hub.load("vqav2", root=tmp_path))


def test_unknown_names_splits_and_limits(tmp_path):
    with pytest.raises(InputError, match="no data set 'imagenet'; there are coco_captions"):
        hub.load("imagenet")
    with pytest.raises(InputError, match="no split 'train'; it has val, testA, testB"):
        hub.load("refcoco", "train")
    with pytest.raises(InputError, match="limit is 0"):
        hub.load("refcoco", limit=0)
    with pytest.raises(InputError, match="has no lmms-lab-encoder/POPE"):
        list(hub.load("pope", root=tmp_path))


def test_limit_stops_early_and_the_environment_names_the_folder(tmp_path, monkeypatch):
    write(tmp_path, "pope", **ROWS["pope"])
    monkeypatch.setenv("COURSE_HUB_ROOT", str(tmp_path))
    assert len(list(hub.load("pope", limit=1))) == 1


def test_without_a_network_it_says_so(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.delenv("COURSE_HUB_ROOT", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(OfflineError, match="lmms-lab-encoder/POPE .*could not be reached"):
        list(hub.load("pope"))


def test_the_installed_library_offline_ends_in_the_same_error(monkeypatch):
    """No stand-in here: `datasets` itself, told that there is no network."""
    monkeypatch.delenv("COURSE_HUB_ROOT", raising=False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineError, match="lmms-lab-encoder/flickr30k"):
        list(hub.load("flickr30k"))


def jpeg(seed, orientation=None):
    file, notes = io.BytesIO(), Image.Exif()
    if orientation:
        notes[0x0112] = orientation
    picture(seed).save(file, "JPEG", exif=notes)
    return file.getvalue()


@pytest.fixture
def damaged(tmp_path):
    """Seven rows of Flickr30k's columns: whole, broken, no picture, no caption, an empty one, a repeat, turned."""
    whole = jpeg(0)
    files = [whole, whole[: len(whole) // 2], None, whole, jpeg(1), whole, jpeg(2, orientation=6)]
    write(tmp_path, "flickr30k")
    columns = {
        "image": [file and {"bytes": file, "path": None} for file in files],
        "caption": [["a", "b"], ["c"], ["d"], [], ["e", "  "], ["a", "b"], ["f"]],
        "img_id": ["0", "1", "2", "3", "4", "0", "6"],
    }
    features = {
        "image": datasets.Image(decode=False),
        "caption": datasets.Sequence(datasets.Value("string")),
        "img_id": datasets.Value("string"),
    }
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    table.to_parquet(tmp_path / "lmms-lab-encoder/flickr30k/default/test-00000-of-00001.parquet")
    return tmp_path


@pytest.mark.parametrize("streaming", [True, False])
def test_damaged_rows_are_skipped_and_counted(damaged, streaming):
    samples = hub.load("flickr30k", root=damaged, streaming=streaming)
    first, *others = islice(samples, 2)  # an iterator: it goes on where it stopped
    others += samples
    assert first.captions == ("a", "b") and [sample.captions for sample in others] == [("e",), ("f",)]
    assert [sample.id for sample in others] == ["4", "6"]
    assert samples.skipped == {"broken picture": 2, "no text": 1, "duplicate": 1}
    assert "2 skipped (broken picture), 1 skipped (no text), 1 skipped (duplicate)" in str(samples)
    assert others[1].image.size == (12, 16)  # upright: the file says that the camera was turned


def test_a_limit_counts_samples_and_not_rows(damaged):
    samples = hub.load("flickr30k", root=damaged, limit=2)
    assert [sample.id for sample in samples] == ["0", "4"] and samples.skipped.total() == 3


def test_a_split_without_one_whole_row_is_an_error(tmp_path):
    write(tmp_path, "flickr30k", caption=[[], [" "]], img_id=["0", "1"])
    with pytest.raises(InputError, match=r"no row of lmms-lab-encoder/flickr30k .*could be used: 2 skipped \(no text"):
        list(hub.load("flickr30k", root=tmp_path))


def test_a_bar_counts_and_says_what_was_skipped(damaged, capsys):
    list(hub.load("flickr30k", root=damaged))
    assert "lmms-lab-encoder" not in capsys.readouterr().err
    list(hub.load("flickr30k", root=damaged, progress=True))
    shown = capsys.readouterr().err
    assert "lmms-lab-encoder/flickr30k: 3" in shown and "4 skipped" in shown


def test_samples_by_number(damaged):
    from torch.utils.data import DataLoader

    table = hub.table("flickr30k", root=damaged)
    assert len(table) == 7 and table[0].id == "0" and table[-1].image.size == (12, 16)
    with pytest.raises(InputError, match="row 1 of lmms-lab-encoder/flickr30k is damaged: its picture cannot be read"):
        table[1]
    with pytest.raises(InputError, match="row 3 of .* it has no text"):
        table[3]
    with pytest.raises(IndexError, match="there are 7 samples, and no number 7"):
        table[7]
    loader = DataLoader(hub.table("flickr30k", root=damaged, limit=1), collate_fn=lambda batch: batch)
    assert [batch[0].captions for batch in loader] == [("a", "b")]


@pytest.mark.slow
def test_gqas_pictures_by_number(tmp_path):
    stand_ins.data_sets(tmp_path, "gqa")
    table = hub.table("gqa", root=tmp_path)
    streamed = list(hub.load("gqa", root=tmp_path))
    assert len(table) == len(streamed) == 12
    for index in (0, 5, 11):
        assert table[index].question == streamed[index].question
        assert np.array_equal(table[index].image, streamed[index].image)


def test_a_downloaded_split_is_kept(tmp_path):
    """The second time nothing is written: the rows come out of the cache."""
    write(tmp_path, "pope", **ROWS["pope"])
    assert len(hub.table("pope", root=tmp_path)) == 2
    kept = sorted((tmp_path / "cache").rglob("*.arrow"))
    assert kept
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(list(hub.load("pope", root=tmp_path, streaming=False))) == 2
    assert sorted((tmp_path / "cache").rglob("*.arrow")) == kept and [p.stat().st_mtime_ns for p in kept] == times


@pytest.mark.slow
@pytest.mark.parametrize("name", hub.DATA_SETS)
def test_the_stand_ins_have_the_columns_of_the_table(tmp_path, name):
    stand_ins.data_sets(tmp_path, name)
    samples = hub.load(name, root=tmp_path)
    assert len(list(samples)) == 12 and not samples.skipped
