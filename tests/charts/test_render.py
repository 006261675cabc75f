"""What the chart renders, over a matrix of values, is what a real API server takes, in a namespace of restricted pods."""

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from hack.chart import CHART, NAMESPACE, ROOT, Object, template
from tests.charts.chart import Api, applied, arguments, namespace_of, one, pod_of

from stoker_gateway import keys

Values = dict[str, Any]

PEOPLE_EXPECT: Values = {
    "labels": {"team": "ml"},
    "annotations": {"note": "x"},
    "podLabels": {"sidecar.example/inject": "false"},
    "podAnnotations": {"prometheus.example/scrape": "true"},
    "env": [{"name": "TZ", "value": "UTC"}],
    "envFrom": [{"secretRef": {"name": "proxy", "optional": True}}],
    "volumes": [{"name": "certs", "secret": {"secretName": "certs"}}],
    "volumeMounts": [{"name": "certs", "mountPath": "/certs", "readOnly": True}],
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "control", "operator": "Exists"}],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}}
            ]
        }
    },
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"a": "b"}},
        }
    ],
    "priorityClassName": "system-cluster-critical",
    "serviceAccount": {"create": False, "name": "mine"},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
}
RECORD = {"id": "k1", "account": "team-a", "sha256": "0" * 64, "created_unix_s": 1, "scopes": ["inference"]}

MATRIX: dict[str, Values] = {
    "defaults": {},
    "one replica of each": {"operator": {"replicas": 1}, "gateway": {"replicas": 1}},
    "everything that people expect, on both": {"operator": PEOPLE_EXPECT, "gateway": PEOPLE_EXPECT},
    "labels and annotations on everything": {"commonLabels": {"a": "b"}, "commonAnnotations": {"c": "d"}},
    "a registry, digests and pull secrets": {
        "image": {"registry": "registry.example:5000/ai", "tag": "v2", "pullPolicy": "Always", "pullSecrets": ["pull"]},
        "gateway": {"image": {"digest": "sha256:" + "a" * 64}},
        "workers": {"images": {"amd.com/gpu": {"repository": "stoker/worker-rocm", "tag": "v3"}}},
    },
    "autoscaled gateways": {"gateway": {"autoscaling": {"enabled": True}}},
    "gateways autoscaled by another metric": {
        "gateway": {
            "autoscaling": {
                "enabled": True,
                "metrics": [
                    {
                        "type": "Pods",
                        "pods": {
                            "metric": {"name": "stoker_gateway_held"},
                            "target": {"type": "AverageValue", "averageValue": "10"},
                        },
                    }
                ],
            }
        }
    },
    "an ingress with TLS": {
        "gateway": {
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"},
                "hosts": [{"host": "models.example.com"}, {"host": "a.example.com", "paths": [{"path": "/v1"}]}],
                "tls": [{"secretName": "tls", "hosts": ["models.example.com"]}],
            }
        }
    },
    "an HTTPRoute": {
        "gateway": {
            "httpRoute": {
                "enabled": True,
                "parentRefs": [{"name": "public", "namespace": "infra", "sectionName": "https"}],
                "hostnames": ["models.example.com"],
                "requestTimeout": "10m",
            }
        }
    },
    "a load balancer": {
        "gateway": {
            "service": {
                "type": "LoadBalancer",
                "port": 443,
                "nodePort": 30443,
                "annotations": {"lb": "internal"},
                "labels": {"x": "y"},
                "loadBalancerClass": "example.com/lb",
                "loadBalancerSourceRanges": ["10.0.0.0/8"],
                "externalTrafficPolicy": "Local",
            }
        }
    },
    "monitoring": {"monitoring": {"enabled": True, "labels": {"release": "prometheus"}}},
    "keys of one's own": {"apiKeys": {"generate": False, "records": [RECORD]}},
    "a Secret of keys and a salt of one's own": {
        "apiKeys": {"existingSecret": "my-keys"},
        "gateway": {"salt": {"existingSecret": "my-salt"}},
    },
    "every bound, usage on a volume, further endpoints, traces": {
        "region": "us-east-1",
        "gateway": {
            "limits": {"maxBodyBytes": 33554432, "maxConcurrent": 9, "maxHeld": 8, "receiveTimeoutSeconds": 7}
            | {"holdTimeoutSeconds": 6, "requestTimeoutSeconds": 5, "heartbeatTimeoutSeconds": 4},
            "drainTimeoutSeconds": 3,
            "preStopSeconds": 0,
            "otlpEndpoint": "http://collector.observability:4318",
            "endpoints": {"existingConfigMap": "far", "key": "far.json"},
            "usage": {"enabled": True, "volume": {"persistentVolumeClaim": {"claimName": "usage"}}},
        },
        "workers": {"hfEndpoint": "https://hub.example", "s3Endpoint": "https://s3.example"},
    },
    "usage in the pod": {"gateway": {"usage": {"enabled": True}}},
    "without what a small cluster lacks": {
        "networkPolicy": {"enabled": False},
        "priorityClasses": {"create": False},
        "admissionPolicies": {"enabled": False},
        "tests": {"enabled": False},
        "crds": {"install": False},
        "operator": {"podDisruptionBudget": {"enabled": False}},
        "gateway": {"podDisruptionBudget": {"enabled": False}},
    },
    "workers fenced in their namespaces": {
        "workers": {"networkPolicy": {"namespaces": ["tenant"]}},
        "gateway": {"networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {"ingress": "yes"}}}]}},
        "networkPolicy": {"apiServerPorts": [6443], "extraEgress": [{"ports": [{"port": 4318}]}]},
    },
    "another name": {"nameOverride": "inference"},
    "a platform that chooses users itself": {
        "operator": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
        "gateway": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    },
    "objects of one's own": {
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-extra", "namespace": "{{ .Release.Namespace }}"},
                "data": {"a": "b"},
            }
        ]
    },
}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_the_api_server_takes_every_object_and_every_pod(api: Api, values: Values) -> None:
    rendered = template(values)
    applied(api, *(item for item in rendered if item["kind"] == "PriorityClass"))
    pods = [pod_of(item) for item in rendered if item["kind"] == "Deployment"]
    assert pods
    for item in (*rendered, *pods):
        answer = api.apply(item, dry_run=True)
        assert answer.is_success, f"{item['kind']} {item['metadata']['name']}: {answer.text}"
        assert not answer.headers.get_list("warning"), item["metadata"]["name"]


