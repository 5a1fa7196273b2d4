# The verbs of the project. A fresh machine needs Python 3.10 or later and make; the rest is set up on first use.
PYTHON  ?= python3
VENV    ?= .venv
PROFILE ?= tiny

BIN   := $(VENV)/bin/
READY := $(VENV)/.ready
# Two files at a time, in the order of tests/conftest.py; a file stays together: a notebook's cells need one another.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
# Each of the two has a thread of its own; with more they would stand in each other's way. Where CI is set, to "0" too,
# no progress bars appear, which would stand among the outputs that are compared. No kernel reaches the network:
# IPython starts with the files of tests/offline.
ALONE := OMP_NUM_THREADS=1 CI=$(or $(CI),0) IPYTHONDIR="$(CURDIR)/tests/offline"
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout 600 --nbval-kernel-startup-timeout 120
# CI installs the exact versions of constraints.txt, which were recorded with Python 3.11.
PINS  := $(if $(CI),$(shell $(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) and print("-c constraints.txt")'))

# A thread that waits gives its core away: nothing lost on a quiet machine, and twice as quick on a busy one.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help book test slow lab lint bench breaks outputs student teacher slides costs formats pdf epub \
	linkcheck assets gettext seconds lighthouse coverage clean
.NOTPARALLEL:

help:       ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*##/  make \1 \t/' | expand -t 20

book: $(READY)       ## run the notebooks and render the book into build/_build/html
	$(BIN)python book/scripts/build.py $(PROFILE)

test: $(READY) lint book       ## lint, build the book, then every test, the notebooks among them
	$(BIN)python tests/browser.py --install
	$(ALONE) $(BIN)python -m pytest tests notebooks $(NBVAL) --nbval-built $(SPREAD)

slow: $(READY) book       ## the tests that take long or much memory: full-size networks, every page printed
	ZECON_LITE_SLOW=1 $(ALONE) $(BIN)python -m pytest tests

lab: $(READY)       ## open JupyterLab on the notebooks
	$(BIN)jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

lint: $(READY)       ## check the code's style
	$(BIN)ruff check .

bench: $(READY)       ## time a guided step against a naive version of the same mathematics
	$(BIN)python tests/bench.py

breaks: $(READY) book       ## break one thing at a time and see whether a test notices; takes about half an hour
	$(BIN)python tests/breaking.py

outputs: $(READY)       ## run the notebooks and store the outputs that the tests compare
	$(BIN)python book/scripts/store_outputs.py

student: $(READY)       ## notebooks without solutions and answers, into build/student
	$(BIN)python book/scripts/editions.py student

teacher: $(READY)       ## notebooks with every solution open, into build/teacher
	$(BIN)python book/scripts/editions.py teacher

slides: $(READY)       ## a deck of slides for each chapter, into build/slides
	$(BIN)python book/scripts/slides.py

costs: $(READY)       ## measure what each notebook takes to run; wants a machine that does nothing else
	$(BIN)python book/scripts/costs.py

formats: book pdf epub       ## the book in every form: pages, one PDF, an ePub

pdf: $(READY)       ## the built book as one file to print, build/zecon_lite.pdf
	$(BIN)python tests/browser.py --install
	$(BIN)python book/scripts/pdf.py

epub: $(READY)       ## the built book for a reading device, build/zecon_lite.epub
	$(BIN)python tests/browser.py --install
	$(BIN)python book/scripts/epub.py

linkcheck: $(READY)       ## ask the network whether every address in the book still leads somewhere
	$(BIN)python book/scripts/linkcheck.py

assets: $(READY)       ## ask the network whether every published network is where the manifest says, and as long
	$(BIN)python book/scripts/linkcheck.py --assets

gettext: $(READY)       ## catalogues for translators, one for each page of the staged book, into build/gettext
	$(BIN)python book/scripts/catalogues.py

seconds: $(READY) book       ## time the page that restyles pictures in the browser; wants a machine that does nothing else
	$(BIN)python tests/browser.py --install
	$(BIN)python book/scripts/browser_seconds.py

lighthouse: $(READY)       ## scores of the built book by Lighthouse, which npx fetches; needs node and a browser
	$(BIN)python book/scripts/lighthouse.py

coverage: $(READY) book       ## every test again, counting lines and branches, into book/assets/coverage.json
	$(BIN)python tests/browser.py --install
	$(ALONE) $(BIN)python -m pytest tests notebooks $(NBVAL) $(SPREAD) --cov --cov-branch --cov-report=
	$(BIN)python book/scripts/covered.py

clean:       ## remove everything built; the environment in .venv stays
	rm -rf build dist .pytest_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("zecon_lite needs Python 3.10 or later and found " \
		+ sys.version.split()[0] + "; name a newer one: make book PYTHON=python3.12")'
	@test -x $(BIN)pip || $(PYTHON) -m venv $(VENV) || \
		{ echo "Python cannot make an environment; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV); the first time this takes some minutes, PyTorch is large."
	$(BIN)python -m pip install --disable-pip-version-check -e ".[book,latent,finetune,test]" $(PINS)
	@touch $@
