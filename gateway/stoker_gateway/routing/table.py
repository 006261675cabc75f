"""The routing table: which models exist, under which names, and where they are served. A value; a change makes a new one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stoker_core.names import ModelRef


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One engine that serves one model at one revision. `address` is a worker's, which may host several engines.

    Compared by identity: it is a key of every request's look-up of loads, and a change makes a new one.
    """

    address: str
    model: ModelRef
    context_length: int  # tokens, prompt and output together
    vocab_size: int
    max_logprobs: int
    tokenizer_digest: bytes
    aliases: tuple[str, ...] = ()
    region: str = ""
    pool: str = ""
    tier: str = ""
    deployment_uid: str = ""
    generation: int = 0  # of the deployment; the newest is preferred
    created_unix_s: int = 0
    adapters: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Variant:
    """A model at one revision, wherever it is served. Its endpoints answer alike and can continue each other's requests."""

    model: ModelRef
    endpoints: tuple[Endpoint, ...]

    @property
    def text_digest(self) -> bytes:
        """Names the tokenizer and template that all endpoints of a revision share."""
        return self.endpoints[0].tokenizer_digest


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as clients see it; `variants` newest generation first, at least one."""

    model_id: str
    variants: tuple[Variant, ...]

    @property
    def created_unix_s(self) -> int:
        """When the oldest endpoint's model was made."""
        return min(endpoint.created_unix_s for variant in self.variants for endpoint in variant.endpoints)

    @property
    def owner(self) -> str:
        """The account in `accounts/<account>/models/<name>`."""
        parts = self.model_id.split("/")
        return parts[1] if len(parts) > 2 and parts[0] == "accounts" else "stoker"


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """What is served. `names` leads every id and alias to a model id."""

    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, name: str) -> ModelEntry | None:
        """The model of an id or alias."""
        return self.models.get(self.names.get(name, ""))


def build_table(endpoints: Iterable[Endpoint], aliases: Mapping[str, str]) -> RoutingTable:
    """Merge what all sources know.

    A model's id wins over any alias; `aliases` (the administrator's, alias → id or alias) win over those that workers
    report; of two models reported under one alias the one with the smaller id has it, so that all gateways agree.
    """
    models = _entries(endpoints)
    names: dict[str, str] = {}
    for model_id in sorted(models, reverse=True):
        for variant in models[model_id].variants:
            for endpoint in variant.endpoints:
                names.update(dict.fromkeys(endpoint.aliases, model_id))
    reported = {**names, **{model_id: model_id for model_id in models}}
    names.update({alias: reported[target] for alias, target in aliases.items() if target in reported})
    names.update({model_id: model_id for model_id in models})
    return RoutingTable(models, names)


def _entries(endpoints: Iterable[Endpoint]) -> dict[str, ModelEntry]:
    by_ref: dict[ModelRef, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_ref.setdefault(endpoint.model, []).append(endpoint)
    by_id: dict[str, list[Variant]] = {}
    for ref, members in by_ref.items():
        by_id.setdefault(ref.model_id, []).append(Variant(ref, tuple(sorted(members, key=lambda e: e.address))))
    return {
        model_id: ModelEntry(model_id, tuple(sorted(variants, key=_newest_first)))
        for model_id, variants in sorted(by_id.items())
    }


def _newest_first(variant: Variant) -> tuple[int, str]:
    return -max(endpoint.generation for endpoint in variant.endpoints), variant.model.revision
