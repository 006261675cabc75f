"""Whether an object is still what was applied: read from the fields' owners that the API server keeps with it.

Every field that was applied is in `managedFields` under our name; whoever changes one by hand takes it over, and whoever adds one is
listed with it. So the object itself tells what has to be done, after a restart as well, and no annotation of ours has to be kept
that others could change.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stoker_operator.planning.quantity import milli

Json = Any
Fields = Mapping[str, Any]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """What an object lacks of its plan.

    apply   a field of the plan is not ours, or not as planned, or one that is ours is not planned any more
    strays  what others have added below the roots that are ours alone, as JSON pointers; later ones first, so that they can be
            removed in order
    """

    apply: bool
    strays: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.apply or bool(self.strays)


def drift(manifest: Mapping[str, Json], live: Mapping[str, Json], manager: str, roots: tuple[str, ...] = ()) -> Drift:
    """Compare an object with what should be applied to it.

    manager   our name as a field manager
    roots     fields at the top that nobody else may add to, "spec" for example
    """
    ours = applied_fields(live, manager)
    planned = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    planned["metadata"] = {k: v for k, v in manifest["metadata"].items() if k not in ("name", "namespace")}
    as_planned = _as_applied(planned, live, ours) if ours is not None else False
    strays = [path for root in roots for path in _strays(live, ours or {}, manager, root)]
    return Drift(not as_planned, tuple(_pointer(path) for path in sorted(strays, key=_order, reverse=True)))


def applied_fields(live: Mapping[str, Json], manager: str) -> Fields | None:
    """The fields that `manager` has applied, None if it never did."""
    for entry in live.get("metadata", {}).get("managedFields", ()):
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields: Fields = entry.get("fieldsV1", {})
            return fields
    return None


def last_applied(live: Mapping[str, Json], manager: str) -> dict[str, Json] | None:
    """The manifest that `manager` applied last, without what others own since; None if it never did."""
    fields = applied_fields(live, manager)
    if fields is None:
        return None
    made: dict[str, Json] = _extracted(live, fields)
    name = {key: live["metadata"][key] for key in ("name", "namespace") if key in live["metadata"]}
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        **made,
        "metadata": {**name, **made.get("metadata", {})},
    }


def _as_applied(planned: Json, live: Json, fields: Fields) -> bool:
    """Whether exactly the planned fields are ours, and have the planned values."""
    named = {key: value for key, value in fields.items() if key != "."}
    if not named:
        return same(planned, live)
    if isinstance(planned, Mapping):
        if not isinstance(live, Mapping) or {f"f:{key}" for key in planned} != named.keys():
            return False
        return all(key in live and _as_applied(value, live[key], named[f"f:{key}"]) for key, value in planned.items())
    if not isinstance(planned, list) or not isinstance(live, list) or len(planned) != len(named):
        return False
    return all(_item_as_applied(planned, live, key, sub) for key, sub in named.items())


def _item_as_applied(planned: list[Json], live: list[Json], key: str, fields: Fields) -> bool:
    ours, theirs = _find(planned, key), _find(live, key)
    return ours is not None and theirs is not None and _as_applied(planned[ours], live[theirs], fields)


def same(planned: Json, live: Json) -> bool:
    """Equal, but for what the API server fills in and how it writes quantities."""
    if isinstance(planned, Mapping) and isinstance(live, Mapping):
        return all(key in live and same(value, live[key]) for key, value in planned.items()) and bool(planned) == bool(
            live
        )
    if isinstance(planned, list) and isinstance(live, list):
        return len(planned) == len(live) and all(map(same, planned, live))
    return bool(planned == live) or _same_quantity(planned, live)


def _same_quantity(planned: Json, live: Json) -> bool:
    if not (isinstance(planned, str) and isinstance(live, str)):
        return False
    try:
        return milli(planned) == milli(live)
    except ValueError:
        return False


def _strays(live: Mapping[str, Json], ours: Fields, manager: str, root: str) -> Iterator[Path]:
    """Paths below `root` that another manager has and we have not."""
    for entry in live.get("metadata", {}).get("managedFields", ()):
        if entry.get("manager") == manager or entry.get("subresource") == "status":
            continue
        theirs = entry.get("fieldsV1", {}).get(f"f:{root}")
        if theirs and root in live:
            yield from _added(live[root], theirs, ours.get(f"f:{root}", {}), (root,))


def _added(live: Json, theirs: Fields, ours: Fields, path: Path) -> Iterator[Path]:
    for key, sub in theirs.items():
        at = None if key == "." else _step(live, key)
        if at is None:
            continue
        if key not in ours:
            yield (*path, at)
        elif ours[key] and sub:
            yield from _added(live[at], sub, ours[key], (*path, at))


def _extracted(live: Json, fields: Fields) -> Json:
    named = {key: value for key, value in fields.items() if key != "."}
    if not named:
        return live
    steps = [(key, _step(live, key), sub) for key, sub in named.items()]
    if isinstance(live, list):
        found = sorted((at, sub) for _, at, sub in steps if isinstance(at, int))
        return [_extracted(live[at], sub) for at, sub in found]
    return {at: _extracted(live[at], sub) for _, at, sub in steps if at is not None}


def _step(live: Json, key: str) -> str | int | None:
    """Where a field path's element is in the object."""
    if key.startswith("f:"):
        return key[2:] if isinstance(live, Mapping) and key[2:] in live else None
    return _find(live, key) if isinstance(live, list) else None


# The API server writes the keys of a list's items with their defaults.
DEFAULT_KEYS = {"protocol": "TCP"}


def _find(items: list[Json], key: str) -> int | None:
    """The index of the item that `k:{…}`, `v:…` or `i:…` names."""
    kind, _, text = key.partition(":")
    if kind == "i":
        return int(text) if int(text) < len(items) else None
    wanted = json.loads(text)
    if kind == "v":
        return items.index(wanted) if wanted in items else None
    for index, item in enumerate(items):
        if all(item.get(name, DEFAULT_KEYS.get(name)) == value for name, value in wanted.items()):
            return index
    return None


def _order(path: Path) -> tuple[tuple[bool, str, int], ...]:
    return tuple(
        (isinstance(part, int), "" if isinstance(part, int) else part, part if isinstance(part, int) else 0)
        for part in path
    )


def _pointer(path: Path) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
