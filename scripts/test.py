"""Runs `nbdev-test --n-workers 2` and counts: the last line is `N passed, N failed`, in notebooks that were really run.

    python scripts/test.py                    # all of them
    python scripts/test.py 30_attention       # those whose file name begins so"""
import os, re, subprocess, sys
from pathlib import Path


def notebooks_named(start):
    "The notebooks whose file name begins with `start`, ending in .ipynb or not."
    matches = sorted(path for path in Path('nbs').rglob('*.ipynb') if path.name.startswith(start.removesuffix('.ipynb')))
    return [str(path) for path in matches if '.ipynb_checkpoints' not in path.parts]


def two_share_the_cores():
    "The environment of two workers: each takes half of the cores for its matrices, unless the user says otherwise."
    threads = str(max(1, (os.cpu_count() or 2)//2))
    return dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), threads) | os.environ


def run_and_count(path=None):
    "(passed, failed) of one call of nbdev-test, whose output is passed on; a notebook whose worker died counts as failed."
    command = [Path(sys.executable).with_name('nbdev-test'), *([path] if path else []), '--n-workers', '2', '--do-print']
    process = subprocess.Popen(command, env=two_share_the_cores(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
    started, completed, failed, in_list = set(), set(), 0, False
    for line in process.stdout:
        print(line, end='', flush=True)
        started.update(re.findall(r'Starting (/.*?\.ipynb)', line))        # two workers may write into one line
        completed.update(re.findall(r'- Completed (/.*?\.ipynb)', line))
        if line.startswith('nbdev Tests Failed'):
            in_list = True
        elif in_list and line.startswith('\t'):
            failed += 1
    status = process.wait()
    failed += len(started - completed)
    if status and not failed:
        failed = 1                                  # it ended before any notebook began
    return max(len(started) - failed, 0), failed


if __name__ == '__main__':
    os.chdir(Path(__file__).parent.parent)
    paths = notebooks_named(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1] else [None]
    if not paths:
        sys.exit(f'no notebook in nbs/ has a name that begins with {sys.argv[1]!r}')
    counts = [run_and_count(path) for path in paths]
    passed, failed = (sum(column) for column in zip(*counts))
    print(f'{passed} passed, {failed} failed', flush=True)
    sys.exit(failed > 0 or passed == 0)
