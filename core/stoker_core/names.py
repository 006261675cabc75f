"""Names that appear in more than one room: model ids, and the default model."""

from dataclasses import dataclass

PROTOCOL_VERSION = 1

DEFAULT_MODEL_ID = "accounts/stoker/models/smollm2-135m-instruct"
DEFAULT_MODEL_ALIASES = ("smollm2-135m-instruct",)

# Tokens that one prompt or one choice may ask alternatives for, the most that OpenAI's API allows.
MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model at a revision: what an engine hosts and a usage event names."""

    model_id: str
    revision: str

    def __str__(self) -> str:
        return f"{self.model_id}@{self.revision}"

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Read "<model id>@<revision>". Raises ValueError if either part is missing."""
        model_id, at, revision = text.rpartition("@")
        if not (at and model_id and revision):
            raise ValueError(f"{text!r} is no model reference; write <model id>@<revision>")
        return cls(model_id, revision)
