# Two commands do everything on a fresh machine: `make demo` and `make test`.
.PHONY: help demo test build soak bench lint clean

help: ## this list
	@grep -hE '^[a-z0-9%_-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: ## build, start the platform, call a genome's variants from reads in a bucket, show the result
	@scripts/demo

test: ## every check and every test
	@scripts/test

build: ## the one binary
	@scripts/setup tools
	@bash -c '. scripts/lib.sh; cd "$$ROOT"; cargo build --release --bin neardata && echo "$$NEARDATA"'

soak: ## every slow test, in named parts; `make soak-NAME` runs one
	@scripts/parts soak

soak-%:
	@scripts/parts soak $*

bench: ## every comparison with a peer, in named parts; `make bench-NAME` runs one
	@scripts/parts bench

bench-%:
	@scripts/parts bench $*

clean: ## what this repository built (the shared target folder stays)
	@rm -rf python/build python/dist
