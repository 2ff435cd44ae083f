# Every target first makes .venv (tools/setup.py), which is instant once it is there.
#   make lab     open the course in JupyterLab       make book    build the site
#   make test    lint, then the tests (SLOW=1: all)  make serve   build and serve the site
#   make lint    ruff, mypy, import-linter           make bench   ours against the peers
#   make setup   only make or refresh .venv          make lock    pin the newest versions
#   make help    show this
# PORT=8000 picks the port of lab and serve; NEWEST=1 installs the newest releases.

PYTHON ?= python3
BIN := .venv/bin
ASSETS := license-texts chinese-reviews smollm2-135m-instruct minilm-l6-v2

.PHONY: help setup lab test book serve bench lint lock
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

setup:
	@command -v $(PYTHON) >/dev/null || { echo "setup: there is no $(PYTHON): install Python 3.11 or newer (python.org), then run the same command again" >&2; exit 1; }
	@$(PYTHON) tools/setup.py $(if $(NEWEST),--newest)

lab: setup
	@$(BIN)/toolkit assets get $(ASSETS)
	@$(BIN)/toolkit lab $(if $(PORT),--port $(PORT))

test: lint
	@$(BIN)/toolkit assets get $(ASSETS)
	$(BIN)/pytest -n logical --maxprocesses 4 --dist worksteal --ignore tests/classroom/grading
	$(BIN)/pytest tests/classroom/grading  # alone, since it times and counts processes

book: setup
	@$(BIN)/toolkit assets get $(ASSETS)
	$(BIN)/sphinx-build -E -W --keep-going -b html book book/_build/html
	@echo "Open book/_build/html/index.html, or serve it with: make serve"

serve: book
	@$(BIN)/python tools/serve.py book/_build/html $(PORT)

bench: setup
	@$(BIN)/toolkit bench

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: setup
	@$(BIN)/python tools/lock.py $(HOLD)
