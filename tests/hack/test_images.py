"""What images hold: everything that is imported, nothing twice, and the same in both ways of making them."""

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from hack import chart
from hack.images import assemble, requirements
from hack.images.assemble import RECIPES, Recipe

from stoker_core.version import VERSION

CONTAINERFILE = (requirements.ROOT / "images" / "Containerfile").read_text()
DISTRIBUTIONS = metadata.packages_distributions()
OURS = {"stoker", "stoker_core", "stoker_gateway", "stoker_operator", "stoker_worker"}
# Imported where they are there only: by CPU workers torch, by nobody's images what reads a kubeconfig of a person.
OPTIONAL = {"worker-cpu": {"torch", "safetensors"}, "gateway": {"pyyaml"}}


def imports(package: Path) -> set[str]:
    """Top-level modules that a package's files import, also inside functions."""
    found = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - OURS


def pinned(layers: tuple[str, ...]) -> list[str]:
    """Names of distributions in layers of libraries."""
    lines = [line for layer in layers for line in (requirements.FOLDER / f"{layer}.txt").read_text().splitlines()]
    return [line.partition("==")[0] for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("name", ["operator", "gateway", "worker-cpu", "worker-cuda"])
def test_an_image_holds_what_its_code_imports(name: str) -> None:
    recipe = RECIPES[name]
    modules = {module for package in recipe.packages for module in imports(requirements.ROOT / package)}
    # `google` is of several distributions, one of which is enough.
    needed = [{requirements.canonicalize_name(one) for one in DISTRIBUTIONS[module]} for module in modules]
    there = set(pinned(recipe.libraries)) | OPTIONAL.get(name, set())
    missing = [names for names in needed if not names & there]
    assert not missing


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_no_library_is_in_two_layers(recipe: Recipe) -> None:
    names = pinned(recipe.libraries)
    assert len(set(names)) == len(names)


def test_torch_and_cuda_are_in_one_image_only() -> None:
    for name, recipe in RECIPES.items():
        heavy = [pin for pin in pinned(recipe.libraries) if pin == "torch" or pin.startswith("nvidia-")]
        assert bool(heavy) == (name == "worker-cuda")


def test_requirements_are_current() -> None:
    on_disk = {file.name: file.read_text() for file in requirements.FOLDER.glob("*.txt")}
    assert on_disk == requirements.texts(), "run `make generate`"


@pytest.mark.parametrize("name", RECIPES)
def test_both_ways_of_making_an_image_run_the_same(name: str) -> None:
    target = re.search(rf"^FROM (\S+) AS {name}$(.*?)(?=^FROM|\Z)", CONTAINERFILE, re.MULTILINE | re.DOTALL)
    assert target, f"images/Containerfile has no target {name}"
    inherited = target[1] == "worker-cpu"
    body = (
        re.search(r"^FROM shared AS worker-cpu$(.*?)^FROM", CONTAINERFILE, re.MULTILINE | re.DOTALL)[1]
        if inherited
        else target[2]
    )  # type: ignore[index]
    assert f'ENTRYPOINT ["python3", "-m", "{RECIPES[name].module}"]' in body
    for variable, value in assemble.ENV:
        assert f"{variable}={value}" in CONTAINERFILE
    assert f"USER {assemble.USER}" in CONTAINERFILE
    assert assemble.MODEL_NAME in CONTAINERFILE


def test_the_chart_names_images_that_are_built() -> None:
    named = set(re.findall(rf"stoker/([a-z0-9-]+):{re.escape(VERSION)}", str(chart.template())))
    assert named
    assert named <= RECIPES.keys()


def test_chart_and_images_are_of_one_version() -> None:
    described = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert described["appVersion"] == VERSION
