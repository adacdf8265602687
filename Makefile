# Two commands: `make demo` and `make test`. Each makes its own environment in .venv.
PYTHON ?= python3
BIN := .venv/bin

SECONDS := 600

.PHONY: demo soak test check unit deploy-test proto proto-current clean tools metrics-page dashboards page-picture
.DEFAULT_GOAL := demo

.venv/run.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; choose one with: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "making .venv (about 30 s, once)"
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/test.stamp: .venv/run.stamp
	@echo "adding the test tools to .venv (about 30 s, once)"
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

# Programs that some tests use and that pip cannot bring. Tests that miss one are skipped, and say so.
tools: .venv/test.stamp
	@sh tests/tools.sh

## demo: one device, three hosts, real programs; fill, exhaust, recover, verify
demo: .venv/run.stamp
	@$(BIN)/cramctl demo $(ARGS)

## soak: ten minutes of kills and faults (make soak SECONDS=60 for one); not in CI, where a short one runs
soak: .venv/run.stamp
	@$(BIN)/cramctl soak --seconds $(SECONDS) $(ARGS)

## test: everything that must hold
test: check unit

check: tools
	@echo "ruff";         $(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@echo "mypy";         $(BIN)/mypy --no-error-summary
	@echo "pyright";      $(BIN)/pyright --warnings >.venv/pyright.log || { cat .venv/pyright.log; exit 1; }
	@echo "import rules"; $(BIN)/lint-imports >.venv/imports.log || { cat .venv/imports.log; exit 1; }
	@echo "buf lint";     $(BIN)/buf lint
	@$(MAKE) --no-print-directory proto-current

# Many tests wait for processes: two at a time take three fifths of the time. With a debugger: make unit ARGS="-n0 --pdb"
unit: tools
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

## proto: generate the wire's code anew
proto: .venv/test.stamp
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto \
	    --grpc_python_out=proto --mypy_out=quiet:proto --mypy_grpc_out=quiet:proto proto/cramwire/v1/*.proto

proto-current: .venv/test.stamp
	@mkdir -p .venv/generated
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=.venv/generated \
	    --grpc_python_out=.venv/generated --mypy_out=quiet:.venv/generated --mypy_grpc_out=quiet:.venv/generated \
	    proto/cramwire/v1/*.proto
	@for made in .venv/generated/cramwire/v1/*; do cmp $$made proto/cramwire/v1/$${made##*/} \
	    || { echo "generated code is not current: run make proto"; exit 1; }; done
	@echo "generated code: current"

## metrics-page: write docs/metrics.md anew from what the processes export
metrics-page: .venv/run.stamp
	@$(BIN)/python -m cramlab.metrics_page docs/metrics.md

## dashboards: write deploy/grafana/dashboards and the list in docs/grafana.md anew from client/cramlab/dashboards
dashboards: .venv/test.stamp
	@$(BIN)/python -m cramlab.dashboards deploy docs/grafana.md

## page-picture: take docs/device-page.png anew, of a device with three hosts and an exhaustion (about 80 s)
page-picture: tools
	@$(BIN)/python -m cramlab.page_picture docs/device-page.png

## deploy-test: build the images and run compose for real, under podman; says what it could not run
deploy-test: tools
	@sh tests/deploy_tools.sh
	@$(BIN)/pytest -m deploy -v tests/deploy $(ARGS)

clean:
	rm -rf .venv
