"""The KV block pool: who holds which block, and which unused blocks still hold a known prefix."""

from collections import OrderedDict


class BlockPool:
    """Reference counts over `num_blocks` KV blocks, with a prefix cache in the unused ones.

    A block is either held (count > 0) or free. A free block may still carry a key: then its content can be found by
    `lookup` and taken up again, until `allocate` needs the space. Free blocks are kept in the order in which they will be
    given out: those without a key first, then least recently released.
    """

    def __init__(self, num_blocks: int) -> None:
        self._counts = [0] * num_blocks
        self._keys: list[bytes | None] = [None] * num_blocks
        self._by_key: dict[bytes, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))

    @property
    def num_blocks(self) -> int:
        """Blocks in all."""
        return len(self._counts)

    @property
    def num_free(self) -> int:
        """Blocks that `allocate` can give out, cached ones included."""
        return len(self._free)

    @property
    def num_cached(self) -> int:
        """Blocks with a key, held or free."""
        return len(self._by_key)

    def is_free(self, block: int) -> bool:
        """Nobody holds the block."""
        return self._counts[block] == 0

    def allocate(self) -> int:
        """Hold a block whose content is of no more use. Raises IndexError if none is free."""
        if not self._free:
            raise IndexError("no free block")
        block, _ = self._free.popitem(last=False)
        key = self._keys[block]
        if key is not None:
            del self._by_key[key]
            self._keys[block] = None
        self._counts[block] = 1
        return block

    def lookup(self, key: bytes) -> int | None:
        """The block that carries `key`, held or free."""
        return self._by_key.get(key)

    def hold(self, block: int) -> None:
        """Take one more reference to a block found by `lookup`."""
        if self._counts[block] == 0:
            del self._free[block]
        self._counts[block] += 1

    def publish(self, block: int, key: bytes) -> None:
        """Make a held, full block findable. If another block already carries `key`, that one stays the known one."""
        assert self._counts[block] > 0, "only a held block has settled content"
        if self._keys[block] is None and key not in self._by_key:
            self._keys[block] = key
            self._by_key[key] = block

    def release(self, blocks: list[int]) -> None:
        """Give up one reference to each block of a sequence, in sequence order.

        Later blocks become free first: a prefix's tail is worth less than its head, which more requests share.
        """
        for block in reversed(blocks):
            assert self._counts[block] > 0, "released more often than held"
            self._counts[block] -= 1
            if self._counts[block] == 0:
                self._free[block] = None
                if self._keys[block] is None:
                    self._free.move_to_end(block, last=False)

    def check(self, held: dict[int, int]) -> list[str]:
        """Compare the books with `held` (block → references that sequences really have); returns what does not add up."""
        problems = []
        for block, count in enumerate(self._counts):
            if count != held.get(block, 0):
                problems.append(f"block {block}: count {count}, held by {held.get(block, 0)}")
            if (count == 0) != (block in self._free):
                problems.append(
                    f"block {block}: count {count}, but {'' if block in self._free else 'not '}in the free list"
                )
        problems += [
            f"key of block {block} is not the block's"
            for key, block in self._by_key.items()
            if self._keys[block] != key
        ]
        return problems
