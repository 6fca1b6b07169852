"""Real data sets from the Hugging Face Hub, as the same kinds of samples whatever their columns are called.

One table (`DATA_SETS`) holds repository ids, configurations, splits and columns. `load` goes through `datasets`; a
repository that lacks a column, a split or is not there ends in an error that says so, and nothing is put in its place.

Source of ids and columns: the task files of lmms-eval, which loads these very repositories.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from course_lib.errors import InputError, OfflineError


@dataclass(frozen=True)
class ImageCaptions:
    """A picture and sentences that describe it.

    image: PIL, RGB; captions: one or more; id: the data set's own name for it.
    """

    image: Image.Image
    captions: tuple[str, ...]
    id: str


@dataclass(frozen=True)
class VisualQuestion:
    """A question about a picture and the answers people gave.

    image: PIL, RGB; answers: one or more (ten in VQAv2, whose accuracy counts them all); answer: the one to expect;
    kind: type of the question where the data set tells it, else ""; id: the data set's own.
    """

    image: Image.Image
    question: str
    answer: str
    answers: tuple[str, ...]
    kind: str
    id: str


@dataclass(frozen=True)
class ReferringExpression:
    """What people said to point at one object of a picture.

    image: PIL, RGB; expressions: one or more; box: (left, top, right, bottom) in pixels; id: the data set's own.
    """

    image: Image.Image
    expressions: tuple[str, ...]
    box: tuple[float, float, float, float]
    id: str


Sample = ImageCaptions | VisualQuestion | ReferringExpression


@dataclass(frozen=True)
class DataSet:
    """One row of the table.

    repository: id on the Hub; splits: the first is the default; columns: what is read, each of which has to be there;
    sample: makes a sample of a row; config: the repository's configuration; pictures: (configuration, id column) where
    the pictures are kept apart from the questions (GQA), so that a row finds its picture by `imageId`.
    """

    repository: str
    splits: tuple[str, ...]
    columns: tuple[str, ...]
    sample: Callable[[dict], Sample]
    config: str | None = None
    pictures: tuple[str, str] | None = field(default=None)


def _texts(value) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(text) for text in value)


def _coco(row: dict) -> ImageCaptions:
    return ImageCaptions(_picture(row["image"]), _texts(row["answer"]), str(row["id"]))


def _flickr(row: dict) -> ImageCaptions:
    return ImageCaptions(_picture(row["image"]), _texts(row["caption"]), str(row["img_id"]))


def _vqa(row: dict) -> VisualQuestion:
    return VisualQuestion(
        _picture(row["image"]),
        row["question"],
        row["multiple_choice_answer"],
        tuple(each["answer"] for each in row["answers"]),
        row["question_type"],
        str(row["question_id"]),
    )


def _gqa(row: dict) -> VisualQuestion:
    answer = row["answer"]
    return VisualQuestion(_picture(row["image"]), row["question"], answer, (answer,), "", str(row["imageId"]))


def _pope(row: dict) -> VisualQuestion:
    answer = row["answer"]
    return VisualQuestion(_picture(row["image"]), row["question"], answer, (answer,), "yes/no", str(row["question_id"]))


def _docvqa(row: dict) -> VisualQuestion:
    answers = _texts(row["answers"])
    return VisualQuestion(_picture(row["image"]), row["question"], answers[0], answers, "read", str(row["questionId"]))


def _refcoco(row: dict) -> ReferringExpression:
    left, top, width, height = (float(value) for value in row["bbox"])
    return ReferringExpression(
        _picture(row["image"]), _texts(row["answer"]), (left, top, left + width, top + height), str(row["question_id"])
    )


_REFCOCO = ("image", "bbox", "answer", "question_id")
DATA_SETS: dict[str, DataSet] = {
    "coco_captions": DataSet("lmms-lab-encoder/COCO-Caption2017", ("val",), ("image", "answer", "id"), _coco),
    "flickr30k": DataSet("lmms-lab-encoder/flickr30k", ("test",), ("image", "caption", "img_id"), _flickr),
    "vqav2": DataSet(
        "lmms-lab-encoder/VQAv2",
        ("validation",),
        ("image", "question", "answers", "question_type", "multiple_choice_answer", "question_id"),
        _vqa,
    ),
    "gqa": DataSet(
        "lmms-lab-encoder/GQA",
        ("testdev",),
        ("question", "answer", "imageId"),
        _gqa,
        config="testdev_balanced_instructions",
        pictures=("testdev_balanced_images", "id"),
    ),
    "refcoco": DataSet("lmms-lab-encoder/RefCOCO", ("val", "testA", "testB"), _REFCOCO, _refcoco),
    "refcoco+": DataSet("lmms-lab-encoder/RefCOCOplus", ("val", "testA", "testB"), _REFCOCO, _refcoco),
    "refcocog": DataSet("lmms-lab-encoder/RefCOCOg", ("val", "test"), _REFCOCO, _refcoco),
    "pope": DataSet("lmms-lab-encoder/POPE", ("test",), ("image", "question", "answer", "question_id"), _pope),
    "docvqa": DataSet(
        "lmms-lab-encoder/DocVQA",
        ("validation",),
        ("image", "question", "answers", "questionId"),
        _docvqa,
        config="DocVQA",
    ),
}


UNREACHABLE = {  # by name: requests, httpx, the Hub's client and `datasets` each bring their own
    "ConnectError", "ConnectTimeout", "ConnectionError", "LocalEntryNotFoundError", "NetworkError",
    "OfflineModeIsEnabled", "ReadTimeout", "TimeoutException",
}  # fmt: skip


def load(
    name: str,
    split: str | None = None,
    *,
    limit: int | None = None,
    streaming: bool = True,
    root: str | Path | None = None,
) -> Iterator[Sample]:
    """The samples of a data set, one by one.

    Args:
        name: one of `DATA_SETS`: "coco_captions", "flickr30k", "vqav2", "gqa", "refcoco", "refcoco+", "refcocog",
            "pope", "docvqa".
        split: one of its splits; the first of them when left out.
        limit: stop after so many.
        streaming: fetch rows as they are asked for; False downloads (and keeps) the whole split first.
        root: a folder that stands for the Hub: the repository "a/b" is its folder `a/b`. `$COURSE_HUB_ROOT` when left
            out, and the Hub itself when that is not set either.

    Raises:
        InputError: no such data set, split or column; the message names the repository, what is missing and what is
            there.
        OfflineError: it is not on this machine and there is no network.
    """
    if name not in DATA_SETS:
        raise InputError(f"there is no data set {name!r}; there are {', '.join(DATA_SETS)}")
    entry = DATA_SETS[name]
    split = split or entry.splits[0]
    if split not in entry.splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(entry.splits)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it should be 1 or more")
    return _samples(entry, split, limit, streaming, root)


def _samples(
    entry: DataSet, split: str, limit: int | None, streaming: bool, root: str | Path | None
) -> Iterator[Sample]:
    rows = _rows(entry.repository, entry.config, split, entry.columns, streaming, root)
    pictures: dict[str, Image.Image] = {}
    waiting = None
    if entry.pictures is not None:
        config, key = entry.pictures
        waiting = _rows(entry.repository, config, split, (key, "image"), streaming, root)
    for index, row in enumerate(rows):
        if limit is not None and index >= limit:
            return
        if waiting is not None:  # both parts list pictures in their own order: read on until the one asked for is there
            wanted = str(row["imageId"])
            while wanted not in pictures:
                other = next(waiting, None)
                if other is None:
                    raise InputError(
                        f"{entry.repository} has a question about picture {wanted!r} and no such picture in "
                        f"{entry.pictures[0]}"
                    )
                pictures[str(other[entry.pictures[1]])] = other["image"]
            row = row | {"image": pictures[wanted]}
        yield _sample(entry, row)


def _sample(entry: DataSet, row: dict) -> Sample:
    try:
        return entry.sample(row)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        kinds = ", ".join(f"{name}: {type(row[name]).__name__}" for name in entry.columns if name in row)
        raise InputError(
            f"{entry.repository} has the columns expected, but not what is expected in them ({kinds}): the functions "
            "that read them are in course_lib/data/hub.py"
        ) from error


def _rows(
    repository: str, config: str | None, split: str, columns: tuple[str, ...], streaming: bool, root: str | Path | None
) -> Iterator[dict]:
    import datasets

    root = root or os.environ.get("COURSE_HUB_ROOT")
    path = str(Path(root) / repository) if root else repository
    if root and not Path(path).is_dir():
        raise InputError(f"the folder that stands for the Hub has no {repository}")
    where = f"{repository} (split {split}{f', configuration {config}' if config else ''})"
    try:
        table = datasets.load_dataset(path, config, split=split, streaming=streaming)
        found = table.column_names or list(next(iter(table), {}))
        _check(where, columns, found)
        yield from table
    except InputError:
        raise
    except Exception as error:  # each part of `datasets`, of the Hub's client and of the network has errors of its own
        raise _explain(where, repository, error) from error


def _check(where: str, columns: tuple[str, ...], found: list[str]) -> None:
    if missing := [column for column in columns if column not in found]:
        raise InputError(
            f"{where} has no column {', '.join(repr(column) for column in missing)}; it has "
            f"{', '.join(repr(column) for column in found) or 'none at all'}. The table of columns is in "
            "course_lib/data/hub.py"
        )


def _explain(where: str, repository: str, error: Exception) -> Exception:
    said = " ".join(str(error).split())
    kinds = {kind.__name__ for part in _chain(error) for kind in type(part).__mro__}
    if "RepositoryNotFoundError" in kinds:
        return InputError(f"the Hub has no data set {repository}: if it has moved, correct course_lib/data/hub.py")
    if "GatedRepoError" in kinds:
        return InputError(f"{repository} asks for your consent: give it on its page, then log in with `hf auth login`")
    if kinds & UNREACHABLE:
        return OfflineError(
            f"{repository} is not on this machine and the Hub could not be reached: connect to the network, or set "
            "COURSE_HUB_ROOT to a folder with a copy"
        )
    return InputError(f"{where} could not be read: {said[:300]}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _picture(value) -> Image.Image:
    if isinstance(value, Image.Image):
        return value.convert("RGB")
    raise InputError(f"a picture should come as an image, and came as {type(value).__name__}")
