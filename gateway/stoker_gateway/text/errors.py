"""What can go wrong between text and token ids.

TextError
├── TokenizerError       a tokenizer cannot be loaded, or a text cannot be encoded
└── TemplateError        a chat template is missing or refuses these messages
    └── UnsafeTemplate   a chat template runs away or leaves its sandbox

Every text is a sentence for the client who sent the request. It may quote that client's own messages (a template's
`raise_exception` does), so it belongs in the answer and not in a log.
"""


class TextError(Exception):
    """Any failure on the text side."""


class TokenizerError(TextError):
    """A tokenizer cannot be loaded, or a text cannot be encoded with it."""


class TemplateError(TextError):
    """A chat template is missing, broken, or refuses what it was given."""


class UnsafeTemplate(TemplateError):
    """A chat template did what no chat template may do: it is the template's fault and not the messages'."""
