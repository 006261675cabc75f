"""Control tokens: those that only a chat template may write. What a user typed is never one of them."""

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Any

from stoker_gateway.text.errors import TemplateError

# Some models (DeepSeek's) do not flag their turn markers as special; by this shape they are known all the same.
_MARKER_SHAPE = re.compile(r"<[|｜].*[|｜]>", re.DOTALL)

# Private use: such a character means nothing, and neither trimming nor case mapping touches it.
_MARKS = range(0xF0000, 0xFFFFE)


class ControlTokens:
    """The control tokens of one vocabulary: found in rendered text, kept apart from what messages say.

    Messages are guarded by a mark, a character that they do not hold. It breaks every control token's text in them, and
    every trailing piece of one, whose rest the next part of a message may bring. So what rendered text still spells out
    was written by the template. (One that itself completes a token around a message's words, as `'<|' + role + '|>'`
    does, means it: what may stand there is for the edge to check.)
    """

    def __init__(self, added_tokens: Iterable[Mapping[str, Any]]) -> None:
        """`added_tokens` as in a tokenizer.json. Tokens of one character are text like any other."""
        self.ids: dict[str, int] = {
            token["content"]: token["id"]
            for token in added_tokens
            if len(token["content"]) > 1 and (token["special"] or _MARKER_SHAPE.fullmatch(token["content"]))
        }
        texts = sorted(self.ids)
        any_text = _longest_of(texts)
        self._texts = re.compile(f"({any_text})")
        heads = [(head, [text[1:] for text in group]) for head, group in groupby(texts, itemgetter(0))]
        self._heads = re.compile(_longest_of([head for head, _ in heads]))
        # The first characters of control tokens, also of those that overlap.
        starts = [f"{re.escape(head)}(?={_longest_of(rests)})" for head, rests in heads]
        self._starts = re.compile("|".join(starts) or "(?!)")
        self._pieces = {text[:end] for text in texts for end in range(1, len(text))}
        self._longest = max(map(len, texts), default=0)

    def split(self, text: str) -> list[str]:
        """Ordinary text and control tokens in turn: the odd items are control tokens, ordinary text may be empty."""
        return self._texts.split(text)

    def mark_for(self, values: Sequence[Any]) -> str:
        """A mark that guards JSON `values`, or "" where they hold nothing to break.

        Raises TemplateError if the values use every private-use character.
        """
        strings = _strings_in(values)
        if not self._heads.search("\n".join(strings)):
            return ""
        if not any(self._texts.search(string) or self._trailing_piece(string) for string in strings):
            return ""
        used = set().union(*strings)
        # A random one: text that holds its JSON escape by intent cannot be prepared.
        offset = secrets.randbelow(len(_MARKS))
        for index in range(len(_MARKS)):
            mark = chr(_MARKS[(offset + index) % len(_MARKS)])
            if mark not in used:
                return mark
        raise TemplateError("The messages use every private-use character; leave one out.")

    def marked(self, value: Any, mark: str) -> Any:
        """A copy of a JSON value in which no string, nor several in a row, spells a control token."""
        if isinstance(value, str):
            return self._mark(value, mark)
        if isinstance(value, dict):
            return {self.marked(key, mark): self.marked(item, mark) for key, item in value.items()}
        if isinstance(value, list):
            return [self.marked(item, mark) for item in value]
        return value

    def _mark(self, text: str, mark: str) -> str:
        if self._trailing_piece(text):
            kept = text.rstrip()
            text = kept + mark + text[len(kept) :]
        return self._starts.sub(rf"\g<0>{mark}", text)

    def _trailing_piece(self, text: str) -> bool:
        """Whether text ends with the beginning of a control token; trimming whitespace could bring that to light."""
        tail = text.rstrip()[-self._longest :]
        if not self._heads.search(tail):
            return False
        return any(tail[start:] in self._pieces for start in range(len(tail)))


def unmarked(text: str, mark: str) -> str:
    """Rendered text without the mark, also where a template asked for ASCII JSON."""
    return text.replace(mark, "").replace(json.dumps(mark)[1:-1], "")


def _strings_in(values: Sequence[Any]) -> list[str]:
    """Every string inside JSON values, keys too, in no order."""
    strings: list[str] = []
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            strings.append(value)
        elif isinstance(value, dict):
            stack.extend(value)
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return strings


def _longest_of(words: Sequence[str]) -> str:
    """A regular expression for the longest of some sorted words, branching like a trie; for none it never matches."""
    if not words:
        return "(?!)"
    # Of sorted words the first and the last differ the earliest.
    pairs = zip(words[0], words[-1], strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    prefix, rests = words[0][:shared], [word[shared:] for word in words]
    branches = [_longest_of(list(group)) for head, group in groupby(rests, lambda rest: rest[:1]) if head]
    if not branches:
        return re.escape(prefix)
    optional = "?" if "" in rests else ""
    return f"{re.escape(prefix)}(?:{'|'.join(branches)}){optional}"
