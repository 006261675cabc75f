"""The API server as tests see it: objects by manifest, and waiting that watches."""

import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from types import TracebackType
from typing import Any

import httpx
from hack.kube.control_plane import ControlPlane

from stoker_operator.kube.paths import CRDS, EVENTS, LEASES, SECRETS, WATCHED, Collection

Json = dict[str, Any]
COLLECTIONS = {(one.api_version, one.kind): one for one in (*WATCHED, CRDS, EVENTS, LEASES, SECRETS)}
WAIT_S = 20.0


class Cluster:
    """Requests as the administrator. What fails raises, with the API server's words."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.http = plane.client()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.http.close()

    def apply(self, manifest: Json, manager: str = "kubectl") -> Json:
        """Server-side, as `kubectl apply --server-side --force-conflicts`."""
        query = {"fieldManager": manager, "force": "true"}
        content = {"Content-Type": "application/apply-patch+yaml"}
        return self._done(
            self.http.patch(path_of(manifest), params=query, content=json.dumps(manifest), headers=content)
        )

    def get(self, manifest: Json) -> Json | None:
        """The object as it is, None if there is none."""
        answer = self.http.get(path_of(manifest))
        return None if answer.status_code == 404 else self._done(answer)

    def all_of(self, collection: Collection, namespace: str = "", **query: str) -> list[Json]:
        """A namespace's objects of a kind."""
        items: list[Json] = self._done(self.http.get(collection.path(namespace), params=query))["items"]
        return [{"apiVersion": collection.api_version, "kind": collection.kind, **item} for item in items]

    def patch(self, manifest: Json, change: Json, subresource: str = "", manager: str = "kubectl-edit") -> Json:
        """A merge patch, as `kubectl edit` and `kubectl scale` make."""
        content = {"Content-Type": "application/merge-patch+json"}
        path = path_of(manifest) + (f"/{subresource}" if subresource else "")
        return self._done(
            self.http.patch(path, params={"fieldManager": manager}, content=json.dumps(change), headers=content)
        )

    def create(self, manifest: Json, *, dry_run: bool = False) -> Json:
        """POST, as `kubectl create`."""
        query = {"dryRun": "All"} if dry_run else {}
        return self._done(self.http.post(path_of(manifest).rpartition("/")[0], params=query, json=manifest))

    def delete(self, manifest: Json) -> None:
        """At once; one that is gone is no error."""
        body = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        answer = self.http.request("DELETE", path_of(manifest), json=body)
        if answer.status_code != 404:
            self._done(answer)

    def wait(self, manifest: Json, is_so: Callable[[Json], object], timeout_s: float = WAIT_S) -> Json:
        """Watch an object until it is so; fails with its last state after `timeout_s`."""
        last: Json = {}
        with closing(self._states(manifest, time.monotonic() + timeout_s)) as states:
            for last in states:
                if last and is_so(last):
                    return last
        raise AssertionError(f"{path_of(manifest)} did not come to be so in {timeout_s} s:\n{_shown(last)}")

    def wait_gone(self, manifest: Json, timeout_s: float = WAIT_S) -> None:
        """Watch an object until it is deleted."""
        with closing(self._states(manifest, time.monotonic() + timeout_s)) as states:
            is_gone = any(not state for state in states)
        if not is_gone:
            raise AssertionError(f"{path_of(manifest)} is still there after {timeout_s} s")

    def wait_list(
        self, collection: Collection, namespace: str, is_so: Callable[[list[Json]], object], timeout_s: float = WAIT_S
    ) -> list[Json]:
        """Watch a namespace's objects of a kind until they are so."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            listed = self._done(self.http.get(collection.path(namespace)))
            if is_so(listed["items"]):
                found: list[Json] = listed["items"]
                return found
            query = {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
            query["timeoutSeconds"] = str(max(1, int(left)))
            with self.http.stream("GET", collection.path(namespace), params=query, timeout=left + 5) as stream:
                next(stream.iter_lines(), None)
        raise AssertionError(f"the {collection.plural} of {namespace} did not come to be so in {timeout_s} s")

    def _states(self, manifest: Json, deadline: float) -> Generator[Json, None, None]:
        """The object now and after each change; {} while there is none. Ends at the deadline."""
        path, _, name = path_of(manifest).rpartition("/")
        kind = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
        only = {"fieldSelector": f"metadata.name={name}"}
        while (left := deadline - time.monotonic()) > 0:
            listed = self._done(self.http.get(path, params=only))
            yield kind | listed["items"][0] if listed["items"] else {}
            query = only | {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
            query["timeoutSeconds"] = str(max(1, int(left)))
            with self.http.stream("GET", path, params=query, timeout=left + 5) as stream:
                for line in stream.iter_lines():
                    event = json.loads(line)
                    yield {} if event["type"] == "DELETED" else event["object"]
                    if time.monotonic() > deadline:
                        return

    def _done(self, answer: httpx.Response) -> Json:
        if answer.is_error:
            raise Denied(answer.status_code, answer.json().get("message", answer.text))
        decoded: Json = answer.json()
        return decoded


class Denied(Exception):
    """The API server's refusal."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


def path_of(manifest: Json) -> str:
    collection = COLLECTIONS[manifest["apiVersion"], manifest["kind"]]
    return collection.path(manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])


def condition(found: Json, type_: str) -> Json:
    """{} if it has none."""
    conditions: list[Json] = found.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == type_), {})


def reason(found: Json) -> str:
    """Why a resource is ready or not; "" while its current generation has not been looked at."""
    ready = condition(found, "Ready")
    if ready.get("observedGeneration") != found["metadata"].get("generation"):
        return ""
    return str(ready.get("reason", ""))


def _shown(found: Json) -> str:
    metadata = {k: v for k, v in found.get("metadata", {}).items() if k != "managedFields"}
    return json.dumps({**found, "metadata": metadata}, indent=1)[:6000]
