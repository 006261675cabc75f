"""How one request wants its tokens drawn."""

import msgspec


class SamplingParams(msgspec.Struct, frozen=True, array_like=True):
    """Values are checked at the wire; here they are taken as they are.

    temperature         0: greedy
    top_k               0: off
    top_p               1: off
    min_p               0: off; relative to the most probable token
    repetition_penalty  1: off; divides positive and multiplies negative logits of every token seen, prompt included
    presence_penalty    subtracted once from the logit of each token in the output
    frequency_penalty   subtracted per occurrence in the output
    logit_bias          (token id, value) pairs added to logits
    seed                64 bits
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0


class LogprobsParams(msgspec.Struct, frozen=True, array_like=True):
    """Which logprobs a request wants, and how many alternatives at each position."""

    output: bool = False
    output_top: int = 0
    prompt: bool = False
    prompt_top: int = 0
