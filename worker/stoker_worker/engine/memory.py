"""How much KV a machine can hold."""

from dataclasses import dataclass

DEFAULT_KV_BYTES = 384 << 20
MEMORY_SHARE = 0.5  # of what is available once the weights are in


@dataclass(frozen=True, slots=True)
class KvPlan:
    """`num_blocks` blocks of `block_size` tokens; a request may use `context_length` tokens of them."""

    num_blocks: int
    block_size: int
    context_length: int


class TooLittleMemory(ValueError):
    """Not even one block fits; the text says how much is missing."""


def plan_kv(
    bytes_per_token: int, model_context: int, available_bytes: int, *, block_size: int, kv_tokens: int, max_context: int
) -> KvPlan:
    """Divide memory into KV blocks.

    bytes_per_token  over all layers
    available_bytes  free memory after loading
    kv_tokens        asked for; 0: 384 MiB, or one full context if that is more, within half of what is available
    max_context      the longest request asked for; 0: what the model was made for
    Raises TooLittleMemory.
    """
    context = min(model_context, max_context or model_context)
    fits = available_bytes // bytes_per_token
    wanted = kv_tokens or min(max(context, DEFAULT_KV_BYTES // bytes_per_token), int(fits * MEMORY_SHARE))
    num_blocks = wanted // block_size
    if wanted > fits or num_blocks < 1:
        needed = max(wanted, block_size) * bytes_per_token
        raise TooLittleMemory(
            f"{max(wanted, block_size)} tokens of KV need {needed / 2**30:.1f} GiB and {available_bytes / 2**30:.1f} GiB are "
            "available: ask for fewer with --kv-tokens, or give the process more memory"
        )
    return KvPlan(num_blocks, block_size, min(context, num_blocks * block_size))
