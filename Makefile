# `make` says what there is. Everything works from a clean checkout, as root and as an ordinary user.

CARGO        ?= cargo
PREFIX       ?= /usr/local
DESTDIR      ?=
FUZZ_SECONDS ?= 300

target   := $(or $(CARGO_TARGET_DIR),target)
triple    = $(shell rustc -vV | sed -n 's/^host: //p')
release   = $(target)/$(triple)/release
programs := casemate casemate-helper casemate-unpack casemate-init
libexec   = $(DESTDIR)$(PREFIX)/libexec/casemate

.DEFAULT_GOAL := help
.PHONY: help build demo test lint bench fuzz install clean setup

help: ## this text
	@echo 'casemate: runs the containers that one TOML file describes, as nobody special'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)$$/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo '  PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) FUZZ_SECONDS=$(FUZZ_SECONDS)'

build: ## the programs, static, in release form
	$(CARGO) build --locked --release

demo: setup ## boots two containers from one file, shows their prison
	$(CARGO) build --locked --workspace --bins
	scripts/demo $(target)/$(triple)/debug

test: setup ## every test, as root and as an ordinary user
	$(CARGO) build --locked --workspace --bins
	tests/run $(CARGO) test --locked --workspace --no-fail-fast

lint: ## formatting, clippy, licences, the rules of the repository
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) check --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir $(target)/fuzz
	if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check licenses bans sources; fi
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --quiet -p casemate-e2e --test repository

bench: setup ## figures beside crun, runc, bwrap and umoci, from one run
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) run --locked --release -p casemate-bench

fuzz: ## every parser for FUZZ_SECONDS each, with cargo-fuzz
	cd fuzz && for target in $$($(CARGO) fuzz list); do \
	    mkdir -p "corpus/$$target" && \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run "$$target" "corpus/$$target" "seeds/$$target" -- \
	        -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

# The four programs find each other in the directory of the one that was called, so they stay together.
install: build ## the programs below DESTDIR and PREFIX, none setuid
	install -d -m 0755 $(libexec) $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(addprefix $(release)/,$(programs)) $(libexec)
	ln -sfn ../libexec/casemate/casemate $(DESTDIR)$(PREFIX)/bin/casemate

clean: ## everything that was built
	$(CARGO) clean

setup:
	@tests/setup
