"""The microworld in the formats of the field: COCO objects and captions, VQA questions, RefCOCO expressions, PNG, zip.

Same scenes, same bytes: the pictures are stored, not compressed, because two versions of zlib compress differently.
(Git and wheels compress them on their own.)
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from course_lib.data.microworld.captions import captions
from course_lib.data.microworld.expressions import referring_expressions
from course_lib.data.microworld.questions import Question, annotators
from course_lib.data.microworld.render import masks
from course_lib.data.microworld.world import SHAPES, Object, Scene, split_of

LICENCE = {"id": 1, "name": "MIT", "url": "https://opensource.org/license/mit"}


def scene_record(scene: Scene) -> dict:
    """A scene graph as plain JSON; `scene_of` gives the scene back."""
    fields = {name: getattr(scene, name) for name in ("background", "tint", "light", "grain")}
    return fields | {"objects": [{name: getattr(o, name) for name in Object.__slots__} for o in scene.objects]}


def scene_of(record: Mapping) -> Scene:
    """The scene that `scene_record` wrote."""
    fields = {name: record[name] for name in ("background", "tint", "light", "grain")}
    return Scene(objects=tuple(Object(**thing) for thing in record["objects"]), **fields)


def run_lengths(mask: np.ndarray) -> dict:
    """A mask (H, W) as COCO's uncompressed run lengths: down the columns, beginning with the unset pixels."""
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=False)) if flat.size else np.zeros(0, int)
    counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return {"counts": counts.tolist(), "size": list(mask.shape)}


def _name(number: int) -> str:
    return f"{number:012d}.png"


def coco_instances(scenes: Sequence[Scene], size: int = 64) -> dict:
    """COCO's detection format: images, annotations (one per object, with what is seen of it) and categories (shapes).

    Images also hold their scene graph and split; annotations the object's colour, size and material. Boxes are those of
    the whole object, in pixels as x, y, width, height; areas and segmentations those of its visible part.
    """
    images, annotations = [], []
    for number, (scene, seen) in enumerate(zip(scenes, masks(scenes, size), strict=True), start=1):
        images.append(
            {"id": number, "file_name": _name(number), "width": size, "height": size, "license": 1}
            | {"split": split_of(scene), "scene": scene_record(scene)}
        )
        for thing, mask in zip(scene.objects, seen, strict=False):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": SHAPES.index(thing.shape) + 1}
                | {"bbox": pixel_box(thing.box, size), "area": int(np.count_nonzero(mask)), "iscrowd": 0}
                | {"segmentation": run_lengths(mask)}
                | {"attributes": {"colour": thing.colour, "size": thing.size, "material": thing.material}}
            )
    categories = [{"id": i, "name": shape, "supercategory": "shape"} for i, shape in enumerate(SHAPES, start=1)]
    return _info("objects") | {"images": images, "annotations": annotations, "categories": categories}


def pixel_box(box: Sequence[float], size: int) -> list[float]:
    """Left, top, right, bottom as fractions -> x, y, width, height in pixels, to a hundredth."""
    left, top, right, bottom = (int(side * size * 100 + 0.5) for side in box)
    return [left / 100, top / 100, (right - left) / 100, (bottom - top) / 100]


def coco_captions(scenes: Sequence[Scene], size: int = 64) -> dict:
    """COCO's caption format, as pycocoevalcap reads it: five annotations per image."""
    said = [(number, text) for number, scene in enumerate(scenes, start=1) for text in captions(scene)]
    images = [{"id": i, "file_name": _name(i), "width": size, "height": size} for i in range(1, len(scenes) + 1)]
    annotations = [{"id": i, "image_id": image, "caption": text} for i, (image, text) in enumerate(said, start=1)]
    return _info("captions") | {"type": "captions", "images": images, "annotations": annotations}


def vqa(scenes: Sequence[Scene], asked: Sequence[tuple[int, Question]]) -> dict:
    """VQA's two lists in one file: questions, and annotations with ten answers each.

    Args:
        scenes: the scenes.
        asked: questions, each with the place of its scene in that list.
    """
    questions, annotations = [], []
    for number, (index, question) in enumerate(asked, start=1):
        place = {"image_id": index + 1, "question_id": number}
        questions.append(place | {"question": question.text})
        answers = [{"answer_id": i, "answer": a} for i, a in enumerate(annotators(question, scenes[index]), start=1)]
        kind = {"question_type": question.type, "answer_type": _answer_type(question.answer)}
        annotations.append(place | kind | {"multiple_choice_answer": question.answer, "answers": answers})
    return _info("questions") | {"questions": questions, "annotations": annotations}


def _answer_type(answer: str) -> str:
    return "yes/no" if answer in ("yes", "no") else "number" if answer.isdigit() else "other"


def refcoco(scenes: Sequence[Scene], size: int = 64) -> dict:
    """Referring expressions in the manner of RefCOCO: each with its sentence, its object's annotation, its box."""
    refs, first = [], 1
    for number, scene in enumerate(scenes, start=1):
        for said in referring_expressions(scene):
            place = {"ref_id": len(refs) + 1, "image_id": number, "ann_id": first + said.target}
            refs.append(place | {"sentence": said.text, "type": said.type, "bbox": pixel_box(said.box, size)})
        first += len(scene.objects)
    return _info("referring expressions") | {"refs": refs}


def _info(what: str) -> dict:
    about = {"description": f"Microworld test split: {what}", "version": "1.0", "year": 2026}
    return {"info": about | {"date_created": "2026-01-01"}, "licenses": [LICENCE]}


def dumps(content: Mapping) -> str:
    """JSON with one line for each item of the long lists, so that two versions can be compared line by line."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            lines = ",\n".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) of uint8 as a PNG file without compression, the same bytes with every version of zlib.

    Rows are filtered (Up: each byte less the one above), for whatever compresses the file later.
    """
    height, width, _ = picture.shape
    rows = np.zeros((height, 1 + width * 3), np.uint8)
    rows[:, 0] = 2
    rows[:, 1:] = np.diff(picture.reshape(height, -1), axis=0, prepend=np.zeros((1, width * 3), np.uint8))
    raw = rows.tobytes()
    blocks = [raw[start : start + 65535] for start in range(0, len(raw), 65535)]
    stored = b"".join(
        struct.pack("<BHH", block is blocks[-1], len(block), len(block) ^ 0xFFFF) + block for block in blocks
    )
    packed = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def archive(pictures: np.ndarray) -> bytes:
    """Pictures (N, H, W, 3) as a zip of PNG files, stored and without a date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for number, picture in enumerate(pictures, start=1):
            entry = zipfile.ZipInfo(_name(number))  # dated 1980, the format's first day
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            file.writestr(entry, png(picture))
    return buffer.getvalue()
