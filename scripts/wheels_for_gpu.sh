#!/usr/bin/env bash
# Gathers in .whl/ (kept out of git) what vcc_nb needs on a Linux x86-64 machine with a GPU, Python 3.12, torch and triton,
# and no network; gpu_wheels.py beside this file says which packages that machine is taken to have. After `make dev`:
#   bash scripts/wheels_for_gpu.sh
# and on the other machine, in the root of the repository:
#   python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target .site .whl/*.whl
#   export PYTHONPATH=.site:.
#   python3 nbs/benchmarks/gpu.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exclude=$(git rev-parse --git-path info/exclude)
mkdir -p "$(dirname "$exclude")"
for folder in /.whl/ /.site/; do grep -qx "$folder" "$exclude" 2>/dev/null || echo "$folder" >> "$exclude"; done
python=${PYTHON:-.venv/bin/python}
rm -rf .whl
platforms=$(for glibc in 2_28 2_27 2_24 2_17; do echo --platform "manylinux_${glibc}_x86_64"; done)
"$python" scripts/gpu_wheels.py | xargs "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
  --implementation cp $platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d .whl
ls .whl | wc -l
du -sh .whl
