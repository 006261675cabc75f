"""The text side of one model: chats and prompts to token ids, token ids to text."""

from collections.abc import Mapping, Sequence
from typing import Any

from stoker_core.text import TextBundle
from stoker_gateway.text.control import ControlTokens
from stoker_gateway.text.detokenizer import ByteDetokenizer, Detokenizer, WindowDetokenizer
from stoker_gateway.text.encoder import Encoder
from stoker_gateway.text.errors import TemplateError, TokenizerError
from stoker_gateway.text.template import ChatTemplate
from stoker_gateway.text.vocabulary import agrees, token_bytes


class ModelText:
    """What a model's `TextBundle` can do. It keeps nothing of the bundle's tokenizer dict; threads may share it.

    stop_token_ids     generation ends at any of these
    vocab_size         one more than the largest token id that has a text
    generation         the model's own sampling defaults
    has_chat_template  whether `render_chat` can work
    """

    def __init__(self, bundle: TextBundle, control: ControlTokens, encoder: Encoder, template: ChatTemplate) -> None:
        """The parts of `from_bundle`."""
        self.stop_token_ids = bundle.stop_token_ids
        self.generation = bundle.generation
        self.has_chat_template = template.takes_chat
        self._control = control
        self._encoder = encoder
        self._template = template
        self._bos = [encoder.token_id(bundle.bos_token)] if bundle.add_bos else []
        self._read_vocabulary(bundle.tokenizer)
        self.vocab_size = len(self._bytes)

    @classmethod
    def from_bundle(cls, bundle: TextBundle) -> "ModelText":
        """Raises TokenizerError for a tokenizer that does not load, TemplateError for a template that does not compile.

        Templates are not tried here: await `verify_template` before a client's messages reach one.
        """
        template = ChatTemplate(bundle)
        try:
            control = ControlTokens(bundle.tokenizer["added_tokens"])
            return cls(bundle, control, Encoder(bundle.tokenizer, control), template)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise TokenizerError(f"The model's tokenizer.json is malformed: {error!r}") from error

    def _read_vocabulary(self, spec: Mapping[str, Any]) -> None:
        """Make the tables: every token's bytes, and the same without those that readers do not see."""
        tokens = self._encoder.tokens()
        special = {token["id"]: token["content"] for token in spec["added_tokens"] if token["special"]}
        apart = {token_id: text for text, token_id in self._control.ids.items()} | special
        table = token_bytes(spec["decoder"], tokens)
        ordinary = [i for i, token in enumerate(tokens) if token is not None and i not in apart]
        self._has_table = table is not None and agrees(self._encoder.tokenizer, table, ordinary)
        if table is None or not self._has_table:
            table = [self._encoder.decode_one(i).encode() for i in range(len(tokens))]
        for token_id, text in apart.items():
            table[token_id] = text.encode()
        self._bytes = table
        self._visible = [b"" if i in special else data for i, data in enumerate(table)]
        self._apart = apart
        self._apart_visible = apart | dict.fromkeys(special, "")

    def render_chat(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        extra: Mapping[str, Any] = {},
        cache_salt: bytes | None = None,
    ) -> list[int]:
        """Token ids of a chat. Control tokens inside any string that is given here are ordinary text.

        extra       further variables of the template, such as `documents` or `enable_thinking`
        cache_salt  chats under one salt share the work of encoding what they have in common; None: nothing is shared
        Raises TemplateError with a sentence for the client, TokenizerError for lone surrogates.
        """
        given: list[Any] = [messages, tools, dict(extra)]
        try:
            mark = self._control.mark_for(given)
            if mark:
                given = self._control.marked(given, mark)
        except RecursionError:
            raise TemplateError("The messages or tools are nested too deeply.") from None
        messages, tools, extra = given
        text = self._template.render(messages, tools, add_generation_prompt=add_generation_prompt, extra=extra)
        return self._encoder.encode(text, mark=mark, cache_salt=cache_salt)

    def encode(self, text: str, *, add_special: bool, cache_salt: bytes | None = None) -> list[int]:
        """Token ids of a raw prompt, in which control tokens may be spelled out.

        add_special  prepend bos if the model wants one
        Raises TokenizerError for lone surrogates.
        """
        ids = self._encoder.encode(text, cache_salt=cache_salt)
        return self._bos + ids if add_special else ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens, as a detokenizer would have given it."""
        detokenizer = self.detokenizer()
        return detokenizer.push(ids) + detokenizer.finish()

    def token_text(self, token_id: int) -> str:
        """One token's text by itself: U+FFFD where it has only parts of characters, "" for an id without token."""
        return self.token_bytes(token_id).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """What one token stands for, special tokens for their names; b"" for an id without token."""
        return self._bytes[token_id] if 0 <= token_id < self.vocab_size else b""

    def detokenizer(self, skip_special: bool = True) -> Detokenizer:
        """A detokenizer for one choice; special tokens have no text in it unless asked for."""
        if self._has_table:
            return ByteDetokenizer(self._visible if skip_special else self._bytes)
        return WindowDetokenizer(self._encoder.tokenizer, self._apart_visible if skip_special else self._apart)