def test_a_pod_that_is_not_restricted_would_have_been_refused(api: Api) -> None:
    pod = pod_of(one(template(), "Deployment", "stoker-gateway"))
    del pod["spec"]["containers"][0]["securityContext"]
    answer = api.apply(pod, dry_run=True)
    assert (answer.status_code, "restricted" in answer.text) == (403, True)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_every_object_is_told_apart_and_is_the_releases(values: Values) -> None:
    rendered = template(values)
    names = [(item["kind"], namespace_of(item), item["metadata"]["name"]) for item in rendered]
    assert len(set(names)) == len(names)
    for item in rendered:
        if item["metadata"]["name"] != "stoker-extra":
            assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "stoker"
            assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_extra_labels_and_annotations_come_to_every_object_and_pod() -> None:
    rendered = template({"commonLabels": {"a": "b"}, "commonAnnotations": {"c": "d"}})
    for item in rendered:
        assert item["metadata"]["labels"]["a"] == "b"
        assert item["metadata"]["annotations"]["c"] == "d"
    for item in rendered:
        if item["kind"] == "Deployment":
            assert item["spec"]["template"]["metadata"]["labels"]["a"] == "b"


def test_no_label_can_take_a_pod_from_its_selector() -> None:
    stolen = {"app.kubernetes.io/component": "mine"}
    rendered = template({"commonLabels": stolen, "gateway": {"labels": stolen, "podLabels": stolen}})
    gateway = one(rendered, "Deployment", "stoker-gateway")
    assert gateway["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"


def test_what_people_expect_arrives() -> None:
    gateway = one(template({"gateway": PEOPLE_EXPECT}), "Deployment", "stoker-gateway")
    pod = gateway["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert gateway["metadata"]["labels"]["team"] == "ml"
    assert pod["metadata"]["labels"]["sidecar.example/inject"] == "false"
    assert {"name": "TZ", "value": "UTC"} in container["env"]
    assert container["envFrom"] == PEOPLE_EXPECT["envFrom"]
    assert {"name": "certs", "mountPath": "/certs", "readOnly": True} in container["volumeMounts"]
    assert pod["spec"]["serviceAccountName"] == "mine"
    for field in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"):
        assert pod["spec"][field] == PEOPLE_EXPECT[field]


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param({}, "stoker/gateway:0.1.0", id="the chart's version"),
        pytest.param({"image": {"tag": "v2"}}, "stoker/gateway:v2", id="one tag for all"),
        pytest.param({"image": {"registry": "r:5000"}}, "r:5000/stoker/gateway:0.1.0", id="a mirror"),
        pytest.param({"gateway": {"image": {"tag": "v3"}}}, "stoker/gateway:v3", id="its own tag"),
        pytest.param(
            {"gateway": {"image": {"digest": "sha256:" + "a" * 64}}}, f"stoker/gateway@sha256:{'a' * 64}", id="a digest"
        ),
    ],
)
def test_images_are_named(values: Values, image: str) -> None:
    gateway = one(template(values), "Deployment", "stoker-gateway")
    assert gateway["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_the_operator_hears_of_every_workers_image() -> None:
    values = {
        "image": {"registry": "r"},
        "workers": {"images": {"nvidia.com/gpu": None, "amd.com/gpu": {"repository": "rocm"}}},
    }
    given = arguments(one(template(values), "Deployment", "stoker-operator"))
    images = {argument for argument in given if argument.startswith("--worker-image")}
    assert images == {"--worker-image=cpu=r/stoker/worker-cpu-smollm2:0.1.0", "--worker-image=amd.com/gpu=r/rocm:0.1.0"}


def test_autoscaled_gateways_have_no_other_writer_of_replicas() -> None:
    rendered = template({"gateway": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in one(rendered, "Deployment", "stoker-gateway")["spec"]


def test_a_gateway_has_time_to_stop() -> None:
    pod = one(template(), "Deployment", "stoker-gateway")["spec"]["template"]["spec"]
    assert pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 5
    assert pod["terminationGracePeriodSeconds"] > 5 + 30


def test_gateways_get_hashes_that_the_gateway_reads_and_nobody_mounts_the_key() -> None:
    rendered = template({"apiKeys": {"account": "team-a", "records": [RECORD]}})
    key = base64.b64decode(one(rendered, "Secret", "stoker-api-key")["data"]["api-key"])
    assert key.startswith(keys.KEY_PREFIX.encode())
    text = base64.b64decode(one(rendered, "Secret", "stoker-gateway-keys")["data"]["keys.json"])
    assert key not in text
    ring = keys.KeyRing.of(msgspec.json.decode(text, type=keys.KeyDocument).keys)
    principal = ring.find(hashlib.sha256(key).digest())
    assert principal is not None
    assert principal.account == "team-a"
    assert ring.find(bytes(32)) is not None
    for item in rendered:
        if item["kind"] == "Deployment":
            assert "stoker-api-key" not in str(item["spec"])


def test_definitions_are_the_operators_own_and_outlive_the_release() -> None:
    for file in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
        assert (CHART / "files" / "crds" / file.name).read_bytes() == file.read_bytes()
    definitions = [item for item in template() if item["kind"] == "CustomResourceDefinition"]
    assert len(definitions) == 4
    assert all(item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for item in definitions)
    for item in template({"crds": {"keep": False}}):
        assert "helm.sh/resource-policy" not in item["metadata"].get("annotations", {})


def test_workers_and_the_test_have_no_rights() -> None:
    pod = one(template(), "Pod", "stoker-test")
    assert pod["spec"]["automountServiceAccountToken"] is False
    subjects = [s["name"] for item in template() for s in item.get("subjects", [])]
    assert set(subjects) == {"stoker-operator", "stoker-gateway"}


def test_policies_are_about_pods_of_the_release_only() -> None:
    for item in template():
        if item["kind"] == "NetworkPolicy":
            assert namespace_of(item) == NAMESPACE
            assert item["spec"]["policyTypes"] == ["Ingress", "Egress"]
            assert item["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "stoker"


def test_two_releases_share_no_name_but_the_definitions() -> None:
    def names(release: str, namespace: str) -> set[tuple[str, str, str]]:
        values: Object = {"priorityClasses": {"workers": []}}
        rendered = template(values, release=release, namespace=namespace)
        return {(item["kind"], namespace_of(item), item["metadata"]["name"]) for item in rendered}

    shared = names("a", "ns-a") & names("b", "ns-b")
    assert {kind for kind, _, _ in shared} == {"CustomResourceDefinition"}
