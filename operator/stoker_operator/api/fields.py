"""Building blocks of the resources: kinds of strings, rules, and the base of all structures.

Constraints are msgspec's `Meta`, so that what the API server enforces and what our own decoder accepts have one source. CEL rules and
list types, which only the API server knows, ride along in the extra schema.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

Duration = Annotated[str, Meta(pattern=r"^([0-9]+(h|m|s))+$", max_length=16)]
Price = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")]
DnsLabel = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
ObjectName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
AccountName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
ResourceName = Annotated[str, Meta(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9._-]{1,63}$")]
LabelValue = Annotated[str, Meta(max_length=63)]


class Object(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A structure of a resource. Unknown fields are passed over: a newer version may have written them."""


def rules(*pairs: tuple[str, str]) -> Meta:
    """CEL expressions that must hold where this stands, each with the sentence that says what to change."""
    return Meta(extra_json_schema={"x-kubernetes-validations": [{"rule": r, "message": m} for r, m in pairs]})


def immutable(why: str) -> Meta:
    """The value may not change once it is set."""
    return rules(("self == oldSelf", why))


def described(text: str, **constraints: Any) -> Meta:
    """What `kubectl explain` shows, and msgspec's constraints."""
    return Meta(description=text, **constraints)


AS_SET = Meta(extra_json_schema={"x-kubernetes-list-type": "set"})
ATOMIC = Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})


def as_map(*keys: str) -> Meta:
    """A list of objects that have these keys, each once."""
    return Meta(extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})
