"""The pod that serves a deployment's model on one pool, as Kubernetes takes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stoker_core import labels
from stoker_operator.api.deployment import DeploymentSpec, EnvVar, PodPatch, Resources, Volume
from stoker_operator.api.gpu_pool import CPU, GPUPoolSpec
from stoker_operator.planning.resolve import Resolved
from stoker_operator.planning.weights import Weights, weights_of

Manifest = dict[str, Any]

WIRE_PORT, HEALTH_PORT, METRICS_PORT = 8443, 8081, 9090
PORTS = {"wire": WIRE_PORT, "health": HEALTH_PORT, "metrics": METRICS_PORT}
TLS_FILES = {"cert": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
TLS_FOLDER, TMP_FOLDER = "/etc/stoker/tls", "/tmp"  # noqa: S108 - a volume of the pod's own
NON_ROOT = 65532
# A model of hundreds of gigabytes takes this long from a slow disk; a stuck engine is named in the status long before.
STARTUP_MINUTES = 120
GRACE_BEYOND_DRAIN_S = 15

# What the `restricted` PodSecurity standard asks for.
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": NON_ROOT,
    "runAsGroup": NON_ROOT,
    "fsGroup": NON_ROOT,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, slots=True)
class Platform:
    """What the operator's own settings decide for every worker.

    images       by what pools count: "cpu", or an extended resource
    endpoints    further arguments of the step that downloads, by the source's scheme
    drain_s      how long a stopping worker lets requests finish; everything about stopping derives from it
    """

    images: Mapping[str, str]
    endpoints: Mapping[str, str] = field(default_factory=dict)
    drain_s: int = 60
    image_pull_policy: str = "IfNotPresent"

    def image(self, pool: GPUPoolSpec) -> str:
        """Of the pool's workers; "" if the operator was given none."""
        return self.images.get(counted(pool), "")


def counted(pool: GPUPoolSpec) -> str:
    """The resource that counts a pool's accelerators."""
    return pool.resource_name or "cpu"


