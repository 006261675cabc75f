"""`POST /chat/completions`: the request."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stoker_gateway.api.common import CommonFields
from stoker_gateway.errors import InvalidRequest

MAX_MESSAGES = 8192


class TextPart(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """A piece of text."""

    text: str
    prompt_cache_breakpoint: Any = None


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    """What an assistant declined to do, given back as history."""

    refusal: str


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """Parsed to be refused."""


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    """Parsed to be refused."""


class VideoPart(msgspec.Struct, tag_field="type", tag="video_url"):
    """Parsed to be refused."""


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    """Parsed to be refused."""


Part = TextPart | RefusalPart | ImagePart | AudioPart | VideoPart | FilePart
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class Message(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One turn. An assistant's own answer may be given back as it came, with all of its fields."""

    role: Role
    content: str | Annotated[list[Part], Meta(min_length=1)] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    annotations: Any = None
    audio: Any = None


class ChatRequest(CommonFields, kw_only=True, forbid_unknown_fields=True):
    """What a chat request may say."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]

    parallel_tool_calls: Any | UnsetType = UNSET
    function_call: Any | UnsetType = UNSET
    functions: Any | UnsetType = UNSET
    modalities: Any | UnsetType = UNSET
    prompt_truncate_len: Any | UnsetType = UNSET
    safe_tokenization: Any | UnsetType = UNSET
    tool_choice: Any | UnsetType = UNSET
    tools: Any | UnsetType = UNSET
    web_search_options: Any | UnsetType = UNSET


_MEDIA = {ImagePart: "Images are", AudioPart: "Audio is", VideoPart: "Video is", FilePart: "Files are"}
_EMPTY_ALLOWED = frozenset({"assistant"})  # with tool calls, a function call or a refusal in its place
_PASSED_ON = ("name", "tool_calls", "tool_call_id", "function_call", "reasoning_content")


def template_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """The messages as chat templates read them: plain dicts, text joined, `developer` called `system`.

    Raises InvalidRequest for media, and for a turn without content.
    """
    return [_template_message(message, i) for i, message in enumerate(messages)]


def _template_message(message: Message, i: int) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    row: dict[str, Any] = {"role": role, "content": _content(message, i)}
    for name in _PASSED_ON:
        value = getattr(message, name)
        if value is not None:
            row[name] = value
    return row


def _content(message: Message, i: int) -> str | None:
    content = message.content
    if isinstance(content, str):
        return content
    if content is not None:
        return "".join(_part_text(part, f"messages[{i}].content[{j}]") for j, part in enumerate(content))
    if message.role in _EMPTY_ALLOWED and (message.tool_calls or message.function_call or message.refusal):
        return message.refusal
    raise InvalidRequest(
        f"A message of role '{message.role}' needs content: give 'messages[{i}].content' a string.",
        param=f"messages[{i}].content",
        code="invalid_type",
    )


def _part_text(part: Part, param: str) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, RefusalPart):
        return part.refusal
    raise InvalidRequest(
        f"{_MEDIA[type(part)]} not supported by this model. Send text parts only.",
        param=param,
        code="unsupported_media",
    )
