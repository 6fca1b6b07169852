"""What a decoder keeps between two tokens, so that it computes each position once."""

import torch
from torch import Tensor

from course_lib.errors import InputError


class LayerCache:
    """Keys and values of one layer: of the positions so far, and of the context if the layer looks at one.

    The room is reserved at once, at the first `append`; a new position is written into it, and nothing is copied.

    Attributes:
        length: how many positions are kept.
        context: keys and values (B, heads, S, d) that cross-attention computed of its context; None before.
    """

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the keys and values of T more positions, each (B, heads, T, d).

        Returns:
            those of all positions so far, each (B, heads, length, d).

        Raises:
            InputError: there is no room, or these are for another batch.
        """
        start, added = self.length, key.shape[2]
        end = start + added
        if end > self.capacity:
            raise InputError(
                f"the cache has room for {self.capacity} positions and was given {end}; "
                f"make it with a capacity of {end} or more"
            )
        if self.keys is None:
            self.keys = key.new_empty(*key.shape[:2], self.capacity, key.shape[3])
            self.values = value.new_empty(*value.shape[:2], self.capacity, value.shape[3])
        elif key.shape[0] != self.keys.shape[0]:
            raise InputError(f"the cache holds {len(self.keys)} sequences and was given {len(key)}; make a new one")
        self.keys.narrow(2, start, added).copy_(key)
        self.values.narrow(2, start, added).copy_(value)
        self.length = end
        return self.keys.narrow(2, 0, end), self.values.narrow(2, 0, end)

    def __init__(self, capacity: int):
        self.capacity, self.length = capacity, 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.context: tuple[Tensor, Tensor] | None = None

    def reorder(self, rows: Tensor) -> None:
        """Sequence i becomes what sequence rows[i] was: beams that live on take the place of those that do not.

        There may be more rows than there were sequences.
        """
        if self.keys is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]
        if self.context is not None:
            self.context = self.context[0][rows], self.context[1][rows]


class KeyValueCache:
    """One `LayerCache` for each layer of a decoder.

        cache = KeyValueCache(layers=12, capacity=100)
        logits = model(prompt, cache=cache)         # (B, T, V); keeps the keys and values of T positions
        logits = model(next_token, cache=cache)     # (B, 1, V): computes one position

    Memory: 2 · layers · capacity · heads · d numbers for each sequence.

    Args:
        layers: how many the decoder has.
        capacity: how many positions there is room for.

    Attributes:
        rotary: cosines and sines of all these positions, where the decoder turns keys by them; None before.

    Source: the decoding state of Vaswani et al. (2017), described in Pope et al., Efficiently Scaling Transformer
    Inference, section 3.3.
    """

    def __init__(self, layers: int, capacity: int):
        if layers < 1 or capacity < 1:
            raise InputError(f"a cache has at least one layer and one position, not {layers} and {capacity}")
        self.layers = [LayerCache(capacity) for _ in range(layers)]
        self.capacity = capacity
        self.rotary: tuple[Tensor, Tensor] | None = None

    @property
    def length(self) -> int:
        """How many positions are kept."""
        return self.layers[0].length

    def __getitem__(self, layer: int) -> LayerCache:
        return self.layers[layer]

    def __len__(self) -> int:
        return len(self.layers)

    def reorder(self, rows: Tensor) -> None:
        """Sequence i becomes what sequence rows[i] was, in all layers; there may be more rows than sequences."""
        keys = self.layers[0].keys
        if keys is not None and torch.equal(rows, torch.arange(len(keys), device=rows.device)):
            return
        for layer in self.layers:
            layer.reorder(rows)
