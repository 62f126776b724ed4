# Two commands: `make run` reproduces a study, `make test` passes the tests. The first call of either sets up .venv.
# Plain-pip equivalents stand in README.md; a test compares them.
PYTHON ?= python3
STUDY ?= intrinsic-dimension
PROFILE ?= laptop
EXTRAS ?= test
ARGS ?=

BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := .venv/.installed-$(EXTRAS)

.PHONY: run test check clean
.DELETE_ON_ERROR:

run: $(READY)
	$(BIN)/workbench run $(STUDY) --profile $(PROFILE) $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.review

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, got %d.%d' % sys.version_info[:2] + '; for example: make PYTHON=python3.12 $(MAKECMDGOALS)')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[$(EXTRAS)]'
	@$(BIN)/python -c "import pathlib; pathlib.Path('$@').touch()"

# Runs are results and stay.
clean:
	@$(PYTHON) -c "import shutil; [shutil.rmtree(name, ignore_errors=True) for name in ('.venv', '.pytest_cache', '.mypy_cache', '.ruff_cache')]"
