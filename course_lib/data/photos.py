"""Photographs that need no network: they ship inside scikit-image and scikit-learn, which the course installs anyway.

Captions, questions and boxes are the course's own (`data/photos/photos.yml`, where every entry names its source and
licence). A dozen photographs train nothing; they are what the full-scale parts look at with published weights.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import yaml
from PIL import Image

from course_lib.errors import FileError, InputError, OfflineError
from course_lib.files import embedded


@dataclass(frozen=True)
class Photo:
    """One photograph and what is said of it.

    Attributes:
        name: how the course calls it.
        label: what it shows, to go into a prompt: "a photo of {label}".
        image: PIL, RGB.
        captions: three or more sentences.
        questions: (question, answer, type); types are object, colour, count, yes/no, where, read.
        boxes: (what, (left, top, right, bottom)) in pixels of `image`.
        source: where it comes from.
        licence: on what terms.
    """

    name: str
    label: str
    image: Image.Image
    captions: tuple[str, ...]
    questions: tuple[tuple[str, str, str], ...]
    boxes: tuple[tuple[str, tuple[int, int, int, int]], ...]
    source: str
    licence: str


def names() -> list[str]:
    """The names of all photographs, in the order in which `photos` gives them."""
    return [entry["name"] for entry in _entries()]


def photos(wanted: list[str] | None = None) -> list[Photo]:
    """The photographs with their captions, questions and boxes.

    Args:
        wanted: the names of those wanted, in that order; all twelve when left out.

    Raises:
        InputError: no photograph has that name.
        OfflineError: the installed scikit-image or scikit-learn does not bring a photograph along.
        FileError: the annotations are damaged.
    """
    entries = {entry["name"]: entry for entry in _entries()}
    wanted = list(entries) if wanted is None else list(wanted)
    for name in wanted:
        if name not in entries:
            raise InputError(f"there is no photograph {name!r}; there are {', '.join(entries)}")
    return [_photo(entries[name]) for name in wanted]


def photo(name: str) -> Photo:
    """One photograph by its name; errors as in `photos`."""
    return photos([name])[0]


@cache
def _entries() -> tuple[dict, ...]:
    path = embedded("photos/photos.yml")
    try:
        return tuple(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError) as error:
        raise FileError("photos.yml is no list of photographs: restore it with git checkout data/photos") from error


def _photo(entry: dict) -> Photo:
    package, what = entry["from"]
    image = _load(package, what)
    if image.size != tuple(entry["size"]):
        raise FileError(
            f"{package} gives {entry['name']} as {image.width} x {image.height} pixels, and its boxes were drawn for "
            f"{entry['size'][0]} x {entry['size'][1]}: install the versions in requirements.lock"
        )
    return Photo(
        name=entry["name"],
        label=entry["label"],
        image=image,
        captions=tuple(entry["captions"]),
        questions=tuple((str(question), str(answer), str(kind)) for question, answer, kind in entry["questions"]),
        boxes=tuple((label, tuple(box)) for label, box in entry["boxes"]),
        source=entry["source"],
        licence=entry["licence"],
    )


def _load(package: str, what: str) -> Image.Image:
    try:
        if package == "skimage":
            import skimage.data

            pixels = getattr(skimage.data, what)()
        else:
            import sklearn.datasets

            pixels = sklearn.datasets.load_sample_image(what)
    except Exception as error:  # a picture left out of the wheel is fetched by these packages, each with its own errors
        raise OfflineError(
            f"the installed {package} does not bring the photograph {what!r} along, and it could not be fetched: "
            "install the versions in requirements.lock"
        ) from error
    pixels = pixels[0] if isinstance(pixels, tuple) else pixels  # a stereo pair: the left picture
    return Image.fromarray(np.asarray(pixels)).convert("RGB")
