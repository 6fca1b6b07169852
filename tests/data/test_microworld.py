"""The microworld: same bytes everywhere, splits that share nothing, pictures and boxes that agree, bad input."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from course_lib.data.microworld import (
    COLOURS,
    HELD_OUT,
    MATERIALS,
    PAIRS,
    SEEN,
    SHAPES,
    SIZES,
    SPLITS,
    Object,
    Scene,
    annotations,
    captions,
    masks,
    noisy_captions,
    pairs,
    questions,
    referring_expressions,
    render,
    sample_scenes,
    single_object_scenes,
    split_of,
)
from course_lib.data.microworld.colours import RGB
from course_lib.data.microworld.world import table
from course_lib.errors import InputError

# SHA-256 of what the seeds below give. They change only when the microworld is meant to change; then so do the embedded
# test split and every checkpoint trained on it.
HASHES = {
    "scenes": "c592ef2e4a9a3f80bd2e9e9770a30db56bad517f990edd8711eff3b7a547763f",
    "pictures": "5683d0883bbc31721e8c346a7d399c910bfafe7a6980baae403a781d9e7ecee7",
    "pictures at 100": "c12f644b5a9e66670c4bd31639195e003486f9c125a425e9bc6e201ef6aab3b1",
    "masks": "369bd01b4a6eec4251912cc511ff1098bb1f030bb487b8eef6d51e9dfef53777",
    "boxes": "39bac11df2579a26a716eaa2af03b2892cd32c116f3c3580585a5fbfdecd3dc8",
    "captions": "10c323d215e71575f174a621c28d601047ae9af161f92f2dc39d125cb9a56c86",
    "noisy captions": "b32d92df34c4beaf586e7ca3f8202909c1d37cdc828d9f4bbdbbe2b13a7be7fa",
    "questions": "4e59e8ea47b9e72caa8963563065ae5c67a5f1d9684f1d5653476dc937407de8",
    "expressions": "a7e5462a4d6b463ad82fd4a75a18f65fffa4edf7b24494612615e99087869766",
}


def digests() -> dict[str, str]:
    scenes = sample_scenes(300, 0) + sample_scenes(60, 1, "held_out") + single_object_scenes(64, 2)
    some = scenes[:24]
    content = {
        "scenes": repr(scenes).encode(),
        "pictures": render(scenes).tobytes(),
        "pictures at 100": render(some, 100).tobytes(),
        "masks": masks(some).tobytes(),
        "boxes": annotations(scenes).boxes.tobytes(),
        "captions": repr([captions(scene) for scene in scenes]).encode(),
        "noisy captions": repr(noisy_captions(scenes, 3)).encode(),
        "questions": repr([questions(scene, rounds=2) for scene in scenes]).encode(),
        "expressions": repr([referring_expressions(scene) for scene in scenes]).encode(),
    }
    return {name: hashlib.sha256(found).hexdigest() for name, found in content.items()}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return sample_scenes(400, 7) + sample_scenes(100, 7, "held_out")


def test_same_seed_same_bytes():
    assert digests() == HASHES


def test_same_bytes_in_another_process_with_other_hashing_and_processor_features():
    code = "import runpy, sys; found = runpy.run_path(sys.argv[1]); print(found['digests']() == found['HASHES'])"
    # Without its vector instructions NumPy takes other code paths, as it does on other processors.
    other = os.environ | {"PYTHONHASHSEED": "7", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX"}
    done = subprocess.run([sys.executable, "-c", code, __file__], env=other, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_fewer_scenes_are_the_first_of_more_and_seeds_differ():
    assert sample_scenes(1500, 3)[:40] == sample_scenes(40, 3)
    assert sample_scenes(40, 3) != sample_scenes(40, 4)
    assert single_object_scenes(200, 3)[:70] == single_object_scenes(70, 3)


def test_a_picture_does_not_depend_on_the_others_drawn_with_it(scenes):
    together = render(scenes[:300])
    for i in (0, 17, 255, 256, 299):
        np.testing.assert_array_equal(together[i], render([scenes[i]])[0])
    np.testing.assert_array_equal(masks(scenes[:9], 48)[8], masks([scenes[8]], 48)[0])
    assert len(np.unique(together.reshape(300, -1), axis=0)) == 300


def signature(scene: Scene) -> tuple:
    """What a split is decided by, written down independently of the library."""
    cells = [(o.shape, o.colour, o.size, o.material, int(o.x * 8), int(o.y * 8)) for o in scene.objects]
    return scene.background, tuple(sorted(cells))


def test_splits_share_no_scene_whatever_the_seed_and_count():
    drawn = ((0, 1500), (1, 400), (2026, 700))
    found = {
        split: {signature(scene) for seed, count in drawn for scene in sample_scenes(count, seed, split)}
        for split in SPLITS
    }
    single = {signature(s) for seed in range(3) for s in single_object_scenes(500, seed)}
    for i, split in enumerate(SPLITS):
        for other in SPLITS[i + 1 :]:
            assert not found[split] & found[other]
    assert not single & (found["train"] | found["validation"])


def test_a_scene_belongs_to_the_split_it_was_drawn_for_even_turned_round(scenes):
    for split in SPLITS:
        for scene in sample_scenes(60, 11, split):
            assert split_of(scene) == split
            turned = Scene(scene.objects[::-1], scene.background, (scene.tint + 1) % 8, -scene.light, scene.grain ^ 1)
            assert split_of(turned) == split


def test_held_out_pairs_are_a_latin_choice_and_in_no_other_split(scenes):
    assert sorted(colour for colour, _ in HELD_OUT) == sorted(COLOURS)
    assert sorted(shape for _, shape in HELD_OUT) == sorted(SHAPES)
    assert set(SEEN) | HELD_OUT == set(PAIRS) and len(SEEN) == 56
    for split in SPLITS[:3]:
        shown = {o.pair for scene in sample_scenes(2000, 5, split) for o in scene.objects}
        assert shown == set(SEEN)
    for scene in sample_scenes(500, 5, "held_out"):
        assert any(o.pair in HELD_OUT for o in scene.objects)


def test_every_kind_of_thing_occurs_and_about_as_often(scenes):
    drawn = table(sample_scenes(4000, 9))
    used = np.arange(4) < drawn.count[:, None]
    for column, words in enumerate((SHAPES, COLOURS, SIZES, MATERIALS)):
        share = np.bincount(drawn.attributes[..., column][used], minlength=len(words)) / used.sum()
        # Large objects find room less often, so sizes are the least even.
        assert share.min() > 0.8 / len(words) and share.max() < 1.2 / len(words)
    assert np.bincount(drawn.count, minlength=5)[1:].min() > 0.15 * 4000
    assert np.bincount(drawn.background).min() > 0.18 * 4000


def test_objects_lie_inside_and_hardly_overlap(scenes):
    for scene in scenes:
        for i, o in enumerate(scene.objects):
            assert min(o.x, o.y) - o.radius > 0 and max(o.x, o.y) + o.radius < 1
            left, top, right, bottom = o.box
            assert 0 < left < right < 1 and 0 < top < bottom < 1
            for other in scene.objects[:i]:
                apart = (o.x - other.x) ** 2 + (o.y - other.y) ** 2
                assert apart >= (0.9599 * (o.radius + other.radius)) ** 2
    radii = {size: [o.radius for s in scenes for o in s.objects if o.size == size] for size in SIZES}
    assert max(radii["small"]) < 0.85 * min(radii["large"])
    for scene in scenes:
        widths = {size: [o.radius for o in scene.objects if o.size == size] for size in SIZES}
        assert max(widths["small"], default=0) < 0.75 * min(widths["large"], default=1)


def test_boxes_hold_the_masks_exactly(scenes):
    size, some = 256, scenes[:100]
    seen, dense = masks(some, size), annotations(some)
    for i, scene in enumerate(some):
        assert dense.count[i] == len(scene.objects)
        for k, o in enumerate(scene.objects):
            np.testing.assert_allclose(dense.boxes[i, k], o.box, atol=1e-6)
            named = SHAPES[dense.shape[i, k]], COLOURS[dense.colour[i, k]]
            assert named == (o.shape, o.colour)
            assert (SIZES[dense.size[i, k]], MATERIALS[dense.material[i, k]]) == (o.size, o.material)
            # Alone in the picture, so that nothing hides a part of it.
            alone = masks([Scene((o,), "plain", 0, 0.0, 0)], size)[0, 0]
            rows, columns = np.nonzero(alone)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(np.array(found) - np.array(o.box) * size).max() < 0.75
            assert (seen[i, k] & ~alone).sum() == 0 and seen[i, k].sum() > 0.9 * alone.sum()
        for k in range(len(scene.objects), 4):
            assert dense.shape[i, k] == dense.material[i, k] == -1
            assert not dense.boxes[i, k].any() and not seen[i, k].any()
        assert seen[i].sum(axis=0).max() <= 1


def test_pixels_have_the_colour_that_the_scene_says():
    for colour, rgb in RGB.items():
        for shape in SHAPES:
            scene = Scene((Object(shape, colour, "large", "plain", 0.5, 0.5, 0.25, 0.05),), "checks", 3, 0.2, 5)
            picture, mask = render([scene], 64)[0], masks([scene], 64)[0, 0]
            nearest = min(RGB, key=lambda name: np.abs(np.median(picture[mask], axis=0) - RGB[name]).sum())
            assert nearest == colour
            # And the shadow is the only thing outside: nothing of the colour's saturation.
            grey = picture[~mask].astype(int)
            assert np.ptp(np.median(grey, axis=0)) < 40 <= max(np.ptp(rgb), 40)


def test_materials_light_and_size_change_the_picture():
    def draw(material="plain", light=0.0, size=64):
        thing = Object("circle", "blue", "large", material, 0.5, 0.5, 0.25, 0.0)
        return render([Scene((thing,), "plain", 0, light, 0)], size)[0]

    drawn = [draw(material) for material in MATERIALS]
    assert all((a != b).any() for i, a in enumerate(drawn) for b in drawn[:i])
    lit_from_left, lit_from_right = (draw(light=light).astype(int) for light in (-0.4, 0.4))
    assert lit_from_left[:, :32].sum() != lit_from_left[:, 32:].sum()
    # A symmetric object under mirrored light gives the mirrored picture.
    assert np.abs(lit_from_left - lit_from_right[:, ::-1]).max() <= 1
    assert draw(size=16).shape == (16, 16, 3) and draw(size=129).shape == (129, 129, 3)
    # The same scene at twice the size, averaged down, is nearly the same picture.
    half = draw(size=128).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - draw()).mean() < 1.5


def test_pairs_are_the_scenes_pictures_and_captions():
    images, texts = pairs(12, 4, "validation")
    scenes = sample_scenes(12, 4, "validation")
    np.testing.assert_array_equal(images, render(scenes))
    assert texts == [captions(scene) for scene in scenes]
    assert images.dtype == np.uint8 and images.shape == (12, 64, 64, 3)
    empty, none = pairs(0, 4)
    assert empty.shape == (0, 64, 64, 3) and none == []


def test_single_objects_show_the_pairs_in_turn():
    scenes = single_object_scenes(130, 0)
    assert [scene.objects[0].pair for scene in scenes] == [PAIRS[i % 64] for i in range(130)]
    assert all(len(scene.objects) == 1 for scene in scenes)
    assert {split_of(s) for s in scenes if s.objects[0].pair in HELD_OUT} == {"held_out"}
    assert {split_of(s) for s in scenes if s.objects[0].pair not in HELD_OUT} == {"test"}
    chosen = single_object_scenes(16, 0, sorted(HELD_OUT))
    assert [scene.objects[0].pair for scene in chosen[:8]] == sorted(HELD_OUT)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sample_scenes(1, 0, "dev"), "no split 'dev'.*train, validation, test, held_out"),
        (lambda: sample_scenes(-1, 0), "count is -1"),
        (lambda: sample_scenes(1, -3), "seed is -3"),
        (lambda: sample_scenes(1, 0, min_objects=3, max_objects=2), "1 to 4 objects; asked for 3 to 2"),
        (lambda: sample_scenes(1, 0, max_objects=9), "1 to 4 objects"),
        (lambda: single_object_scenes(1, 0, [("red", "teapot")]), r"\('red', 'teapot'\)"),
        (lambda: single_object_scenes(1, 0, []), "got none"),
        (lambda: render(sample_scenes(1, 0), 8), "size is 8; .* 16 pixels"),
        (lambda: render(sample_scenes(1, 0)[0]), r"put it in brackets: \[scene\]"),
        (lambda: masks(sample_scenes(1, 0), 0), "size is 0"),
        (lambda: noisy_captions(sample_scenes(1, 0), 0, 1.5), "rate is 1.5"),
        (lambda: noisy_captions(sample_scenes(1, 0), -1), "seed is -1"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
