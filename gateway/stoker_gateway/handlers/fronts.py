"""What differs between chat and completions: reading prompts, and the shape of answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import msgspec

from stoker_core.usage import TokenCounts
from stoker_gateway.api import decode
from stoker_gateway.api.chat import ChatRequest, template_messages
from stoker_gateway.api.common import CommonFields
from stoker_gateway.api.completions import CompletionRequest, Prompt, prompts_of
from stoker_gateway.errors import InvalidRequest
from stoker_gateway.generation import chunks
from stoker_gateway.generation.answers import Meta, chat_answer, completion_answer
from stoker_gateway.generation.choice import Choice
from stoker_gateway.generation.logprobs import Vocabulary
from stoker_gateway.text.errors import TemplateError, TokenizerError
from stoker_gateway.text.model_text import ModelText

R = TypeVar("R", bound=CommonFields)


class TokenPrompt(NamedTuple):
    """A prompt as the model reads it, and its text where it is to be echoed."""

    token_ids: list[int]
    text: str


@dataclass(frozen=True, slots=True)
class Front(Generic[R]):
    """One endpoint. `prompts` raises InvalidRequest; `param` is the field they come from."""

    route: str
    id_prefix: str
    param: str
    decoder: msgspec.json.Decoder[R]
    prompts: Callable[[R, ModelText, bytes], list[TokenPrompt]]
    style: chunks.Style
    answer: Callable[[Meta, Sequence[Choice], TokenCounts, Vocabulary], bytes]


def _chat_prompts(request: ChatRequest, text: ModelText, salt: bytes) -> list[TokenPrompt]:
    if not text.has_chat_template:
        raise InvalidRequest(
            "This model has no chat template. Use /v1/completions.", param="model", code="not_a_chat_model"
        )
    messages = template_messages(request.messages)
    try:
        return [TokenPrompt(text.render_chat(messages, cache_salt=salt), "")]
    except TemplateError as error:
        raise InvalidRequest(
            f"The model's chat template refuses these messages: {error}", param="messages", code="template_error"
        ) from None
    except TokenizerError as error:
        raise InvalidRequest(str(error), param="messages") from None


def _completion_prompts(request: CompletionRequest, text: ModelText, salt: bytes) -> list[TokenPrompt]:
    try:
        return [_completion_prompt(prompt, bool(request.echo), text, salt) for prompt in prompts_of(request)]
    except TokenizerError as error:
        raise InvalidRequest(str(error), param="prompt") from None


def _completion_prompt(prompt: Prompt, echo: bool, text: ModelText, salt: bytes) -> TokenPrompt:
    if isinstance(prompt, str):
        return TokenPrompt(text.encode(prompt, add_special=True, cache_salt=salt), prompt)
    return TokenPrompt(prompt, text.decode(prompt) if echo else "")


CHAT = Front("chat", "chatcmpl-", "messages", decode.CHAT, _chat_prompts, chunks.CHAT, chat_answer)
COMPLETIONS = Front(
    "completions", "cmpl-", "prompt", decode.COMPLETION, _completion_prompts, chunks.COMPLETION, completion_answer
)
