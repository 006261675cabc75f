"""The description of fake nodes: what a person may write, and the nodes that come of it."""

from collections import Counter
from pathlib import Path

import pytest
from hack.kube.fake_nodes import BadNodes, NodeGroup, Taint, manifests, parse


def test_a_number_means_that_many_default_nodes() -> None:
    assert parse("200") == (NodeGroup(count=200),)
    assert parse("0") == ()


def test_nodes_are_dealt_to_regions_and_zones_evenly() -> None:
    nodes = manifests(NodeGroup(count=200))
    regions = Counter(node["metadata"]["labels"]["topology.kubernetes.io/region"] for node in nodes)
    zones = Counter(node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes)
    assert sorted(regions.values()) == [66, 67, 67]
    assert len(zones) == 6
    assert max(zones.values()) - min(zones.values()) <= 1
    assert all(zone.startswith(tuple(regions)) for zone in zones)


def test_a_default_node_has_eight_gpus_and_keeps_other_pods_away() -> None:
    (node,) = manifests(NodeGroup(count=1))
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert node["spec"]["taints"] == [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]


def test_a_node_without_accelerators_says_nothing_of_them() -> None:
    (node,) = manifests(NodeGroup(count=1, gpus=0, labels={"pool": "cpu"}))
    assert "nvidia.com/gpu" not in node["status"]["capacity"]
    assert not any(label.startswith("nvidia.com") for label in node["metadata"]["labels"])
    assert node["metadata"]["labels"]["pool"] == "cpu"


def test_a_file_describes_groups(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text("""
- {prefix: h100, count: 2, regions: [eu-west-1], taints: [{key: nvidia.com/gpu}]}
- {prefix: amd, count: 1, gpu: AMD-MI300X, resource: amd.com/gpu, labels: {pool: amd}}
""")
    h100, amd = parse(str(path))
    assert h100 == NodeGroup(prefix="h100", count=2, regions=("eu-west-1",), taints=(Taint("nvidia.com/gpu"),))
    assert amd.resource == "amd.com/gpu"
    assert [node["metadata"]["name"] for node in manifests(h100)] == ["h100-0", "h100-1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("- {count: 0}", "count must be 1 or more", id="no node"),
        pytest.param("- {count: 1, regions: []}", "regions and zones need at least one name", id="no region"),
        pytest.param("- {count: many}", "Expected `int`, got `str` - at `$[0].count`", id="not a number"),
        pytest.param("- {count: 1, gpuz: 4}", "unknown field `gpuz`", id="a misspelled field"),
        pytest.param("{count: 1}", "Expected `array`, got `object`", id="not a list"),
        pytest.param("- {count: 1}\n- {count: 2}", "every group needs a prefix of its own", id="equal prefixes"),
        pytest.param("- {", "nodes.yaml", id="not YAML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(text)
    with pytest.raises(BadNodes) as caught:
        parse(str(path))
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "-3", "2.5", "missing.yaml"])
def test_neither_a_number_nor_a_file_is_refused(text: str) -> None:
    with pytest.raises(BadNodes, match="neither a number nor a file"):
        parse(text)
