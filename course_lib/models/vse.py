"""VSE++: a picture's features and a sentence's last GRU state in one space, ranked by their cosine.

Source: Faghri et al., VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, sections 3.1 and 3.2. What is
new in it is the loss, `losses.ranking.hardest_negative_loss`; the two encoders are those of Kiros et al. before it.
"""

from dataclasses import asdict, dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.encoders.convnet import ConvNetConfig, ConvTrunk
from course_lib.layers.checks import check_input_ids
from course_lib.layers.recurrent import GRU


@dataclass(frozen=True)
class VSEConfig:
    """A convolutional trunk, words, and the size of the space they meet in."""

    vocab_size: int
    vision: ConvNetConfig = field(default_factory=ConvNetConfig)
    word_width: int = 96
    embed_dim: int = 256  # of the joint space, and so of the GRU's state

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it."""
        return asdict(self)


class VSE(nn.Module):
    """Two encoders, no temperature, no softmax: a loss of ranking is all that trains them.

    Args:
        config: sizes.
    """

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        """Cosines of all pictures with all sentences: (N, 3, H, W) and (M, T) -> (N, M).

        Raises:
            InputError: wrong shapes or ids.
        """
        image_embeds = F.normalize(self.encode_image(pixel_values), dim=-1)
        text_embeds = F.normalize(self.encode_text(input_ids), dim=-1)
        return image_embeds @ text_embeds.T

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D), not normalised."""
        return self.encode_feature_map(self.trunk(pixel_values))

    def encode_feature_map(self, feature_map: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, D): the mean over all places, and a linear layer. What a frozen trunk leaves to train."""
        return self.visual_projection(feature_map.mean(dim=(2, 3)))

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """(M, T), 0 beyond the end of a sentence -> (M, D), the state after the last word, not normalised."""
        check_input_ids(input_ids, self.words.num_embeddings, None)
        lengths = (input_ids != 0).sum(dim=1).clamp(min=1)
        _, state = self.gru(self.words(input_ids), lengths=lengths)
        return state[-1]

    def __init__(self, config: VSEConfig):
        super().__init__()
        self.config = config
        self.trunk = ConvTrunk(config.vision)
        self.visual_projection = nn.Linear(config.vision.width, config.embed_dim)
        self.words = nn.Embedding(config.vocab_size, config.word_width, padding_idx=0)
        self.gru = GRU(config.word_width, config.embed_dim)
        nn.init.xavier_uniform_(self.visual_projection.weight)
        nn.init.zeros_(self.visual_projection.bias)
