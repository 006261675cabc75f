"""Arithmetic on token counts."""

from collections.abc import Iterable
from dataclasses import fields, replace

from stoker_core.usage import TokenCounts

_NAMES = tuple(field.name for field in fields(TokenCounts))


def add_up(parts: Iterable[TokenCounts]) -> TokenCounts:
    """The sum, field by field."""
    rows = [[getattr(part, name) for name in _NAMES] for part in parts]
    return TokenCounts(*map(sum, zip(*rows, strict=True)))


def over_attempts(before: TokenCounts, attempt: TokenCounts) -> TokenCounts:
    """What a client is told after one more attempt at its prompt: the prompt counts once, every completion token counts."""
    prompt, cached = max(before.prompt, attempt.prompt), max(before.cached, attempt.cached)
    return replace(add_up((before, attempt)), prompt=prompt, cached=cached)
