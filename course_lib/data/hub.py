"""Real data sets from the Hugging Face Hub, as the same kinds of samples whatever their columns are called.

One table (`DATA_SETS`) holds repository ids, configurations, splits and columns. `load` gives the samples one by one,
`table` any of them by its number; both go through `datasets`, which keeps on disk what it has downloaded.

What is wrong with a whole repository (it is not there, it lacks a column or a split) ends in an error that says so,
and nothing is put in its place. What is wrong with a row (a picture that cannot be read, no text, the same row once
more) is skipped and counted by `load`, and is an error where that row is asked for by its number.

Source of ids and columns: the task files of lmms-eval, which loads these very repositories.
"""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from PIL import Image, ImageOps

from course_lib import runtime
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
    """One or more texts, the empty ones left out.

    Raises:
        Damaged: there is none.
    """
    texts = (value,) if isinstance(value, str) else tuple(str(text) for text in value or () if text is not None)
    texts = tuple(text for text in texts if text.strip())
    if not texts:
        raise Damaged("no text", "it has no text, or an empty one")
    return texts


def _text(value) -> str:
    return _texts([value])[0]


def _coco(row: dict) -> ImageCaptions:
    return ImageCaptions(_picture(row["image"]), _texts(row["answer"]), str(row["id"]))


def _flickr(row: dict) -> ImageCaptions:
    return ImageCaptions(_picture(row["image"]), _texts(row["caption"]), str(row["img_id"]))


def _vqa(row: dict) -> VisualQuestion:
    return VisualQuestion(
        _picture(row["image"]),
        _text(row["question"]),
        _text(row["multiple_choice_answer"]),
        tuple(each["answer"] for each in row["answers"]),
        row["question_type"],
        str(row["question_id"]),
    )


def _gqa(row: dict) -> VisualQuestion:
    answer = _text(row["answer"])
    return VisualQuestion(_picture(row["image"]), _text(row["question"]), answer, (answer,), "", str(row["imageId"]))


def _pope(row: dict) -> VisualQuestion:
    answer = _text(row["answer"])
    return VisualQuestion(
        _picture(row["image"]), _text(row["question"]), answer, (answer,), "yes/no", str(row["question_id"])
    )


def _docvqa(row: dict) -> VisualQuestion:
    answers = _texts(row["answers"])
    return VisualQuestion(
        _picture(row["image"]), _text(row["question"]), answers[0], answers, "read", str(row["questionId"])
    )


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
    progress: bool = False,
) -> "Samples":
    """The samples of a data set, one by one; damaged rows are skipped and counted.

        samples = hub.load("coco_captions", limit=500)
        pictures = [sample.image for sample in samples]
        print(samples.skipped)

    Args:
        name: one of `DATA_SETS`: "coco_captions", "flickr30k", "vqav2", "gqa", "refcoco", "refcoco+", "refcocog",
            "pope", "docvqa".
        split: one of its splits; the first of them when left out.
        limit: stop after so many samples.
        streaming: fetch rows as they are asked for, and keep none; False downloads the whole split first, once, into
            the cache of `datasets`.
        root: a folder that stands for the Hub: the repository "a/b" is its folder `a/b`. `$COURSE_HUB_ROOT` when left
            out, and the Hub itself when that is not set either.
        progress: whether to show a bar.

    Raises:
        InputError: no such data set, split or column, or no row of it is whole; the message names the repository, what
            is missing and what is there.
        OfflineError: it is not on this machine and there is no network.
    """
    entry, split = _entry(name, split, limit)
    return Samples(entry, split, limit, streaming, root, progress)


def table(name: str, split: str | None = None, *, limit: int | None = None, root: str | Path | None = None) -> "Table":
    """A data set whose samples have numbers, for a `torch.utils.data.DataLoader`; downloaded whole, once.

    Args and errors: as `load`.
    """
    entry, split = _entry(name, split, limit)
    return Table(entry, split, limit, root)


def _entry(name: str, split: str | None, limit: int | None) -> tuple[DataSet, str]:
    if name not in DATA_SETS:
        raise InputError(f"there is no data set {name!r}; there are {', '.join(DATA_SETS)}")
    entry = DATA_SETS[name]
    split = split or entry.splits[0]
    if split not in entry.splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(entry.splits)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it should be 1 or more")
    return entry, split


