# The commands of this repository. `make up` and `make test` install what they need.
SHELL := /bin/bash
.DELETE_ON_ERROR:
ARGS ?=
# Queries are checked against the committed data when they are compiled, never against what DATABASE_URL happens to name.
export SQLX_OFFLINE := true
portcullis = $(or $(CARGO_TARGET_DIR),target)/up/portcullis
own_servers = env -u DATABASE_URL -u REDIS_URL

.PHONY: up status down test verify bench bench-fleet cost test-conformance test-peers test-hostile test-kill test-outage test-full fuzz advisories fmt prepare openapi help

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

up: ## Run both planes here, with a demo tenant. Options: make up ARGS="--proxies 2 --redis"; ARGS=--help lists them
	@scripts/setup.sh up
	@[ -x $(portcullis) ] || echo "Building; the first time takes some minutes …"
	@cargo build --locked --profile up -p portcullis
	@exec $(portcullis) up $(ARGS)

status: ## What `make up ARGS=--detach` is running
	@[ -x $(portcullis) ] || { echo "not running; start with \`make up\`"; exit 1; }
	@exec $(portcullis) status $(ARGS)

down: ## Stop what `make up` is running
	@[ ! -x $(portcullis) ] || exec $(portcullis) down $(ARGS)

test: ## Everything CI runs
	@$(own_servers) scripts/test.sh

verify: ## Formatting, lints, licences, prepared queries, OpenAPI, structure
	@scripts/setup.sh verify
	@$(own_servers) scripts/verify.sh

bench: ## CPU per call against nginx, and what survival takes; ARGS="--only path"; see tests/bench/README.md
	@scripts/setup.sh bench
	@$(own_servers) tests/bench/run.sh $(ARGS)

bench-fleet: ## 1,000 stub proxies against one control plane and two, which are restarted; ARGS as `bench-fleet --help` says
	@scripts/setup.sh up
	@$(own_servers) tests/bench/fleet.sh $(ARGS)

cost: ## Instructions and allocations per call against those accepted, as `make test` does; ARGS=--accept takes new figures
	@scripts/setup.sh test
	@$(own_servers) scripts/cost.sh $(ARGS)

test-conformance: ## MCP conformance suite, directly and through the gateway
	@scripts/setup.sh peers
	@$(own_servers) scripts/conformance.sh

test-peers: ## Official SDK clients through the gateway
	@scripts/setup.sh peers
	@$(own_servers) scripts/peers.sh test

test-hostile: ## Attacks on a real proxy while good clients call it, and what its TLS offers; ARGS="--only rapid_reset"
	@scripts/setup.sh hostile
	@$(own_servers) scripts/hostile.sh run $(ARGS)

test-full: test ## Everything CI runs, and the long runs that need no more than it
	@$(own_servers) PROFILE=dev scripts/schemathesis.sh long

test-kill: ## KILLS (200) random kill -9 of proxy and control plane under load; the same again with SEED=…
	@$(own_servers) PORTCULLIS_KILLS=$(or $(KILLS),200) $(SEED:%=PORTCULLIS_SEED=%) scripts/campaign.sh 'test(random_kills)'

test-outage: ## Postgres, control plane and Redis away, each alone, in pairs and all, SECONDS (90) each, under load
	@$(own_servers) PORTCULLIS_OUTAGE_SECONDS=$(or $(SECONDS),90) scripts/campaign.sh 'test(agents_notice_no_outage)'

fuzz: ## Fuzz every parser of outside bytes, SECONDS each (60); see fuzz/README.md
	@FUZZ_SECONDS=$(or $(SECONDS),60) scripts/fuzz.sh

advisories: ## Known vulnerabilities in dependencies (needs the network)
	@scripts/setup.sh verify
	@cargo deny check advisories

fmt: ## Format the code
	@cargo fmt --all

prepare: ## Regenerate .sqlx after a change of queries or migrations
	@scripts/with-postgres.sh scripts/sqlx-prepare.sh

openapi: ## Regenerate openapi/admin.json
	@cargo run --locked -q -p portcullis -- openapi > openapi/admin.json.new && mv openapi/admin.json.new openapi/admin.json
