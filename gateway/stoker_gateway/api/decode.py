"""From bytes to a request, or to an error that says in the API's words what is wrong with them."""

import re
from typing import Final, TypeVar, get_args

import msgspec

from stoker_gateway.api.chat import ChatRequest, Role
from stoker_gateway.api.common import CommonFields
from stoker_gateway.api.completions import CompletionRequest
from stoker_gateway.api.fields import UNSUPPORTED, refuse_unsupported
from stoker_gateway.errors import InvalidRequest

R = TypeVar("R", bound=CommonFields)

CHAT: Final = msgspec.json.Decoder(ChatRequest)
COMPLETION: Final = msgspec.json.Decoder(CompletionRequest)


def decode(decoder: msgspec.json.Decoder[R], body: bytes) -> R:
    """Parse and check one request as far as its fields allow without a model. Raises InvalidRequest."""
    try:
        request = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise translate(str(error)) from None
    except RecursionError:
        raise _bad_json("It is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _bad_json("Send one whole JSON object, as UTF-8 and without lone surrogates.") from None
    refuse_unsupported(request)
    _check_together(request)
    return request


def _bad_json(hint: str) -> InvalidRequest:
    return InvalidRequest(f"The request body could not be read as JSON. {hint}", code="invalid_json")


def _check_together(request: CommonFields) -> None:
    """What one field's type cannot say. Raises InvalidRequest."""
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise InvalidRequest("Set 'max_tokens' or 'max_completion_tokens', not both.", param="max_tokens")
    if request.max_tokens == 0 and not request.echo:
        raise InvalidRequest("Set 'max_tokens' to 1 or more.", param="max_tokens", code="integer_below_min_value")
    if request.stream_options is not None and not request.stream:
        raise InvalidRequest("'stream_options' needs 'stream': true.", param="stream_options")
    if request.top_logprobs is not None and request.logprobs is not True:
        raise InvalidRequest("'top_logprobs' needs 'logprobs': true.", param="top_logprobs")
    if isinstance(request, ChatRequest) and request.echo:
        raise InvalidRequest("'echo' is not supported on chat; use completions.", param="echo", code=UNSUPPORTED)
    if isinstance(request, CompletionRequest) and request.best_of not in (None, request.n or 1):
        raise InvalidRequest("'best_of' must equal 'n' here.", param="best_of", code=UNSUPPORTED)


# ------------------------------------------------------------------- msgspec's sentences in the API's words

_AT = re.compile(r" - at `(key in )?\$(?P<path>.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`")
_TYPE = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`$")
_LENGTH = re.compile(r"Expected `(?P<kind>[^`]*)` of length (?P<sign>[<>]=|==) (?P<bound>\d+)")
_RANGE = re.compile(r"Expected `(?P<kind>[^`]*)` (?P<sign>[<>]=?) (?P<bound>\S+)")

_TYPE_WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_SIGN_WORDS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than", "==": "exactly"}
_SUPPORTED = {
    "role": f"supported values are {', '.join(get_args(Role))}",
    "type": "supported values are text, refusal, image_url, input_audio, video_url, file",
    "context_length_exceeded_behavior": "supported values are error, truncate",
}
_LENGTH_WORDS = {"array": "items", "str": "characters", "object": "entries"}


def translate(problem: str) -> InvalidRequest:
    """OpenAI's error for one of msgspec's validation messages."""
    at = _AT.search(problem)
    path = at["path"].lstrip(".") if at else ""
    sentence = problem[: at.start()] if at else problem
    if found := _UNKNOWN.match(sentence):
        param = _join(path, found["field"][:64])
        return InvalidRequest(f"Unknown parameter: '{param}'. Leave it out.", param=param, code="unknown_parameter")
    if found := _MISSING.match(sentence):
        param = _join(path, found["field"])
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if found := _TYPE.match(sentence):
        return _wrong_type(path, found["wanted"], found["got"])
    if found := _LENGTH.match(sentence):
        words = f"{_SIGN_WORDS[found['sign']]} {found['bound']} {_LENGTH_WORDS.get(found['kind'].split(' ')[0], '')}"
        return _wrong_value(path, f"expected {words.strip()}", f"{found['kind'].split(' ')[0]}_length_out_of_range")
    if found := _RANGE.match(sentence):
        words = f"{_SIGN_WORDS[found['sign']]} {found['bound'].removesuffix('.0')}"
        return _wrong_value(path, f"expected a value of {words}", "value_out_of_range")
    return _wrong_value(path, _SUPPORTED.get(path.rpartition(".")[2], "this value is not supported"), "invalid_value")


def _wrong_type(path: str, wanted: str, got: str) -> InvalidRequest:
    kinds = [_TYPE_WORDS.get(kind, kind) for kind in wanted.split(" | ") if kind != "null"]
    message = f"expected {' or '.join(kinds)}, but got {_TYPE_WORDS.get(got, got)} instead."
    if not path:
        return InvalidRequest(f"Invalid request body: {message}", code="invalid_type")
    return InvalidRequest(f"Invalid type for '{path}': {message}", param=path, code="invalid_type")


def _wrong_value(path: str, words: str, code: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{path}': {words}.", param=path or None, code=code)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
