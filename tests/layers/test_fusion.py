"""The layers of fusion: beside the references, and by what each has to be able to do."""

import pytest
import torch

from course_lib.authoring.parity import lesson_04 as parity
from course_lib.errors import InputError
from course_lib.layers.fusion import (
    CoAttentionBlock,
    CompactBilinear,
    ConcatFusion,
    FiLM,
    FiLMBlock,
    GatedCrossAttentionBlock,
    LowRankBilinear,
    ProductFusion,
    SumFusion,
    circular_convolution,
    count_sketch,
    film,
    late_fusion,
    signed_root,
)

TWO = [ConcatFusion, SumFusion, ProductFusion, CompactBilinear, LowRankBilinear]


def test_the_same_as_the_references_in_other_sizes():
    rows = parity.bilinear_beside_torch(1, 4, 9, seed=2) + parity.convolution_beside_torch(15, seed=3)
    rows += parity.lxmert_beside_transformers(16, 4, 30, padded=False, seed=4)
    rows += parity.gated_beside_transformers(16, 2, 30, 16, padded=False, seed=5)
    assert all(row.holds for row in rows), rows


def test_the_inner_product_of_sketches_is_that_of_the_vectors_on_average():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 40, generator=generator).unbind(0)
    x, y = x + 1, y + 1  # so that the sum of all products is far from x · y
    trials, size = 500, 16
    index = torch.randint(size, (trials, 40), generator=generator)
    sign = 2.0 * torch.randint(2, (trials, 40), generator=generator) - 1

    def off(signs: torch.Tensor) -> float:
        """By how many standard errors the mean of all trials misses x · y."""
        sketches = zip(index, signs, strict=True)
        found = torch.stack([count_sketch(x, i, s, size) @ count_sketch(y, i, s, size) for i, s in sketches])
        return ((found.mean() - x @ y) / found.std() * trials**0.5).abs().item()

    assert off(sign) < 4
    assert off(torch.ones_like(sign)) > 10  # without signs, what shares a place adds up


def test_a_sketch_keeps_every_number_once():
    sketch = count_sketch(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 0]), torch.tensor([1.0, -1.0, -1.0]), 4)
    assert sketch.tolist() == [-3.0, 0.0, -2.0, 0.0]


def test_fourier_gives_the_direct_convolution():
    x, y = torch.randn(2, 7), torch.randn(2, 7)
    direct = torch.stack([sum(x[:, i] * y[:, (k - i) % 7] for i in range(7)) for k in range(7)], 1)
    assert torch.allclose(circular_convolution(x, y), direct, atol=1e-5)


def test_compact_bilinear_pooling_is_linear_in_each_of_its_vectors():
    fusion, x, y = CompactBilinear(5, 6, 32), torch.randn(2, 5), torch.randn(2, 6)
    assert torch.allclose(fusion(3 * x, y), 3 * fusion(x, y), atol=1e-5)
    assert torch.allclose(fusion(x, y + 1), fusion(x, y) + fusion(x, torch.ones(2, 6)), atol=1e-5)
    assert torch.equal(fusion.index, CompactBilinear(5, 6, 32).index)
    assert not torch.equal(fusion.index, CompactBilinear(5, 6, 32, seed=1).index)
    assert not list(fusion.parameters())


def test_low_rank_matrices_have_that_rank():
    fusion = LowRankBilinear(8, 9, 4, rank=3)
    assert torch.linalg.matrix_rank(fusion.matrices()).tolist() == [3] * 4
    x, y = torch.randn(5, 8), torch.randn(5, 9)
    assert torch.allclose(fusion(x, y), torch.einsum("bd,ode,be->bo", x, fusion.matrices(), y), atol=1e-5)


def test_a_sum_cannot_bind_and_a_product_can():
    """f(a, b) - f(a, d) - f(c, b) + f(c, d) is 0 for whatever is a sum of what each says alone."""
    for kind, bound in ((SumFusion, False), (ConcatFusion, False), (ProductFusion, True), (LowRankBilinear, True)):
        fusion, (a, c), (b, d) = kind(6, 7, 8), torch.randn(2, 1, 6), torch.randn(2, 1, 7)
        mixed = fusion(a, b) - fusion(a, d) - fusion(c, b) + fusion(c, d)
        assert (mixed.abs().max() > 1e-3) == bound, kind


def test_late_fusion_is_the_mean_of_probabilities():
    one, other = torch.randn(3, 4), torch.randn(3, 4)
    fused = late_fusion([one, other])
    assert torch.allclose(fused.exp(), (one.softmax(-1) + other.softmax(-1)) / 2, atol=1e-6)
    weighted = late_fusion([one, other], [3, 1])
    assert torch.allclose(weighted.exp(), 0.75 * one.softmax(-1) + 0.25 * other.softmax(-1), atol=1e-6)


