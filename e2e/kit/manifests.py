"""What stories apply. Workers are the real ones, made small so that several fit on one machine."""

from typing import Any

Object = dict[str, Any]

API = "stoker.dev/v1alpha1"
EMBEDDED = "embedded://smollm2-135m-instruct"
ACCOUNT = "default"  # of the key that the chart makes
GPU = "nvidia.com/gpu"
SMALL = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1536Mi"}}


def namespace(name: str, account: str = ACCOUNT) -> Object:
    labels = {"stoker.dev/account": account, "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def model(name: str, *aliases: str, uri: str = EMBEDDED) -> Object:
    spec = {
        "id": f"accounts/{ACCOUNT}/models/{name}",
        "account": ACCOUNT,
        "visibility": "Public",
        "aliases": list(aliases),
        "source": {"uri": uri},
        "contextLength": 2048,
    }
    return {"apiVersion": API, "kind": "Model", "metadata": {"name": name}, "spec": spec}


def cpu_pool(name: str = "cpu") -> Object:
    spec = {"accelerator": "CPU", "region": "local", "nodeSelector": {"kubernetes.io/os": "linux"}}
    return {"apiVersion": API, "kind": "GPUPool", "metadata": {"name": name}, "spec": spec}


def gpu_pool(name: str) -> Object:
    """Of the accelerators that the node pretends to have; their workers compute on the CPU."""
    spec = {
        "accelerator": "H100",
        "region": "local",
        "resourceName": GPU,
        "nodeSelector": {"nvidia.com/gpu.product": "fake"},
    }
    return {"apiVersion": API, "kind": "GPUPool", "metadata": {"name": name}, "spec": spec}


def deployment(
    namespace: str, name: str, model: str, *, accelerator: str = "CPU", count: int = 1, **spec: Any
) -> Object:
    """`spec` adds to what is here, or replaces it."""
    made = {
        "model": model,
        "tier": "Serverless",
        "accelerator": {"type": accelerator, "count": count},
        "replicas": 1,
        "engine": {"maxBatch": 8},
        "podPatch": {"resources": SMALL},
        **spec,
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": "Deployment", "metadata": metadata, "spec": made}
