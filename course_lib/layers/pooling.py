"""From many vectors to one, by attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.mlp import MLP


class AttentionPool2d(nn.Module):
    """The mean of a feature map asks all its places, and their answers are the picture's vector.

    The output layer of this attention is left to what follows, CLIP's projection: two linear maps in a row are one.

    Args:
        places: H · W.
        width: D, the channels of the map.
        heads: number of attention heads.

    Source: Radford et al., CLIP, section 2.4: a single layer of QKV attention, its query the global average.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D)."""
        query, key, value = self.project(feature_map)
        return F.scaled_dot_product_attention(query, key, value).flatten(1)

    def __init__(self, places: int, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise InputError(f"a width of {width} does not divide among {heads} heads; choose a multiple of {heads}")
        self.heads = heads
        self.position_embedding = nn.Parameter(torch.randn(places + 1, width) * width**-0.5)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        for layer in (self.query, self.key_value):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def project(self, feature_map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query of the mean (B, heads, 1, d); keys and values of mean and places (B, heads, 1 + H W, d)."""
        places = feature_map.flatten(2).transpose(1, 2)
        tokens = torch.cat([places.mean(1, keepdim=True), places], 1) + self.position_embedding
        query = self.query(tokens[:, :1]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value

    def weights(self, feature_map: Tensor) -> Tensor:
        """How much each place counts, (B, D, H, W) -> (B, heads, H, W): to look at; the mean's own is left out."""
        query, key, _ = self.project(feature_map)
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return weights[..., 0, 1:].unflatten(-1, feature_map.shape[-2:])

    def values(self, feature_map: Tensor) -> Tensor:
        """What each place would answer alone, (B, D, H, W) -> (B, H W, D): vectors in the space of `forward`'s.

        Source: Zhou et al., Extract Free Dense Labels from CLIP, section 3.2.
        """
        return self.project(feature_map)[2][:, :, 1:].transpose(1, 2).flatten(2)


class AttentionPoolingHead(nn.Module):
    """A learned probe asks all tokens; what it gets passes an MLP with a residual connection.

    Args:
        width: D.
        heads: number of attention heads.
        mlp_width: hidden width of the MLP.
        activation: its activation.
        layer_norm_eps: added to the variance.

    Source: Zhai et al., Scaling Vision Transformers, section 3.2 ("MAP"); used by SigLIP.
    """

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, N, D) -> (B, D)."""
        query = self.query(self.probe).view(1, 1, self.heads, -1).transpose(1, 2).expand(len(hidden_states), -1, -1, -1)
        key, value = self.key_value(hidden_states).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        pooled = self.out(F.scaled_dot_product_attention(query, key, value).flatten(1))
        return pooled + self.mlp(self.norm(pooled))

    def __init__(self, width: int, heads: int, mlp_width: int, activation: str = "gelu", layer_norm_eps: float = 1e-6):
        super().__init__()
        self.heads = heads
        self.probe = nn.Parameter(torch.empty(1, width))
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, layer_norm_eps)
        self.mlp = MLP(width, mlp_width, activation)
        nn.init.xavier_uniform_(self.probe)
        for layer in (self.query, self.key_value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