@dataclass(frozen=True, slots=True)
class Identity:
    """Of the Deployment resource."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class WorkerPod:
    """What a deployment's pods on one pool are made from."""

    identity: Identity
    spec: DeploymentSpec
    resolved: Resolved
    pool_name: str
    pool: GPUPoolSpec
    platform: Platform

    def template(self) -> Manifest:
        """Metadata and spec of the pods."""
        metadata: Manifest = {"labels": {**self._patch.labels, **self.labels()}}
        if self._patch.annotations:
            metadata["annotations"] = dict(self._patch.annotations)
        return {"metadata": metadata, "spec": self._pod_spec()}

    def labels(self) -> dict[str, str]:
        """What gateways, selectors and people find the pods by."""
        return {
            labels.NAME: "stoker",
            labels.COMPONENT: labels.WORKER,
            labels.MANAGED_BY: labels.MANAGER,
            labels.DEPLOYMENT: self.identity.name,
            labels.DEPLOYMENT_UID: self.identity.uid,
            labels.MODEL: self.spec.model,
            labels.POOL: self.pool_name,
            labels.REGION: self.pool.region,
            labels.TIER: self.spec.tier.value,
        }

    @property
    def _patch(self) -> PodPatch:
        return self.spec.pod_patch or PodPatch()

    @property
    def _weights(self) -> Weights:
        return weights_of(self.resolved.model.source)

    @property
    def _image(self) -> str:
        return self.platform.image(self.pool)

    def _pod_spec(self) -> Manifest:
        patch, weights = self._patch, self._weights
        made: Manifest = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": self.platform.drain_s + GRACE_BEYOND_DRAIN_S,
            "nodeSelector": dict(self.pool.node_selector),
            "topologySpreadConstraints": [_spread(self.identity)],
            "securityContext": POD_SECURITY,
            "containers": [self._container()],
            "volumes": [
                {"name": "tls", "secret": {"secretName": tls_secret(self.identity), "defaultMode": 0o440}},
                {"name": "tmp", "emptyDir": {}},
                *weights.volumes,
                *map(_volume, patch.volumes),
            ],
        }
        if self.pool.tolerations:
            made["tolerations"] = [msgspec.to_builtins(toleration) for toleration in self.pool.tolerations]
        if weights.fetch:
            made["initContainers"] = [self._fetcher()]
        if patch.affinity:
            made["affinity"] = msgspec.to_builtins(patch.affinity)
        if patch.priority_class_name:
            made["priorityClassName"] = patch.priority_class_name
        return made

    def _container(self) -> Manifest:
        return {
            "name": labels.WORKER,
            "image": self._image,
            "imagePullPolicy": self.platform.image_pull_policy,
            "args": ["serve", *(f"--{name}={value}" for name, value in self._options())],
            "env": [_field_env("POD_NAME", "metadata.name"), *map(_env, self._patch.env)],
            "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
            # The last lines of a worker that crashed tell why; they hold no prompts.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **_probes(),
            "resources": self._resources(),
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [
                {"name": "tls", "mountPath": TLS_FOLDER, "readOnly": True},
                {"name": "tmp", "mountPath": TMP_FOLDER},
                *self._weights.mounts,
                *map(_mount, self._patch.volumes),
            ],
        }

    def _options(self) -> Iterator[tuple[str, object]]:
        """The worker's command line."""
        yield "model", self._weights.path
        yield "model-id", self.resolved.model.id
        yield "listen", f"0.0.0.0:{WIRE_PORT}"
        yield "health-listen", f"0.0.0.0:{HEALTH_PORT}"
        yield "metrics-listen", f"0.0.0.0:{METRICS_PORT}"
        yield from (("tls-" + name, f"{TLS_FOLDER}/{file}") for name, file in TLS_FILES.items())
        yield "instance", "$(POD_NAME)"
        yield "deployment-uid", self.identity.uid
        yield "region", self.pool.region
        yield "pool", self.pool_name
        yield "tier", self.spec.tier.value
        yield "drain-timeout", self.platform.drain_s
        yield from self._engine_options()

    def _engine_options(self) -> Iterator[tuple[str, object]]:
        engine = self.spec.engine
        yield "precision", engine.precision.value
        if self.pool.accelerator == CPU:
            yield "threads", self.spec.accelerator.count
        if context := engine.max_context_tokens or self.resolved.model.context_length:
            yield "max-context", context
        if engine.max_batch:
            yield "max-batch-sequences", engine.max_batch

    def _resources(self) -> Manifest:
        """Accelerators by the spec, CPU and memory by the patch; a CPU deployment asks for its cores."""
        accelerator = {counted(self.pool): str(self.spec.accelerator.count)}
        patch = self._patch.resources or Resources()
        limits = {**(accelerator if self.pool.resource_name else {}), **patch.limits}
        return {"requests": {**accelerator, **patch.requests}, **({"limits": limits} if limits else {})}

    def _fetcher(self) -> Manifest:
        """Downloads the weights into the pod's volume before the worker starts; it may go on where it was interrupted."""
        weights = self._weights
        made: Manifest = {
            "name": "fetch",
            "image": self._image,
            "imagePullPolicy": self.platform.image_pull_policy,
            # The worker's port for metrics, before the worker is there: who may read those may see how far it has come.
            "args": [*weights.fetch, *self._endpoint(), f"--progress-listen=0.0.0.0:{METRICS_PORT}"],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [
                *({**mount, "readOnly": False} for mount in weights.mounts),
                {"name": "tmp", "mountPath": TMP_FOLDER},
            ],
        }
        if weights.secret:
            # By name: whoever may write the Secret shall not choose what the step loads, or through which proxy.
            made["env"] = [_optional_secret(name, weights.secret) for name in weights.credentials]
        return made

    def _endpoint(self) -> tuple[str, ...]:
        """Where the download comes from, if not from where the fetcher itself would look."""
        scheme = self.resolved.model.source.uri.partition("://")[0]
        url = self.platform.endpoints.get(scheme)
        return (f"--endpoint={url}",) if url else ()


def _optional_secret(name: str, secret: str) -> Manifest:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name, "optional": True}}}


def tls_secret(identity: Identity) -> str:
    """The Secret with the certificate of the deployment's workers."""
    return f"{identity.name}-worker-tls"


def _probes() -> Manifest:
    """Startup: the engine is loaded and warm. Readiness: a gateway has its stream. Liveness: the front answers."""

    def grpc(service: str, period_s: int, failures: int) -> Manifest:
        probe = {"port": HEALTH_PORT, "service": service}
        return {"grpc": probe, "periodSeconds": period_s, "timeoutSeconds": 5, "failureThreshold": failures}

    return {
        "startupProbe": grpc("engine", 2, STARTUP_MINUTES * 30),
        "readinessProbe": grpc("routable", 2, 2),
        "livenessProbe": grpc("", 10, 6),
    }


def _spread(identity: Identity) -> Manifest:
    """Over nodes, where that is possible."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {labels.DEPLOYMENT_UID: identity.uid}},
    }


def _field_env(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _env(variable: EnvVar) -> Manifest:
    made: Manifest = msgspec.to_builtins(variable)
    return made


def _mount(volume: Volume) -> Manifest:
    claim = volume.persistent_volume_claim
    return {"name": volume.name, "mountPath": volume.mount_path, "readOnly": bool(claim and claim.read_only)}


def _volume(volume: Volume) -> Manifest:
    made: Mapping[str, Any] = msgspec.to_builtins(volume)
    return {key: value for key, value in made.items() if key != "mountPath"}
