# `make` lists the targets. Each works from a clean checkout, as root and as an ordinary user unless it says that it needs root.

CARGO        ?= cargo
PREFIX       ?= /usr/local
DESTDIR      ?=
FUZZ_SECONDS ?= 300
RUNS         ?= 1

target   := $(or $(CARGO_TARGET_DIR),target)
triple    = $(shell rustc -vV | sed -n 's/^host: //p')
release   = $(target)/$(triple)/release
programs := casemate casemate-helper casemate-unpack casemate-init casemate-fetch
libexec   = $(DESTDIR)$(PREFIX)/libexec/casemate
share     = $(DESTDIR)$(PREFIX)/share/casemate
units     = $(DESTDIR)$(PREFIX)/lib/systemd/system
# The staging directory of the .deb, and cargo-deb, which is built without optimisation as it runs for a second.
staged    = $(target)/deb/root
tools     = $(abspath $(target))/tools

.DEFAULT_GOAL := help
.PHONY: help build demo test test-vm lint bench fuzz install deb clean setup

help: ## this text
	@echo 'casemate: runs the containers that one TOML file describes, without root privileges'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo '  PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) FUZZ_SECONDS=$(FUZZ_SECONDS)'

build: ## the programs, static, in release form
	$(CARGO) build --locked --release

demo: setup ## starts two containers from one file, prints their sandbox from inside
	$(CARGO) build --locked --workspace --bins
	scripts/demo $(target)/$(triple)/debug

test: setup ## every test, as root and as an ordinary user
	$(CARGO) build --locked --workspace --bins
	tests/run $(CARGO) test --locked --workspace --no-fail-fast

test-vm: ## Debian hosts booted in qemu: systemd, cgroup v2, crashes, power cuts; needs root
	tests/vm/run

lint: ## formatting, clippy, licences, the rules of the repository
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) check --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir $(target)/fuzz
	if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check licenses bans sources; fi
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --quiet -p casemate-e2e --test repository --test documents

bench: setup ## figures beside crun, runc, bwrap, umoci and tar; RUNS=3 gives medians and the worst
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) run --locked --release -p casemate-bench -- runs $(RUNS)

fuzz: ## every parser for FUZZ_SECONDS each, with cargo-fuzz
	cd fuzz && for target in $$($(CARGO) fuzz list); do \
	    mkdir -p "corpus/$$target" && \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run "$$target" "corpus/$$target" "seeds/$$target" -- \
	        -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

# A program finds the others in its own directory, so they are installed together.
install: build ## programs and units below DESTDIR and PREFIX, none setuid
	install -d -m 0755 $(libexec) $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(addprefix $(release)/,$(programs)) $(libexec)
	ln -sfn ../libexec/casemate/casemate $(DESTDIR)$(PREFIX)/bin/casemate
	$(call place,$(wildcard systemd/*.target systemd/*.socket systemd/*.service),$(units))
	$(call place,systemd/sysusers.d/casemate.conf,$(DESTDIR)$(PREFIX)/lib/sysusers.d)
	$(call place,systemd/tmpfiles.d/casemate.conf,$(DESTDIR)$(PREFIX)/lib/tmpfiles.d)
	$(call place,policies/apparmor/casemate-helper,$(share)/apparmor)
	$(call place,$(wildcard config/*.toml),$(share)/examples)

# Copies files into a directory and replaces /usr in the paths of programs by the prefix.
define place
	install -d -m 0755 $(2)
	install -m 0644 $(1) $(2)
	sed -i 's|/usr/libexec/casemate/|$(PREFIX)/libexec/casemate/|' $(addprefix $(2)/,$(notdir $(1)))
endef

deb: ## a Debian package in target/deb, of the files of `make install`
	rm -rf $(staged)
	$(MAKE) install DESTDIR=$(staged) PREFIX=/usr
	test -x $(tools)/bin/cargo-deb || $(CARGO) install --locked --debug --root $(tools) cargo-deb
	PATH="$(tools)/bin:$$PATH" $(CARGO) deb --no-build --no-strip --package casemate --output $(target)/deb

clean: ## removes everything that was built
	$(CARGO) clean

setup:
	@tests/setup
