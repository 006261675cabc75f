"""Chat templates: messages to text."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.exceptions import TemplateError as JinjaError

from stoker_core.text import TextBundle
from stoker_gateway.text.errors import TemplateError, UnsafeTemplate
from stoker_gateway.text.sandbox import Refused, Runaway, TemplateEnvironment

MAX_CHARS = 8_000_000

DEFAULT = "default"
TOOL_USE = "tool_use"

# What expressions of a template can raise. Python's own errors may quote what a message says.
_FAILURES = (JinjaError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


def local_time() -> datetime:
    """Now, in the machine's time zone: what templates write into system prompts."""
    return datetime.now().astimezone()


class ChatTemplate:
    """A model's chat templates, compiled; that runs nothing of them. Rendering is bounded in steps, time and size."""

    def __init__(self, bundle: TextBundle, *, now: Callable[[], datetime] = local_time) -> None:
        """Raises TemplateError for source that is no template."""
        environment = TemplateEnvironment(now)
        self._templates = {name: _compiled(environment, name, source) for name, source in bundle.chat_templates.items()}
        self._tokens = {"bos_token": bundle.bos_token, "eos_token": bundle.eos_token, **bundle.special_tokens}
        self._globals = dict(environment.globals)  # jinja2 would collect them anew for every rendering

    @property
    def takes_chat(self) -> bool:
        """Whether there is a template for chat at all."""
        return DEFAULT in self._templates

    def render(
        self,
        messages: Any,
        tools: Any = None,
        *,
        add_generation_prompt: bool = True,
        extra: Mapping[str, Any] = {},
    ) -> str:
        """The prompt's text; special tokens that the model's configuration names are variables of the template.

        `extra` are further variables, such as `documents` or `enable_thinking`.
        Raises TemplateError with the template's own words where it has some, UnsafeTemplate where it runs away.
        """
        given = {"messages": messages, "tools": tools, "add_generation_prompt": add_generation_prompt, **self._tokens}
        taken = sorted(given.keys() & extra.keys())
        if taken:
            raise TemplateError(f"The chat template's variable {taken[0]!r} cannot be set; leave it out.")
        template = self._choose(with_tools=bool(tools))
        try:
            return _rendered(template, {**self._globals, "documents": None, **given, **extra})
        except _FAILURES as error:
            raise _explained(error) from None

    def _choose(self, *, with_tools: bool) -> Template:
        template = self._templates.get(TOOL_USE) if with_tools else None
        template = template or self._templates.get(DEFAULT)
        if template is None:
            raise TemplateError("This model has no chat template; use the completions endpoint.")
        return template


def _compiled(environment: TemplateEnvironment, name: str, source: str) -> Template:
    try:
        return environment.chat_template(source)
    except TemplateSyntaxError as error:
        raise TemplateError(f"Chat template {name!r}, line {error.lineno}: {error.message}") from error
    except (JinjaError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise TemplateError(f"Chat template {name!r} cannot be compiled: {type(error).__name__}") from error


def _rendered(template: Template, variables: dict[str, Any]) -> str:
    """The text; `variables` are all that the template sees, globals too."""
    chunks: list[str] = []
    size = 0
    context = template.new_context(variables, shared=True)
    for chunk in template.root_render_func(context):
        size += len(chunk)
        if size > MAX_CHARS:
            raise Runaway(f"it writes more than {MAX_CHARS:,} characters")
        chunks.append(chunk)
    return "".join(chunks)


def _explained(error: Exception) -> TemplateError:
    """A sentence for the client; only what jinja2 words itself is quoted, other errors may hold parts of a message."""
    match error:
        case Refused():
            return TemplateError(f"The model's chat template refuses these messages: {error}")
        case Runaway() | SecurityError():
            return UnsafeTemplate(f"The model's chat template was stopped: {str(error).rstrip('.')}.")
        case RecursionError() | MemoryError():
            return UnsafeTemplate(f"The model's chat template was stopped: {type(error).__name__}.")
        case UndefinedError() | TypeError():
            return TemplateError(f"The model's chat template cannot render these messages: {str(error).rstrip('.')}.")
        case _:
            return TemplateError(f"The model's chat template cannot render these messages: {type(error).__name__}.")
