"""The pixel values of published models: beside transformers' processors, both those on torchvision and on Pillow."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.data.preprocessing import Preprocessing, open_picture
from course_lib.errors import FileError, InputError

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
# What the files under these ids say, made smaller: old forms and new ones.
FILES = {
    "openai/clip-vit-base-patch32": {
        "feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 24, "size": 24, "do_center_crop": True,
        "do_normalize": True, "do_resize": True, "resample": 3, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
    "openai/clip-vit-large-patch14": {
        "image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 24, "width": 24},
        "size": {"shortest_edge": 24}, "rescale_factor": 0.00392156862745098, "do_rescale": True,
    },
    "google/siglip-base-patch16-224": {
        "image_processor_type": "SiglipImageProcessor", "size": {"height": 24, "width": 24}, "resample": 3,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098,
    },
    "kakaobrain/align-base": {
        "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 34, "width": 34},
        "crop_size": {"height": 29, "width": 29}, "do_center_crop": True, "do_normalize": False, "do_rescale": True,
        "rescale_factor": 0.00784313725490196, "rescale_offset": True, "include_top": False, "resample": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    },
    "google/efficientnet-b0": IMAGENET | {
        "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 22, "width": 22}, "resample": 2,
        "do_center_crop": False, "include_top": True, "rescale_offset": False, "image_std": [0.478, 0.473, 0.474],
    },
    "google/vit-base-patch16-224": {
        "feature_extractor_type": "ViTFeatureExtractor", "size": 24, "do_normalize": True, "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    },
    "microsoft/swin-tiny-patch4-window7-224": IMAGENET | {
        "feature_extractor_type": "ViTFeatureExtractor", "size": 24, "resample": 3,
    },
    "facebook/convnext-tiny-224": IMAGENET | {
        "feature_extractor_type": "ConvNextFeatureExtractor", "size": 24, "crop_pct": 0.875, "resample": 3,
    },
    "facebook/convnext-base-384": IMAGENET | {
        "feature_extractor_type": "ConvNextFeatureExtractor", "size": 384, "crop_pct": 1.0, "resample": 3,
    },
    "microsoft/resnet-50": IMAGENET | {
        "feature_extractor_type": "ConvNextFeatureExtractor", "size": {"shortest_edge": 25}, "crop_pct": 0.875,
    },
}  # fmt: skip


def noise(width, height, mode="RGB", seed=0):
    random = np.random.default_rng([width, height, seed])
    coarse = Image.fromarray(random.integers(0, 256, (height // 3 + 2, width // 3 + 2, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


SIZES = [(50, 40), (33, 51), (24, 24), (101, 31), (27, 64), (17, 13), (24, 90)]
MODES = ["P", "L", "RGBA", "LA", "1", "CMYK"]


def theirs(config, library):
    """transformers' processor of a file, from its class for this library."""
    import transformers

    said = config.get("image_processor_type") or config["feature_extractor_type"]
    kind = said.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    name = f"{kind}ImageProcessor{'Pil' if library == 'pillow' else ''}"
    return getattr(transformers, name).from_dict(config)


@pytest.mark.parametrize("library", ["torchvision", "pillow"])
@pytest.mark.parametrize("name", FILES)
def test_the_same_pixel_values_as_the_published_processor(name, library):
    ours, processor = Preprocessing.from_config(FILES[name], library), theirs(FILES[name], library)
    pictures = [noise(*size) for size in SIZES]
    pictures += [noise(43, 35, mode) for mode in MODES]
    pictures[-6].info["transparency"] = 0  # a palette with a colour that is not shown
    for picture in pictures:
        # Processors without do_convert_rgb take other modes for something else or fail; ours makes them RGB.
        given = picture if name.startswith(("openai", "google/siglip")) else picture.convert("RGB")
        wanted = torch.as_tensor(np.asarray(processor(given, return_tensors="pt")["pixel_values"]))
        got = ours(picture)
        assert got.shape == wanted.shape and got.dtype == wanted.dtype == torch.float32
        assert (got - wanted).abs().max() <= 1e-6, (picture.mode, picture.size)
    together = ours([picture for picture in pictures if picture.size == (43, 35)])
    assert torch.equal(together[0], ours(pictures[-6])[0])


def test_the_two_libraries_differ_by_little():
    both = [
        Preprocessing.from_config(FILES["openai/clip-vit-base-patch32"], name)(noise(333, 217))
        for name in ("torchvision", "pillow")
    ]
    difference = (both[0] - both[1]).abs()
    assert 0 < difference.max() < 3 / 255 / 0.26 and difference.gt(1e-5).float().mean() < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_is_turned_upright_as_transformers_turns_it(tmp_path, orientation):
    from transformers.image_utils import load_image

    notes = Image.Exif()
    notes[0x0112] = orientation
    noise(31, 22).save(tmp_path / "photo.jpg", exif=notes)
    upright = open_picture(tmp_path / "photo.jpg")
    assert upright.size == ((22, 31) if orientation > 4 else (31, 22))
    assert np.array_equal(upright, load_image(str(tmp_path / "photo.jpg")))
    # The picture itself, opened by Pillow alone, is taken as it is stored: as the processors take it.
    config = FILES["openai/clip-vit-base-patch32"]
    stored = Image.open(tmp_path / "photo.jpg")
    wanted = theirs(config, "torchvision")(stored, return_tensors="pt")["pixel_values"]
    assert (Preprocessing.from_config(config)(stored) - wanted).abs().max() <= 1e-6


def test_files_are_read_in_both_forms(tmp_path):
    config = FILES["google/vit-base-patch16-224"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    one = Preprocessing.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").rename(tmp_path / "processor_config.json")
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": config, "processor_class": "X"}))
    assert Preprocessing.from_pretrained(tmp_path) == one == Preprocessing.from_config(config)
    assert one.size == (24, 24) and one.crop is None and one.resample == 2


def test_what_is_not_there_or_not_known_is_said(tmp_path):
    with pytest.raises(FileError, match="preprocessor_config.json is not there"):
        Preprocessing.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="of kind 'DetrImageProcessor'; there are CLIP, Siglip, ViT"):
        Preprocessing.from_config({"image_processor_type": "DetrImageProcessor"})
    with pytest.raises(InputError, match="do_resize=false"):
        Preprocessing.from_config({"image_processor_type": "CLIPImageProcessor", "do_resize": False})
    with pytest.raises(InputError, match="filter 1"):
        Preprocessing.from_config({"image_processor_type": "CLIPImageProcessor", "resample": 1})
    with pytest.raises(InputError, match="library is 'opencv'"):
        Preprocessing.from_config({"image_processor_type": "CLIPImageProcessor"}, "opencv")
    with pytest.raises(InputError, match="there are no pictures"):
        Preprocessing.from_config({"image_processor_type": "CLIPImageProcessor"})([])
    (tmp_path / "no.jpg").write_text("no picture")
    with pytest.raises(FileError, match="no.jpg is not there or is no picture"):
        open_picture(tmp_path / "no.jpg")
