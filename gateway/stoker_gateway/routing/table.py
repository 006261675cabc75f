"""The routing table: which models exist, under which names, and where they are served. A value; a change makes a new one."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stoker_core.names import ModelRef
from stoker_gateway.routing.catalog import Catalog, CatalogDeployment

DEPLOYMENTS = "/deployments/"
NO_CATALOG = Catalog()


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
    generation: int = 0  # rises with every rollout: the newest is preferred
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
    """A model as clients reach it: through its own id, or on one deployment.

    key          of the entry in every table: the model's id, or the deployment's uid
    variants     newest generation first; the last known ones while no worker is there, none if there never was one
    deployments  that may be woken for it
    """

    key: str
    model_id: str
    variants: tuple[Variant, ...]
    deployments: tuple[CatalogDeployment, ...] = ()

    @property
    def created_unix_s(self) -> int:
        """When the oldest endpoint's model was made."""
        return min((endpoint.created_unix_s for variant in self.variants for endpoint in variant.endpoints), default=0)

    @property
    def owner(self) -> str:
        """The account in `accounts/<account>/models/<name>`."""
        parts = self.model_id.split("/")
        return parts[1] if len(parts) > 2 and parts[0] == "accounts" else "stoker"

    def endpoints(self, model: ModelRef) -> tuple[Endpoint, ...]:
        """Where one revision is served."""
        return next((variant.endpoints for variant in self.variants if variant.model == model), ())


@dataclass(frozen=True)
class RoutingTable:
    """What is served, to whom, and under which names.

    shared     model id → where everyone who may use the model is answered
    dedicated  deployment uid → where its account alone is
    names      id or alias → ids of the models it may mean, the first that the account may use
    """

    shared: Mapping[str, ModelEntry] = field(default_factory=dict)
    dedicated: Mapping[str, ModelEntry] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    catalog: Catalog = field(default_factory=Catalog)

    @property
    def empty(self) -> bool:
        """Nothing is known yet, or there is nothing."""
        return not (self.shared or self.dedicated or self.catalog.models)

    @property
    def entries(self) -> Iterator[ModelEntry]:
        """All of them."""
        yield from self.shared.values()
        yield from self.dedicated.values()

    def entry(self, key: str) -> ModelEntry | None:
        """The entry that another table had under this key."""
        return self.shared.get(key) or self.dedicated.get(key)

    def resolve(self, name: str, account: str) -> ModelEntry | None:
        """Where an account's request for this name goes; None for what does not exist or is not for this account.

        name  a model's id or alias: to its serverless deployments, else to the account's oldest own;
              "accounts/<account>/deployments/<name>", or "<model>#<deployment>": to that one
        """
        model, hash_, deployment = name.partition("#")
        if hash_:
            entry = self._own(deployment, account)
            return entry if entry and entry.model_id == self._model_id(model, account) else None
        if DEPLOYMENTS in name:
            return self._own(name, account)
        model_id = self._model_id(name, account)
        return self.shared.get(model_id) or self._oldest_own(model_id, account)

    def usable_by(self, account: str) -> list[ModelEntry]:
        """The models that an account can name, by id."""
        ids = sorted({*self.shared, *self.catalog.models})
        return [entry for model_id in ids if (entry := self.resolve(model_id, account)) is not None]

    def _model_id(self, name: str, account: str) -> str:
        for model_id in self.names.get(name, ()):
            model = self.catalog.models.get(model_id)
            if model is None or model.visible_to(account):
                return model_id
        return ""

    def _own(self, name: str, account: str) -> ModelEntry | None:
        deployment = self.catalog.by_id.get(name if DEPLOYMENTS in name else f"accounts/{account}{DEPLOYMENTS}{name}")
        if deployment is None or deployment.account != account:
            return None
        return self.dedicated.get(deployment.uid) or self.shared.get(deployment.model_id)

    def _oldest_own(self, model_id: str, account: str) -> ModelEntry | None:
        deployment = self.catalog.oldest_own.get((account, model_id))
        return self.dedicated.get(deployment.uid) if deployment else None


EMPTY = RoutingTable()


def build_table(
    endpoints: Iterable[Endpoint],
    aliases: Mapping[str, str],
    catalog: Catalog = NO_CATALOG,
    before: RoutingTable = EMPTY,
) -> RoutingTable:
    """Merge what all sources know. `before` is the last table: what it knew of a model stands while no worker is there.

    A model's id wins over any alias; `aliases` (the administrator's, alias → id or alias) win over those that models
    have; of two models under one alias the first one made has it, and of two that only workers report, the one with the
    smaller id, so that all gateways agree.
    """
    groups: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        deployment = catalog.deployments.get(endpoint.deployment_uid)
        own = deployment is not None and not deployment.serverless
        groups.setdefault(endpoint.deployment_uid if own else endpoint.model.model_id, []).append(endpoint)
    shared: dict[str, ModelEntry] = {}
    dedicated: dict[str, ModelEntry] = {}
    for key, model_id, deployments in _keys(groups, catalog):
        known = before.entry(key)
        variants = _variants(groups.get(key, ())) or (known.variants if known else ())
        entry = ModelEntry(key, model_id, variants, deployments)
        (shared if key == model_id else dedicated)[key] = entry
    return RoutingTable(shared, dedicated, _names(shared, aliases, catalog), catalog)


def _keys(groups: Collection[str], catalog: Catalog) -> Iterator[tuple[str, str, tuple[CatalogDeployment, ...]]]:
    """(key, model id, deployments) of every entry."""
    serverless: dict[str, list[CatalogDeployment]] = {}
    for deployment in catalog.deployments.values():
        if deployment.serverless:
            serverless.setdefault(deployment.model_id, []).append(deployment)
        else:
            yield deployment.uid, deployment.model_id, (deployment,)
    own = {deployment.uid for deployment in catalog.deployments.values()}
    for model_id in sorted({*serverless, *(key for key in groups if key not in own)}):
        yield model_id, model_id, tuple(serverless.get(model_id, ()))


def _variants(endpoints: Iterable[Endpoint]) -> tuple[Variant, ...]:
    by_ref: dict[ModelRef, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_ref.setdefault(endpoint.model, []).append(endpoint)
    made = (Variant(ref, tuple(sorted(members, key=lambda e: e.address))) for ref, members in by_ref.items())
    return tuple(sorted(made, key=_newest_first))


def _names(
    shared: Mapping[str, ModelEntry], aliases: Mapping[str, str], catalog: Catalog
) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for model_id in sorted(shared, reverse=True):
        for variant in shared[model_id].variants:
            for endpoint in variant.endpoints:
                names.update(dict.fromkeys(endpoint.aliases, (model_id,)))
    names.update(catalog.aliases())
    ids = {model_id: (model_id,) for model_id in (*shared, *catalog.models)}
    reported = {**names, **ids}
    names.update({alias: reported[target] for alias, target in aliases.items() if target in reported})
    names.update(ids)
    return names


def _newest_first(variant: Variant) -> tuple[int, str]:
    return -max(endpoint.generation for endpoint in variant.endpoints), variant.model.revision
