"""Rotary scaling, as far as both file formats leave it to be worked out alike."""

from math import log

from stoker_worker.models.config import RopeKind, RopeScaling


def stretched_context(context_length: int, scaling: RopeScaling) -> int:
    """How many tokens a model reaches, given the length that its file states.

    Files of YaRN models may state the trained length; the factor tells how far it is stretched.
    """
    if scaling.kind is not RopeKind.YARN:
        return context_length
    return max(context_length, int(scaling.original_context * scaling.factor))


def yarn_magnitude(factor: float) -> float:
    """What YaRN multiplies queries and keys by (arXiv:2309.00071, section 3.4)."""
    return 0.1 * log(factor) + 1.0 if factor > 1.0 else 1.0
