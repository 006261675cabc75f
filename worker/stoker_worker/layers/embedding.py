"""Token ids to vectors and vectors to logits, the vocabulary divided over a tensor-parallel group."""

from torch import Tensor
from torch.nn.functional import embedding

from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.matmul import prepare


class VocabParallelEmbedding:
    """Every rank holds an equal range of the vocabulary."""

    def __init__(self, loader: WeightLoader, name: str) -> None:
        self._group = loader.group
        self.weight = loader.rows(f"{name}.weight")
        self._first = loader.group.rank * len(self.weight)

    def __call__(self, token_ids: Tensor) -> Tensor:
        """[T] int32 → [T, hidden], freshly allocated."""
        if self._group.size == 1:
            return embedding(token_ids, self.weight)
        local = token_ids - self._first
        foreign = (local < 0) | (local >= len(self.weight))
        vectors = embedding(local.masked_fill(foreign, 0), self.weight).masked_fill_(foreign[:, None], 0)
        return self._group.all_reduce(vectors)


class ParallelHead:
    """Logits over the vocabulary. A tied head multiplies by the embedding's matrix, or by a packed copy where one is faster."""

    def __init__(self, loader: WeightLoader, name: str, tied_to: VocabParallelEmbedding | None = None) -> None:
        self._group = loader.group
        self._matmul = prepare(tied_to.weight if tied_to else loader.rows(f"{name}.weight"))

    def __call__(self, hidden: Tensor) -> Tensor:
        """[L, hidden] → [L, vocab], freshly allocated."""
        return self._group.all_gather(self._matmul(hidden))
