# The commands of this repository. `make up` and `make test` install what they need.
SHELL := /bin/bash
.DELETE_ON_ERROR:
ARGS ?=

.PHONY: up status down test verify bench test-conformance test-peers test-full advisories fmt prepare openapi help

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

up: ## Run both planes here, with a demo tenant. Options: make up ARGS="--proxies 2 --redis"
	@scripts/setup.sh up
	@cargo build --locked --profile up -p portcullis
	@exec target/up/portcullis up $(ARGS)

status: ## What `make up ARGS=--detach` is running
	@target/up/portcullis status

down: ## Stop what `make up` is running
	@target/up/portcullis down

test: ## Everything CI runs
	@scripts/test.sh

verify: ## Formatting, lints, licences, prepared queries, OpenAPI, structure
	@scripts/setup.sh verify
	@scripts/verify.sh

bench: ## CPU per call against nginx; see tests/bench/README.md
	@scripts/setup.sh bench
	@tests/bench/run.sh

test-conformance: ## MCP conformance suite, directly and through the gateway
	@scripts/setup.sh peers
	@scripts/conformance.sh

test-peers: ## Official SDK clients through the gateway
	@scripts/setup.sh peers
	@scripts/peers.sh test

advisories: ## Known vulnerabilities in dependencies (needs the network)
	@scripts/setup.sh verify
	@cargo deny check advisories

fmt: ## Format the code
	@cargo fmt --all

prepare: ## Regenerate .sqlx after a change of queries or migrations
	@scripts/with-postgres.sh scripts/sqlx-prepare.sh

openapi: ## Regenerate openapi/admin.json
	@cargo run --locked -q -p portcullis -- openapi > openapi/admin.json.new && mv openapi/admin.json.new openapi/admin.json
