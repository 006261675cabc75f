"""How a pod comes by its weights: what it mounts, what it fetches first, and where the model then lies."""

from dataclasses import dataclass
from typing import Any

from stoker_operator.api.model import Source

FOLDER = "/weights"
EMBEDDED_FOLDER = "/models"
CREDENTIALS = {
    "hf": ("HF_TOKEN",),
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"),
}


@dataclass(frozen=True, slots=True)
class Weights:
    """Of one source.

    path         of the model, as the worker sees it
    fetch        arguments of the step that downloads; empty: nothing to download
    secret       name of the Secret with its credentials, or ""
    credentials  keys of that Secret that the step gets
    """

    path: str
    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    fetch: tuple[str, ...] = ()
    secret: str = ""
    credentials: tuple[str, ...] = ()


def weights_of(source: Source) -> Weights:
    """What a source means for the pod."""
    scheme, _, rest = source.uri.partition("://")
    match scheme:
        case "embedded":
            return Weights(path=f"{EMBEDDED_FOLDER}/{rest}")
        case "pvc":
            return _claimed(*rest.partition("/")[::2])
        case "hf" | "s3":
            return _downloaded(source)
        case _:
            raise AssertionError(f"the resource's schema lets no {scheme}:// pass")


def _claimed(claim: str, path: str) -> Weights:
    return Weights(
        path=f"{FOLDER}/{path}".rstrip("/"),
        volumes=({"name": "weights", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},),
        mounts=({"name": "weights", "mountPath": FOLDER, "readOnly": True},),
    )


def _downloaded(source: Source) -> Weights:
    revision = (f"--revision={source.revision}",) if source.revision else ()
    return Weights(
        path=f"{FOLDER}/model",
        volumes=({"name": "weights", "emptyDir": {}},),
        mounts=({"name": "weights", "mountPath": FOLDER, "readOnly": True},),
        fetch=("fetch", f"--source={source.uri}", *revision, f"--to={FOLDER}/model"),
        secret=source.secret_ref.name if source.secret_ref else "",
        credentials=CREDENTIALS[source.uri.partition("://")[0]],
    )
