# The commands of this repository; `make help` lists them. The work is in hack/ and tests/.

.DEFAULT_GOAL := help
.PHONY: help test soak bench bench-api bench-postgres bench-certificates demo demo-down judge manifests images

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## Check everything; CI runs this.
	@hack/test.sh

soak: ## Run the long tests; writes docs/evidence/soak/.
	@hack/soak.sh

demo: ## Show the product on a real cluster; CONTEXT=name uses one of yours.
	@hack/demo.sh

demo-down: ## Remove what `make demo` made.
	@hack/demo-down.sh

bench: ## Measure what services cost; writes docs/benchmarks.md.
	@hack/bench.sh

bench-certificates: ## Measure what certificates cost; writes docs/benchmarks/certificates.md.
	@hack/bench-certificates.sh

bench-api: ## Measure what the api-server costs; writes docs/benchmarks/api.md.
	@hack/bench-api.sh

bench-postgres: ## Measure what encrypted columns and pgaudit cost; writes docs/benchmarks/postgres.md.
	@hack/bench-postgres.sh

judge: ## Let independent tools judge manifests and api-server; writes docs/evidence/judge*.md.
	@hack/judge.sh
	@hack/judge-api.sh

manifests: ## Write everything that is generated: CRDs, golden files, chart copies, charts/install.yaml.
	UPDATE=1 cargo test --quiet -p crds -p render
	@hack/manifests.sh
	UPDATE=1 cargo test --quiet -p api-server --lib openapi
	@hack/queries.sh

images: ## Build the static programs of the images into dist/
	@hack/images.sh
