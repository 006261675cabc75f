"""The jinja2 environment of chat templates, as Hugging Face defines it, with a bound on what rendering may cost."""

import json
from collections.abc import Callable, Iterable, Iterator, Sized
from datetime import datetime
from time import monotonic
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as LoopControls  # noqa: N812, a class by jinja2's naming
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_MAX_STEPS = 2_000_000
_MAX_SECONDS = 2.0
_CALL_STEPS = 10
_MAX_PRODUCT = 1_000_000
_BOUNDED = "bounded"


class Refused(JinjaError):
    """The template called `raise_exception`: it does not want these messages."""


class Runaway(JinjaError):
    """The template loops, calls or multiplies beyond any use."""


class TemplateContext(Context):
    """What one rendering may still spend: steps of loops and calls, and time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._steps = _MAX_STEPS
        self._deadline = monotonic() + _MAX_SECONDS

    def charge(self, steps: int) -> None:
        """Spend `steps`; raises Runaway when too many are spent or the time is over."""
        self._steps -= steps
        if self._steps < 0:
            raise Runaway(f"it takes more than {_MAX_STEPS:,} steps")
        if monotonic() > self._deadline:
            raise Runaway(f"it takes longer than {_MAX_SECONDS:g} s")


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Compiles chat templates. Compiling runs no part of one, and what is compiled accounts for its loops and calls.

    Differences from Hugging Face's: `{% generation %}` only marks what it encloses, and `lipsum` is missing.
    """

    context_class = TemplateContext
    intercepted_binops = frozenset(["*", "**"])

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[_GenerationTag, LoopControls]
        )
        self.code_generator_class = _NothingFolded
        self.filters["tojson"] = _tojson
        self.filters[_BOUNDED] = _bounded
        del self.globals["lipsum"]
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = lambda form: now().strftime(form)
        self.globals["namespace"] = _PlainNamespace

    def chat_template(self, source: str) -> Template:
        """Compile a template. Raises jinja2's TemplateError, or what Python says of too deeply nested source."""
        tree = self.parse(source)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, _BOUNDED, [], [], None, None, lineno=loop.lineno)
        return self.from_string(tree)

    def call(self, context: TemplateContext, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Call something from a template. A number among the arguments counts as steps: `range`, `ljust`, …"""
        context.charge(_CALL_STEPS + sum([arg for arg in args if type(arg) is int and arg > 0]))
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply or raise to a power, as long as the result is of a reasonable size."""
        if operator == "**" and not (abs(left) <= _MAX_PRODUCT and abs(right) <= 64):
            raise Runaway("it raises a number to a huge power")
        if operator == "*":
            for count, repeated in ((left, right), (right, left)):
                if isinstance(count, int) and isinstance(repeated, Sized) and count * len(repeated) > _MAX_PRODUCT:
                    raise Runaway("it repeats a sequence too often")
        return super().call_binop(context, operator, left, right)


class _NothingFolded(CodeGenerator):
    """Leaves all expressions for rendering, where they are bounded; jinja2 would evaluate some while compiling."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.Const | nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` encloses what the assistant says; it is of use in training only."""

    tags = {"generation"}  # noqa: RUF012, jinja2 reads it from the class

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=lineno)


class _PlainNamespace(Namespace):
    """A namespace without underscored names, which Python could take for its own."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace may not hold {name!r}")
        super().__setitem__(name, value)


@pass_context
def _bounded(context: TemplateContext, iterable: Any) -> Iterable[Any]:
    """What a loop runs over: its items are charged before the loop, or one by one where their number is unknown."""
    try:
        items = len(iterable)
    except TypeError:
        return _counted(context, iterable)
    context.charge(1 + items)
    return iterable  # type: ignore[no-any-return]


def _counted(context: TemplateContext, iterable: Iterable[Any]) -> Iterator[Any]:
    for item in iterable:
        context.charge(1)
        yield item


def _raise_exception(message: object) -> None:
    raise Refused(str(message))


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as it is: jinja2's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
