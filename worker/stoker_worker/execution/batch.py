"""From a plan's arrays to the tensors of a step."""

import numpy as np
import torch

from stoker_worker.attention.base import AttentionBackend, AttentionMetadata
from stoker_worker.layers.step import StepInputs
from stoker_worker.scheduling.plan import Int64, StepPlan


def step_inputs(plan: StepPlan, block_size: int, attention: AttentionBackend) -> StepInputs:
    """The plan as tensors, its sequences reordered so that decodes of like context stand together.

    Only attention sees more than one token at a time, and only within a sequence; so the order is free, and with a good one attention works
    on slices instead of gathering rows in every layer. Logits come in the order of `plan.logits_rows`.
    """
    num_queries = np.diff(plan.query_starts)
    order = np.lexsort((plan.context_lens, num_queries > 1))
    tokens = _tokens_of(order, plan)
    return StepInputs(
        token_ids=torch.from_numpy(plan.token_ids[tokens]),
        positions=torch.from_numpy(plan.positions[tokens]),
        slots=torch.from_numpy(plan.slots[tokens]),
        logits_rows=torch.from_numpy(_inverse(tokens)[plan.logits_rows]),
        attention=attention.plan(
            AttentionMetadata(
                query_starts=np.concatenate(([0], np.cumsum(num_queries[order]))).astype(np.int32),
                context_lens=plan.context_lens[order],
                block_tables=plan.block_tables[order],
                block_size=block_size,
            )
        ),
    )


def _tokens_of(order: Int64, plan: StepPlan) -> Int64:
    """Indices of the tokens when sequences stand in `order`: [T]."""
    rank = _inverse(order)
    sequence_of_token = np.repeat(rank, np.diff(plan.query_starts))
    return np.argsort(sequence_of_token, kind="stable")


def _inverse(permutation: Int64) -> Int64:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse
