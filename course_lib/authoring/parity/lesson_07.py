"""Lesson 07: measures beside torchmetrics', exact search beside brute force, VSE++'s sentences beside nn.GRU."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.authoring.parity.rows import ParityRow, difference
from course_lib.encoders.convnet import ConvNetConfig
from course_lib.evaluation import retrieval
from course_lib.layers.recurrent import from_torch
from course_lib.models.vector_index import VectorIndex, flat, ivf, pq
from course_lib.models.vse import VSE, VSEConfig

TIGHT = 1e-6


def measures_beside_torchmetrics(
    queries: int = 60, candidates: int = 300, rate: float = 0.02, seed: int = 0
) -> list[ParityRow]:
    """Every measure beside torchmetrics', on random scores without ties; each query has one right candidate or more.

    The scores are above 0, for torchmetrics counts a right candidate that scores 0 or less as wrong.

    Args:
        queries, candidates: Q and N, the second no smaller.
        rate: the share of candidates that are right, besides one for each query.
        seed: of all that is random.
    """
    import torchmetrics.retrieval as theirs

    generator = torch.Generator().manual_seed(seed)
    scores = torch.randperm(queries * candidates, generator=generator).view(queries, candidates)
    scores = (scores + 1) / (queries * candidates + 1)
    positives = torch.rand(queries, candidates, generator=generator) < rate
    positives[torch.arange(queries), torch.arange(queries)] = True
    degrees = positives * torch.randint(1, 5, positives.shape, generator=generator)
    which = torch.arange(queries)[:, None].expand(-1, candidates)
    pairs = [
        ("mAP", theirs.RetrievalMAP(), retrieval.mean_average_precision(scores, positives)),
        ("MRR", theirs.RetrievalMRR(), retrieval.mean_reciprocal_rank(scores, positives)),
        ("nDCG", theirs.RetrievalNormalizedDCG(), retrieval.ndcg(scores, positives)),
        ("nDCG@5", theirs.RetrievalNormalizedDCG(top_k=5), retrieval.ndcg(scores, positives, 5)),
        ("R@1 (hit rate)", theirs.RetrievalHitRate(top_k=1), retrieval.recall_at_k(scores, 1, positives)),
        ("R@5 (hit rate)", theirs.RetrievalHitRate(top_k=5), retrieval.recall_at_k(scores, 5, positives)),
        ("R@10 (hit rate)", theirs.RetrievalHitRate(top_k=10), retrieval.recall_at_k(scores, 10, positives)),
        ("share found @10", theirs.RetrievalRecall(top_k=10), retrieval.share_found(scores, 10, positives)),
    ]
    rows = []
    for name, metric, ours in pairs:
        wanted = metric(scores, positives, which).item()
        rows.append(ParityRow(name, f"torchmetrics {type(metric).__name__}", "value", abs(ours - wanted), TIGHT))
    graded = theirs.RetrievalNormalizedDCG()(scores, degrees, which).item()
    apart = abs(retrieval.ndcg(scores, degrees) - graded)
    return [*rows, ParityRow("nDCG, degrees", "torchmetrics RetrievalNormalizedDCG", "value", apart, TIGHT)]


def search_beside_brute_force(count: int = 2_000, dimension: int = 32, seed: int = 0) -> list[ParityRow]:
    """FAISS through our index beside a matrix product and a sort: cosines in their order, and the ids they belong to.

    Also an inverted file that looks into all its cells, which must miss nothing, and the codes of product quantisation
    put back together by hand.
    """
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(count, dimension, generator=generator), dim=1)
    queries = F.normalize(torch.randn(25, dimension, generator=generator), dim=1)
    ids = torch.randperm(10 * count, generator=generator)[:count]
    wanted = (queries.double() @ vectors.double().T).topk(10, dim=1)
    rows = []
    for name, index in (("flat", flat(dimension)), ("IVF, all cells", ivf(dimension, cells=20, probes=20))):
        ours = VectorIndex(index)
        ours.add(vectors, ids)
        scores, found = ours.search(queries, 10)
        rows.append(ParityRow(f"VectorIndex, {name}", "brute force", "cosines", difference(scores, wanted.values)))
        rows.append(ParityRow(f"VectorIndex, {name}", "brute force", "ids", difference(found, ids[wanted.indices]), 0))
    ours = VectorIndex(pq(dimension, pieces=8, bits=6))
    ours.add(vectors, ids)
    decoded = torch.from_numpy(ours.index.sa_decode(ours.index.sa_encode(vectors.numpy())))
    scores, found = ours.search(queries, 10)
    place = {number: row for row, number in enumerate(ids.tolist())}
    rows_found = torch.tensor([[place[number] for number in row] for row in found.tolist()])
    by_hand = (queries[:, None] * decoded[rows_found]).sum(dim=2)
    rows.append(ParityRow("VectorIndex, PQ", "code words put together", "scores", difference(scores, by_hand)))
    return rows


def sentences_beside_torch(vocab_size: int = 40, length: int = 11, seed: int = 0) -> list[ParityRow]:
    """A sentence's vector in VSE++ beside nn.GRU on packed sequences of several lengths."""
    torch.manual_seed(seed)
    config = VSEConfig(vocab_size, ConvNetConfig(image_size=16, channels=(4,), strides=(2,)), 12, 20)
    model = VSE(config).eval()
    theirs = nn.GRU(config.word_width, config.embed_dim, batch_first=True)
    model.gru.load_state_dict(from_torch(theirs.state_dict()))
    input_ids = torch.randint(1, vocab_size, (9, length))
    for row in range(9):
        input_ids[row, 2 + row :] = 0
    packed = nn.utils.rnn.pack_padded_sequence(
        model.words(input_ids), (input_ids != 0).sum(1), batch_first=True, enforce_sorted=False
    )
    with torch.no_grad():
        apart = difference(model.encode_text(input_ids), theirs(packed)[1][-1])
    return [ParityRow("VSE++", "torch nn.GRU", "sentence vectors", apart)]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    measures_beside_torchmetrics,
    search_beside_brute_force,
    sentences_beside_torch,
]