class Damaged(InputError):
    """A row that is no sample; `kind` says in two words why."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class Samples(Iterator):
    """The samples of a split, one after the other, once; what `load` gives.

    Attributes:
        skipped: how many rows were left out so far, by what was wrong with them: "broken picture", "no text",
            "duplicate".
    """

    def __next__(self) -> Sample:
        return next(self._coming)

    def __init__(
        self, entry: DataSet, split: str, limit: int | None, streaming: bool, root: str | Path | None, progress: bool
    ):
        self.entry, self.split, self.limit, self.streaming, self.root = entry, split, limit, streaming, root
        self.progress, self.skipped = progress, Counter()
        self._coming = self._whole()

    def _whole(self) -> Iterator[Sample]:
        given, seen = 0, set()
        with runtime.progress(description=self.entry.repository, total=self.limit, disable=not self.progress) as bar:
            for row in self._rows():
                try:
                    sample = _sample(self.entry, row)
                    if _key(sample) in seen:
                        raise Damaged("duplicate", "this row was there before")
                except Damaged as error:
                    self.skipped[error.kind] += 1
                    bar.set_postfix_str(f"{self.skipped.total()} skipped", refresh=False)
                    continue
                seen.add(_key(sample))
                yield sample
                given += 1
                bar.update()
                if given == self.limit:
                    return
        if not given:
            raise InputError(f"no row of {self.entry.repository} (split {self.split}) could be used: {self._said()}")

    def __str__(self) -> str:
        return f"{self.entry.repository} (split {self.split}): {self._said()}"

    def _said(self) -> str:
        return ", ".join(f"{count} skipped ({kind})" for kind, count in self.skipped.items()) or "nothing skipped"

    def _rows(self) -> Iterator[dict]:
        entry, how = self.entry, (self.streaming, self.root)
        rows = _rows(entry.repository, entry.config, self.split, entry.columns, *how)
        if entry.pictures is None:
            yield from rows
            return
        config, key = entry.pictures
        waiting, pictures = _rows(entry.repository, config, self.split, (key, "image"), *how), {}
        for row in rows:  # both parts list pictures in their own order: read on until the one asked for is there
            wanted = str(row["imageId"])
            while wanted not in pictures:
                other = next(waiting, None)
                if other is None:
                    raise InputError(
                        f"{entry.repository} has a question about picture {wanted!r} and no such picture in {config}"
                    )
                pictures[str(other[key])] = other["image"]
            yield row | {"image": pictures[wanted]}


class Table(torch.utils.data.Dataset):
    """The samples of a split by number, in the order of the repository; what `table` gives.

    No row is skipped, so that numbers mean the same everywhere: a damaged one is an InputError when it is asked for.
    """

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, and no number {index}")
        row = self.rows[index % len(self)]
        if self.places is not None:
            wanted = str(row["imageId"])
            if wanted not in self.places:
                raise Damaged(
                    "broken picture", f"{self.entry.repository} has no picture {wanted!r}, which row {index} asks for"
                )
            row = row | {"image": self.pictures[self.places[wanted]]["image"]}
        try:
            return _sample(self.entry, row)
        except Damaged as error:
            raise Damaged(error.kind, f"row {index} of {self.entry.repository} is damaged: {error}") from error

    def __len__(self) -> int:
        return len(self.rows)

    def __init__(self, entry: DataSet, split: str, limit: int | None, root: str | Path | None):
        self.entry, self.places = entry, None
        self.rows = _table(entry.repository, entry.config, split, entry.columns, False, root)
        if limit is not None:
            self.rows = self.rows.select(range(min(limit, len(self.rows))))
        if entry.pictures is not None:
            config, key = entry.pictures
            self.pictures = _table(entry.repository, config, split, (key, "image"), False, root)
            self.places = {str(name): place for place, name in enumerate(self.pictures[key])}


def _key(sample: Sample) -> tuple:
    """What tells a sample from others: all of it but the picture."""
    return tuple(getattr(sample, each.name) for each in fields(sample) if each.name != "image")


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
    try:
        yield from _table(repository, config, split, columns, streaming, root)
    except InputError:
        raise
    except Exception as error:  # rows that are streamed can fail as the whole can
        raise _explain(_where(repository, config, split), repository, error) from error


def _table(
    repository: str, config: str | None, split: str, columns: tuple[str, ...], streaming: bool, root: str | Path | None
):
    """The rows as `datasets` gives them, pictures as the bytes of their files."""
    import datasets

    root = root or os.environ.get("COURSE_HUB_ROOT")
    path = str(Path(root) / repository) if root else repository
    if root and not Path(path).is_dir():
        raise InputError(f"the folder that stands for the Hub has no {repository}")
    where = _where(repository, config, split)
    try:
        found = datasets.load_dataset(path, config, split=split, streaming=streaming)
        _check(where, columns, found.column_names or list(next(iter(found), {})))
        if found.features and isinstance(found.features.get("image"), datasets.Image):
            found = found.cast_column("image", datasets.Image(decode=False))
        return found
    except InputError:
        raise
    except Exception as error:  # each part of `datasets`, of the Hub's client and of the network has errors of its own
        raise _explain(where, repository, error) from error


def _where(repository: str, config: str | None, split: str) -> str:
    return f"{repository} (split {split}{f', configuration {config}' if config else ''})"


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
    """A picture, RGB and upright, of what a row holds: the bytes of a file, or a picture.

    Raises:
        Damaged: the file is no picture, or half of one.
        InputError: it is something else.
    """
    if isinstance(value, dict) and {"bytes", "path"} <= value.keys():
        try:
            content = value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()
            value = Image.open(io.BytesIO(content))
            value.load()
        except Exception as error:  # Pillow has no common base for what can be wrong with a file
            raise Damaged("broken picture", f"its picture cannot be read ({error})") from error
    if value is None:
        raise Damaged("broken picture", "it has no picture")
    if isinstance(value, Image.Image):
        return ImageOps.exif_transpose(value).convert("RGB")
    raise InputError(f"a picture should come as an image, and came as {type(value).__name__}")
