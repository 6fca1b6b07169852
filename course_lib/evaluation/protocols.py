"""How the field measures retrieval on Flickr30k and COCO: how many pictures, how many captions, which average.

A number such as "R@1 = 58.4" means little without its protocol: among 5,000 pictures it is far harder than among 1,000,
and five right captions are easier to find than one. These functions say exactly what is counted, both ways.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.errors import InputError
from course_lib.evaluation.retrieval import measures

CAPTIONS = 5  # of each picture, in both data sets; pictures that have more keep their first five


@dataclass(frozen=True)
class Protocol:
    """A test set and how it is cut.

    Args:
        name: what papers call it.
        pictures: in the whole test set.
        folds: parts of equal size that are measured one by one and averaged.
    """

    name: str
    pictures: int
    folds: int = 1

    def __call__(self, similarity: Tensor, ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, dict[str, float]]:
        """Measures both directions.

        Picture to text: a picture has found its text when any of its five captions is among the first K. Text to
        picture: every caption is a query of its own, five a picture.

        Args:
            similarity: `(pictures, 5 * pictures)`; captions `5 i` to `5 i + 4` are those of picture `i`.
            ks: the depths of R@K.

        Returns:
            `{"image_to_text": {...}, "text_to_image": {...}, "both": {"rsum": ...}}`, each direction as `measures`
            gives it, averaged over the folds; rsum is the sum of all R@K of both directions, in percent.

        Raises:
            InputError: it is not the similarity of that many pictures with five captions each.
        """
        wanted = (self.pictures, CAPTIONS * self.pictures)
        if tuple(similarity.shape) != wanted:
            raise InputError(
                f"similarity has shape {tuple(similarity.shape)}; {self.name} has {self.pictures:,} pictures "
                f"with {CAPTIONS} captions each, so it should be {wanted}"
            )
        size = self.pictures // self.folds
        positives = torch.arange(size)[:, None] == torch.arange(size * CAPTIONS) // CAPTIONS
        positives = positives.to(similarity.device)
        rows = []
        for start in range(0, self.pictures, size):
            part = similarity[start : start + size, start * CAPTIONS : (start + size) * CAPTIONS]
            rows.append((measures(part, positives, ks), measures(part.T, positives.T, ks)))
        image_to_text, text_to_image = ([row[way] for row in rows] for way in (0, 1))
        found = {"image_to_text": _mean(image_to_text), "text_to_image": _mean(text_to_image)}
        rsum = 100 * sum(way[f"R@{k}"] for way in found.values() for k in ks)
        return found | {"both": {"rsum": rsum}}

    def of_embeddings(
        self, image_embeds: Tensor, text_embeds: Tensor, ks: tuple[int, ...] = (1, 5, 10)
    ) -> dict[str, dict[str, float]]:
        """The same from unit vectors, `(pictures, D)` and `(5 * pictures, D)`.

        Raises:
            InputError: the shapes do not fit, or a vector is not of length 1.
        """
        for name, vectors in (("image_embeds", image_embeds), ("text_embeds", text_embeds)):
            if vectors.ndim != 2 or vectors.shape[1] != image_embeds.shape[1]:
                raise InputError(f"{name} has shape {tuple(vectors.shape)}; both should be (count, D) with one D")
            if not torch.allclose(vectors.norm(dim=1), vectors.new_ones(()), atol=1e-3):
                raise InputError(f"{name} should hold vectors of length 1: divide each by its norm")
        return self(image_embeds @ text_embeds.T, ks)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


# The 1,000 test pictures of Karpathy and Fei-Fei's split.
FLICKR30K = Protocol("Flickr30k 1K", pictures=1_000)
# Their 5,000 test pictures of COCO, as one gallery and as five galleries of a thousand.
COCO_5K = Protocol("COCO 5K", pictures=5_000)
COCO_1K = Protocol("COCO 1K", pictures=5_000, folds=5)


def five_captions(captions: list[list[str]]) -> list[str]:
    """The captions of all pictures in the order that the protocols want: each picture's first five, in one list.

    Raises:
        InputError: a picture has fewer than five.
    """
    for picture, texts in enumerate(captions):
        if len(texts) < CAPTIONS:
            raise InputError(f"picture {picture} has {len(texts)} captions; the protocols want {CAPTIONS} of each")
    return [text for texts in captions for text in texts[:CAPTIONS]]
