"""The embedded test split: written again with the same bytes, read by the field's tools, refused when damaged."""

import contextlib
import io
import json
import shutil
import zipfile
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from course_lib.authoring import dataset
from course_lib.data.microworld import captions, is_true, render, split_of, test_split
from course_lib.data.microworld.export import pixel_box, png, run_lengths, scene_of, scene_record
from course_lib.errors import FileError
from course_lib.files import MANIFEST, data_folder

FOLDER = data_folder() / "microworld"


def coco(path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_make_data_writes_the_same_bytes():
    for name, content in dataset.files().items():
        assert (FOLDER / name).read_bytes() == content, f"{name} differs: run make data"


@pytest.mark.slow
def test_the_card_is_in_step():
    assert (FOLDER / "README.md").read_bytes() == dataset.card()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools itself, with NumPy 2
def test_pycocotools_reads_the_objects():
    objects = coco(FOLDER / "test.json")
    assert len(objects.getImgIds()) == 400 and len(objects.getCatIds()) == 8
    for annotation in objects.loadAnns(objects.getAnnIds())[:200]:
        mask = objects.annToMask(annotation)
        left, top, width, height = annotation["bbox"]
        rows, columns = np.nonzero(mask)
        assert mask.sum() == annotation["area"] > 0
        assert left - 0.6 <= columns.min() and columns.max() + 1 <= left + width + 0.6
        assert top - 0.6 <= rows.min() and rows.max() + 1 <= top + height + 0.6


def test_pycocotools_reads_the_captions():
    said = coco(FOLDER / "test_captions.json")
    assert all(len(said.getAnnIds(imgIds=[i])) == 5 for i in said.getImgIds())


def test_the_test_split_agrees_with_itself():
    samples = test_split()
    assert Counter(sample.split for sample in samples) == {"test": 320, "held_out": 80}
    drawn = render([sample.scene for sample in samples])
    kinds = Counter()
    for sample, picture in zip(samples, drawn, strict=True):
        np.testing.assert_array_equal(sample.image, picture)
        assert sample.split == split_of(sample.scene) and sample.captions == captions(sample.scene)
        assert all(is_true(text, sample.scene) for text in sample.captions)
        boxes = [pixel_box(thing.box, 64) for thing in sample.scene.objects]
        assert sample.expressions and all(box in boxes for _, _, box in sample.expressions)
        for _, kind, right, answers in sample.questions:
            assert Counter(answers).most_common(1)[0][0] == right and len(answers) == 10
            kinds[kind] += 1
    assert set(kinds.values()) == {240} and len(kinds) == 8


def test_scenes_survive_json():
    for scene in dataset.test_scenes()[::20]:
        assert scene_of(json.loads(json.dumps(scene_record(scene)))) == scene


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (200, 150)])
def test_png_is_read_back_whatever_its_size(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    content = png(picture)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), picture)
    packed = content[content.index(b"IDAT") + 4 :]
    assert len(zlib.decompressobj().decompress(packed)) == size[0] * (1 + 3 * size[1])


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_run_lengths_are_cocos():
    from pycocotools import mask as coco_mask

    for fill in (0.0, 0.3, 1.0):
        mask = np.random.default_rng(1).random((9, 6)) < fill
        runs = run_lengths(mask)
        np.testing.assert_array_equal(coco_mask.decode(coco_mask.frPyObjects(runs, 9, 6)), mask)


def test_archive_is_stored_and_undated():
    with zipfile.ZipFile(FOLDER / "test_images.zip") as archive:
        assert archive.testzip() is None
        kinds = {(entry.compress_type, entry.date_time) for entry in archive.infolist()}
        assert kinds == {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))}


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_or_missing_file_is_named(damage, tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "microworld")
    shutil.copy(data_folder() / MANIFEST, tmp_path / MANIFEST)
    monkeypatch.setattr("course_lib.files.data_folder", lambda: tmp_path)
    assert len(test_split()) == 400
    victim = tmp_path / "microworld" / "test_images.zip"
    if damage == "change":
        victim.write_bytes(victim.read_bytes()[:-9] + b"x" * 9)
    else:
        victim.unlink()
    with pytest.raises(FileError, match="test_images.zip is (damaged|missing).*git checkout"):
        test_split()
