"""A deployment's spec with everything it names looked up, or what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stoker_operator.api.adapter import AdapterSpec
from stoker_operator.api.deployment import DeploymentSpec
from stoker_operator.api.model import ModelSpec, Visibility


@dataclass(frozen=True, slots=True)
class Named:
    """A Model as the cluster has it. `created` orders those that claim one alias: RFC 3339."""

    name: str
    created: str
    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a deployment may name.

    account   of the deployment's namespace; "" if the namespace has none
    models    by name
    adapters  of the namespace, by name
    secrets   names of the namespace's Secrets that are asked for and exist
    """

    account: str
    models: Mapping[str, Named]
    adapters: Mapping[str, AdapterSpec]
    secrets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a deployment serves. Aliases are not part of it: gateways resolve them, and they move without a rollout."""

    account: str
    model: ModelSpec
    adapters: Mapping[str, AdapterSpec]


class Unresolved(Exception):
    """Something that the spec names cannot be used. The reason is for machines, the text says what to change."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def resolve(spec: DeploymentSpec, catalogue: Catalogue) -> Resolved:
    """Look up everything that `spec` names. Raises Unresolved."""
    if not catalogue.account:
        raise Unresolved("NoAccount", "the namespace has no label stoker.dev/account: set it to the account that pays")
    model = _model(spec.model, catalogue)
    adapters = {name: _adapter(name, spec.model, catalogue) for name in spec.adapters}
    for ref in (model.source.secret_ref, *(adapter.source.secret_ref for adapter in adapters.values())):
        if ref is not None and ref.name not in catalogue.secrets:
            raise Unresolved(
                "SecretNotFound", f"Secret {ref.name} is not in this namespace: make it, or name another in the source"
            )
    return Resolved(catalogue.account, model, adapters)


def own_aliases(model: Named, all_models: Sequence[Named]) -> tuple[str, ...]:
    """The aliases that `model` has: of several Models with one alias, the oldest keeps it."""
    older = [other for other in all_models if (other.created, other.name) < (model.created, model.name)]
    taken = {alias for other in older for alias in (*other.spec.aliases, other.spec.id)}
    return tuple(alias for alias in model.spec.aliases if alias not in taken)


def _model(name: str, catalogue: Catalogue) -> ModelSpec:
    found = catalogue.models.get(name)
    # Another account's private model is not told from one that does not exist.
    if found is None or (found.spec.visibility is Visibility.PRIVATE and found.spec.account != catalogue.account):
        raise Unresolved("ModelNotFound", f"there is no Model {name} that account {catalogue.account} may use")
    return found.spec


def _adapter(name: str, base: str, catalogue: Catalogue) -> AdapterSpec:
    found = catalogue.adapters.get(name)
    if found is None:
        raise Unresolved("AdapterNotFound", f"there is no Adapter {name} in this namespace")
    if found.base != base:
        raise Unresolved(
            "AdapterOfOtherBase", f"Adapter {name} was trained from {found.base} and this deployment serves {base}"
        )
    return found
