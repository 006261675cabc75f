"""Adapter: a LoRA for a base model. Belongs to a namespace."""

from typing import Annotated

from msgspec import Meta

from stoker_operator.api.conditions import Status
from stoker_operator.api.fields import Object, ObjectName, described, immutable
from stoker_operator.api.model import MODEL_ID, SOURCE_RULES, Source


class AdapterSpec(Object, frozen=True):
    """A low-rank change to a model's weights."""

    id: Annotated[
        str,
        MODEL_ID,
        described("What clients write as the model."),
        immutable("id cannot change: make another Adapter"),
    ]
    base: Annotated[
        ObjectName,
        described("The name of the Model that it was trained from."),
        immutable("base cannot change: make another Adapter"),
    ]
    source: Annotated[Source, SOURCE_RULES, described("Where its weights come from.")]
    rank: Annotated[
        Annotated[int, Meta(ge=1, le=512)] | None,
        described("The largest rank in it; default: as its configuration says."),
    ] = None


class AdapterStatus(Status, frozen=True):
    """What was found of an Adapter."""
