"""A visual search engine: pictures found by words, by another picture, or by both together.

One CLIP, one index. A query is a point in the space that pictures and words share; what is nearest to it is the answer.
Source: the dual encoder of Radford et al., CLIP, with the weighted sum of two queries as in Frome et al., DeViSE, and
Vo et al., Composing Text and Image for Image Retrieval, where it is the simplest baseline.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.evaluation.embedding import embed_images, embed_texts
from course_lib.models.vector_index import VectorIndex, fingerprint, flat


@dataclass(frozen=True)
class Hit:
    """One picture found: its id, and the cosine with the query."""

    id: int
    score: float


class VisualSearch:
    """Searches pictures with a dual encoder.

    Args:
        model: anything with `encode_image` and `encode_text` into one space, such as `CLIP`.
        tokenizer: texts -> `input_ids` `(B, T)`.
        prepare: pictures, uint8 `(B, H, W, 3)`, -> `pixel_values`.
    """

    def search(
        self, text: str | None = None, picture: Tensor | None = None, k: int = 10, text_share: float = 0.5
    ) -> list[Hit]:
        """The k pictures nearest to a text, to a picture, or to both.

        Args:
            text: what to look for, in words.
            picture: uint8 `(H, W, 3)`, what to look for, shown.
            k: how many, no more than there are.
            text_share: between 0 and 1: what part the text has in the query, if both are given.

        Raises:
            InputError: neither is given, or k, the share or the picture are not as they should be.
        """
        return self.nearest(self.query(text, picture, text_share), k)

    def nearest(self, vectors: Tensor, k: int = 10) -> list[Hit]:
        """The k pictures nearest to a query vector, `(1, D)` of length 1."""
        if self.index is None:
            raise InputError("the gallery is empty: add pictures before searching")
        scores, ids = self.index.search(vectors, k)
        return [Hit(*pair) for pair in zip(ids[0].tolist(), scores[0].tolist(), strict=True)]

    def query(self, text: str | None = None, picture: Tensor | None = None, text_share: float = 0.5) -> Tensor:
        """The query as a point of the shared space, `(1, D)` of length 1; arguments as `search`."""
        if not 0 <= text_share <= 1:
            raise InputError(f"text_share is {text_share}; it should be from 0 (the picture) to 1 (the text)")
        if text is None and picture is None:
            raise InputError("there is nothing to look for: give a text, a picture, or both")
        parts = []
        if text is not None:
            if not text.strip():
                raise InputError("the text is empty: say what to look for")
            parts.append((embed_texts(self.model, self.tokenizer([text])), text_share))
        if picture is not None:
            picture = torch.as_tensor(picture)
            if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != torch.uint8:
                raise InputError(
                    f"the picture has shape {tuple(picture.shape)} of {picture.dtype}; it should be uint8 (H, W, 3)"
                )
            parts.append((embed_images(self.model, self.prepare(picture[None])), 1 - text_share))
        if len(parts) == 1:
            return parts[0][0]
        return F.normalize(sum(share * vector for vector, share in parts), dim=-1)

    def add(self, pictures: Tensor, ids: Tensor | None = None) -> None:
        """Embeds pictures, uint8 `(N, H, W, 3)`, and puts them into the gallery; `ids` as for `VectorIndex.add`."""
        vectors = self.embed(pictures)
        if self.index is None:
            self.index = VectorIndex(flat(vectors.shape[1]))
        self.index.add(vectors, ids)

    def embed(self, pictures: Tensor) -> Tensor:
        """uint8 `(N, H, W, 3)` -> `(N, D)` of length 1."""
        parts = torch.as_tensor(pictures).split(250)  # as numbers of 4 bytes a large gallery would not fit
        if not len(parts[0]):
            raise InputError("there are no pictures to search")
        return torch.cat([embed_images(self.model, self.prepare(part)) for part in parts])

    def save(self, path: str | Path, pictures: Tensor) -> Path:
        """Saves the index of these pictures, so that they need not be embedded again. Errors as `VectorIndex.save`."""
        if self.index is None:
            raise InputError("the gallery is empty: there is nothing to save")
        return self.index.save(path, self._gallery(pictures))

    def load(self, path: str | Path, pictures: Tensor) -> None:
        """Takes the saved index of these pictures.

        Raises:
            FileError: the file is missing or damaged, or it was made from other pictures or by another model.
        """
        self.index = VectorIndex.load(path, self._gallery(pictures))

    def __init__(self, model: nn.Module, tokenizer: Callable, prepare: Callable, index: VectorIndex | None = None):
        self.model, self.tokenizer, self.prepare, self.index = model, tokenizer, prepare, index

    def _gallery(self, pictures: Tensor) -> str:
        """What an index depends on: the pictures and the weights that embedded them."""
        return fingerprint(torch.as_tensor(pictures), *self.model.state_dict().values())
