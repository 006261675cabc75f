"""`POST /completions`: the request."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from stoker_gateway.api.common import CommonFields
from stoker_gateway.errors import InvalidRequest

MAX_PROMPTS = 256  # times n

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Prompt = str | list[int]


class CompletionRequest(CommonFields, kw_only=True, forbid_unknown_fields=True):
    """What a completions request may say. `prompt` is a text, token ids, or a list of either."""

    prompt: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]
    best_of: int | None = None

    suffix: Any | UnsetType = UNSET


def prompts_of(request: CompletionRequest) -> list[Prompt]:
    """The prompts, each a text or token ids. Raises InvalidRequest for a mixed list or too many."""
    given = request.prompt
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [_token_ids(given)]
    prompts: list[Prompt] = [item for item in given if isinstance(item, type(given[0])) and not isinstance(item, int)]
    if len(prompts) < len(given):
        raise _mixed()
    if len(prompts) * (request.n or 1) > MAX_PROMPTS:
        raise _invalid(f"Too many choices in one request: prompts times 'n' may be {MAX_PROMPTS}.", "too_many_choices")
    return prompts


def _token_ids(given: list[str | int | list[int]]) -> list[int]:
    ids = [item for item in given if isinstance(item, int)]
    if len(ids) < len(given):
        raise _mixed()
    return ids


def _mixed() -> InvalidRequest:
    return _invalid(
        "'prompt' must be a string, a list of strings, a list of token ids, or a list of such lists; not a mixture.",
        "invalid_type",
    )


def _invalid(message: str, code: str) -> InvalidRequest:
    return InvalidRequest(message, param="prompt", code=code)