def test_signed_root():
    rooted = signed_root(torch.tensor([[4.0, -9.0, 0.0]]).requires_grad_())
    assert torch.allclose(rooted, torch.tensor([[2.0, -3.0, 0.0]]) / 13**0.5, atol=1e-3)
    zeros = torch.zeros(1, 3, requires_grad=True)
    signed_root(zeros).sum().backward()
    assert torch.isfinite(zeros.grad).all()


def test_film_with_gamma_one_and_beta_zero_changes_nothing():
    states = torch.randn(2, 3, 5)
    assert torch.equal(film(states, torch.tensor(1.0), torch.tensor(0.0)), states)
    layer, condition = FiLM(5, 4), torch.randn(2, 4)
    assert torch.equal(layer(states, condition), states)  # that is how it starts
    torch.nn.init.normal_(layer.scale_shift.weight)
    steered = layer(states, condition)
    gamma, beta = layer.scale_shift(condition).chunk(2, -1)
    assert torch.allclose(steered[1, 2], (1 + gamma[1]) * states[1, 2] + beta[1], atol=1e-6)
    assert layer(torch.randn(2, 4, 6, 5), condition).shape == (2, 4, 6, 5)


def test_a_block_of_film_hears_its_condition():
    block, states = FiLMBlock(6, 4), torch.randn(2, 3, 6)
    torch.nn.init.normal_(block.film.scale_shift.weight)
    assert not torch.allclose(block(states, torch.zeros(2, 4)), block(states, torch.ones(2, 4)), atol=1e-3)


def test_a_gate_that_is_shut_changes_nothing():
    block, states, context = GatedCrossAttentionBlock(8, 2, 16), torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    assert torch.equal(block(states, context), states)
    for open_gate in (block.attention_gate, block.mlp_gate):
        torch.nn.init.ones_(open_gate)
        assert not torch.allclose(block(states, context), states, atol=1e-3)
        torch.nn.init.zeros_(open_gate)
    block(states, context).square().sum().backward()
    assert block.attention_gate.grad.abs() > 0, "a shut gate can still be opened"


def test_words_and_regions_that_are_hidden_are_not_asked():
    block, words, regions = CoAttentionBlock(8, 2, 16).eval(), torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    mask = torch.tensor([True, True, False, True]).view(1, 1, 1, 4).expand(2, -1, -1, -1)
    changed = regions.clone()
    changed[:, 2] = 5.0
    before, after = block(words, regions, None, mask)[0], block(words, changed, None, mask)[0]
    assert torch.allclose(before, after, atol=1e-6)
    assert not torch.allclose(before, block(words, changed)[0], atol=1e-3)


@pytest.mark.parametrize("kind", TWO)
def test_two_vectors_that_do_not_go_together(kind):
    fusion = kind(6, 7, 8)
    assert fusion(torch.randn(3, 6), torch.randn(3, 7)).shape == (3, 8)
    for x, y in (((3, 7), (3, 7)), ((3, 6), (2, 7)), ((3, 6), (3, 6)), ((6,), (7,)), ((3, 2, 6), (3, 2, 7))):
        with pytest.raises(InputError, match=r"this fusion takes \(B, 6\) and \(B, 7\)"):
            fusion(torch.randn(x), torch.randn(y))


def test_what_else_is_refused():
    with pytest.raises(InputError, match="rank is 0"):
        LowRankBilinear(2, 2, 2, 0)
    with pytest.raises(InputError, match=r"takes \(B, ..., 5\) and \(B, 4\)"):
        FiLM(5, 4)(torch.randn(2, 3, 5), torch.randn(3, 4))
    with pytest.raises(InputError, match="one length"):
        circular_convolution(torch.randn(3), torch.randn(4))
    with pytest.raises(InputError, match="one place and one sign"):
        count_sketch(torch.randn(3), torch.tensor([0, 1]), torch.ones(2), 4)
    with pytest.raises(InputError, match="places are 0 to 3"):
        count_sketch(torch.randn(2), torch.tensor([0, 4]), torch.ones(2), 4)
    with pytest.raises(InputError, match="give at least one"):
        late_fusion([])
    with pytest.raises(InputError, match="all \\(B, C\\)"):
        late_fusion([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(InputError, match="2 numbers above 0"):
        late_fusion([torch.zeros(2, 3)] * 2, [1, 0])
