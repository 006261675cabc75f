"""One step as tensors: what a model's forward pass takes besides its weights and KV."""

from dataclasses import dataclass

from torch import Tensor

from stoker_worker.attention.base import AttentionStep


@dataclass(frozen=True, slots=True)
class StepInputs:
    """T tokens of several sequences, laid end to end.

    token_ids    [T] int32
    positions    [T] int32, of each token in its sequence
    slots        [T] int64, where each token's keys and values go
    logits_rows  [L] int64, indices into T whose logits are wanted, in the order of the logits
    attention    attends the T queries to what their sequences have in the KV cache
    """

    token_ids: Tensor
    positions: Tensor
    slots: Tensor
    logits_rows: Tensor
    attention: AttentionStep
