"""What a cluster says of models and deployments: who may use them under which names. Without a cluster it is empty."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

SERVERLESS = "Serverless"


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A Model. Of several with one alias the one made first has it; `created` is RFC 3339 in UTC and sorts by time."""

    name: str
    model_id: str
    account: str
    public: bool
    aliases: tuple[str, ...] = ()
    created: str = ""

    def visible_to(self, account: str) -> bool:
        """Whether an account may know of it."""
        return self.public or self.account == account


@dataclass(frozen=True, slots=True)
class CatalogDeployment:
    """A Deployment of an account. `replicas` are those that are wanted."""

    uid: str
    namespace: str
    name: str
    account: str
    model_id: str
    tier: str
    replicas: int
    created: str = ""

    @property
    def serverless(self) -> bool:
        """It answers for its model's id, to all who may use the model."""
        return self.tier == SERVERLESS

    @property
    def id(self) -> str:
        """What clients write to reach this one."""
        return f"accounts/{self.account}/deployments/{self.name}"


@dataclass(frozen=True)
class Catalog:
    """All models by id, and all deployments by uid."""

    models: Mapping[str, CatalogModel] = field(default_factory=dict)
    deployments: dict[str, CatalogDeployment] = field(default_factory=dict)  # the oldest first

    @classmethod
    def of(cls, models: Iterable[CatalogModel], deployments: Iterable[CatalogDeployment]) -> "Catalog":
        """The older of two models with one id counts; deployments of models that are gone do not."""
        by_id: dict[str, CatalogModel] = {}
        for model in sorted(models, key=lambda m: (m.created, m.name)):
            by_id.setdefault(model.model_id, model)
        return cls(by_id, {one.uid: one for one in sorted(deployments, key=_age) if one.model_id in by_id})

    @cached_property
    def by_id(self) -> Mapping[str, CatalogDeployment]:
        """Deployments by what clients write; of two in one account that share a name, the older."""
        return {one.id: one for one in reversed(self.deployments.values())}

    @cached_property
    def oldest_own(self) -> Mapping[tuple[str, str], CatalogDeployment]:
        """(account, model id) → the account's oldest deployment of it that is not serverless."""
        own = (one for one in reversed(self.deployments.values()) if not one.serverless)
        return {(one.account, one.model_id): one for one in own}

    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Alias → ids of the models that have it, the oldest first."""
        found: dict[str, tuple[str, ...]] = {}
        for model in self.models.values():
            for alias in model.aliases:
                found[alias] = (*found.get(alias, ()), model.model_id)
        return found


def _age(deployment: CatalogDeployment) -> tuple[str, str, str]:
    return deployment.created, deployment.namespace, deployment.name
