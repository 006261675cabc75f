"""What a deployment names is found, or the reason and the remedy are told."""

from typing import Any

import msgspec
import pytest

from stoker_operator.api.adapter import AdapterSpec
from stoker_operator.api.deployment import DeploymentSpec
from stoker_operator.api.model import ModelSpec
from stoker_operator.planning.resolve import Catalogue, Named, Unresolved, own_aliases, resolve


def model(name: str, created: str = "2026-01-01T00:00:00Z", account: str = "acme", **spec: Any) -> Named:
    fields = {"id": f"accounts/{account}/models/{name}", "account": account, "source": {"uri": "embedded://m"}} | spec
    return Named(name, created, msgspec.convert(fields, ModelSpec))


def adapter(base: str, **source: Any) -> AdapterSpec:
    fields = {"id": "accounts/acme/models/tone", "base": base, "source": {"uri": "pvc://c/x"} | source}
    return msgspec.convert(fields, AdapterSpec)


def spec(**fields: Any) -> DeploymentSpec:
    return msgspec.convert({"model": "m", "accelerator": {"type": "CPU"}, "replicas": 1} | fields, DeploymentSpec)


def catalogue(
    *models: Named, account: str = "acme", secrets: set[str] | None = None, **adapters: AdapterSpec
) -> Catalogue:
    return Catalogue(account, {named.name: named for named in models}, adapters, frozenset(secrets or ()))


SECRET = {"uri": "s3://bucket/x", "secretRef": {"name": "keys"}}
TUNED = {"tier": "FineTuned", "adapters": ["tone"]}


def test_everything_that_is_named_is_found() -> None:
    found = resolve(
        spec(**TUNED), catalogue(model("m", source=SECRET, aliases=["gpt"]), secrets={"keys"}, tone=adapter("m"))
    )
    assert (found.account, found.model.id) == ("acme", "accounts/acme/models/m")
    assert list(found.adapters) == ["tone"]


@pytest.mark.parametrize(
    ("wanted", "there", "reason", "message"),
    [
        (spec(), catalogue(model("m"), account=""), "NoAccount", "set it to the account that pays"),
        (spec(), catalogue(), "ModelNotFound", "there is no Model m that account acme may use"),
        (spec(), catalogue(model("m", account="other")), "ModelNotFound", "that account acme may use"),
        (spec(), catalogue(model("m", source=SECRET)), "SecretNotFound", "Secret keys is not in this namespace"),
        (spec(**TUNED), catalogue(model("m")), "AdapterNotFound", "there is no Adapter tone"),
        (spec(**TUNED), catalogue(model("m"), tone=adapter("n")), "AdapterOfOtherBase", "was trained from n"),
        (spec(**TUNED), catalogue(model("m"), tone=adapter("m", **SECRET)), "SecretNotFound", "Secret keys"),
    ],
)
def test_what_cannot_be_used(wanted: DeploymentSpec, there: Catalogue, reason: str, message: str) -> None:
    with pytest.raises(Unresolved, match=message) as caught:
        resolve(wanted, there)
    assert caught.value.reason == reason


def test_a_public_model_of_another_account_may_be_used() -> None:
    assert resolve(spec(), catalogue(model("m", account="other", visibility="Public"))).model.account == "other"


def test_of_two_models_with_one_alias_the_older_keeps_it() -> None:
    old = model("old", "2026-01-01T00:00:00Z", aliases=["gpt", "a"])
    new = model("new", "2026-02-01T00:00:00Z", aliases=["b", "gpt", old.spec.id])
    assert own_aliases(old, [old, new]) == ("gpt", "a")
    assert own_aliases(new, [old, new]) == ("b",)
