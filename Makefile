# Everything runs in .venv, which is made once and brought up to date when one of these files changes.
needs = settings.ini pyproject.toml setup.py constraints.txt
PYTHON ?= python3
install = .venv/bin/python -m pip install -qq -c constraints.txt -e

.PHONY: help demo test check readme docs docs-preview wheel dev clean
.NOTPARALLEL:

help:    ## this list
	@sed -n 's/^\([a-z-]*\): .*## /make \1\t/p' Makefile

demo: .venv/demo    ## train on the real screen that comes with the library, score the predictions, write a report
	@.venv/bin/vcc_nb train --demo

test: .venv/dev    ## run every notebook, or those of NB=30_attention; the last line counts them
	@.venv/bin/python -u scripts/test.py $(NB)

check: .venv/dev    ## clean and export the notebooks, make README.md; fails if a file changed or a part imports from a later one
	@.venv/bin/python scripts/check.py

readme: .venv/dev    ## make README.md from nbs/index.ipynb
	@.venv/bin/python scripts/readme.py

docs: .venv/dev    ## the site, in _docs; needs Quarto
	@command -v quarto >/dev/null || { echo 'make docs needs Quarto (https://quarto.org), which is not installed here; make docs-preview renders the same notebooks without it'; exit 1; }
	@.venv/bin/python scripts/chapters.py
	@.venv/bin/nbdev-docs

docs-preview: .venv/dev    ## the notebooks as plain pages, in _preview; needs no Quarto; some of them: NB=30_attention
	@.venv/bin/python scripts/preview.py $(NB)

wheel: .venv/dev    ## wheel and sdist, in dist, tried in a new environment
	@.venv/bin/python scripts/wheel.py

dev: .venv/dev    ## install what developers need, and run nothing

clean:    ## remove .venv and whatever was built
	rm -rf .venv build dist *.egg-info _docs _proc _preview

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "vcc_nb needs Python 3.11 or newer, and $(PYTHON) is %d.%d: name another one, as in make demo PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -m venv .venv

.venv/demo: $(needs) | .venv/bin/pip
	@echo 'Installing vcc_nb in .venv: some minutes the first time.'
	@$(install) '.[all]'
	@touch $@

.venv/dev: $(needs) | .venv/bin/pip
	@echo 'Installing vcc_nb and its development tools in .venv: some minutes the first time.'
	@$(install) '.[all,dev]'
	@touch $@ .venv/demo
