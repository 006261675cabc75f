"""How one model is divided over the ranks of a tensor-parallel group."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from stoker_worker.errors import SettingsError


class TensorParallelGroup(Protocol):
    """The ranks that hold one model together. Every rank calls the same methods in the same order."""

    @property
    def rank(self) -> int:
        """This process's place, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many ranks there are."""
        ...

    def all_reduce(self, partial: Tensor) -> Tensor:
        """The sum over all ranks; `partial` may be overwritten."""
        ...

    def all_gather(self, part: Tensor) -> Tensor:
        """The ranks' parts side by side along the last dimension, in order of rank."""
        ...


@dataclass(frozen=True, slots=True)
class SingleRank:
    """The group of one: nothing to exchange."""

    rank: int = 0
    size: int = 1

    def all_reduce(self, partial: Tensor) -> Tensor:
        """`partial` itself."""
        return partial

    def all_gather(self, part: Tensor) -> Tensor:
        """`part` itself."""
        return part


def share(total: int, group: TensorParallelGroup, what: str) -> int:
    """How many of `total` each rank holds. Raises SettingsError if they cannot be divided equally."""
    if total % group.size:
        raise SettingsError(f"{total} {what} cannot be divided over {group.size} ranks; choose a divisor of {total}")
    return total // group.size
