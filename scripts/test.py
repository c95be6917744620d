"""Tests the notebooks as `nbdev-test --n-workers 2` does; the last line is `N passed, N failed`, in notebooks that were really run."""
import sys, traceback
import nbdev.test
from fastcore.parallel import parallel

results = {}    # notebook: (did it pass, seconds); nbdev gives 0 seconds to a notebook whose front matter says skip_exec

def parallel_kept(test, notebooks, **kwargs):
    "`parallel`, keeping the results; a notebook whose worker died has none, and counts as failed."
    results.update(dict.fromkeys(notebooks, (False, None)))
    results.update(zip(notebooks, parallel(test, notebooks, **kwargs)))
    return list(results.values())

if __name__ == '__main__':
    nbdev.test.parallel = parallel_kept
    try: nbdev.test.nbdev_test(n_workers=2, do_print=True)
    except SystemExit: pass    # nbdev has named the notebooks that failed; they are counted below
    except Exception: traceback.print_exc()
    passed = [ok for ok, seconds in results.values() if seconds != 0]
    print(f'{sum(passed)} passed, {len(passed) - sum(passed)} failed', flush=True)
    sys.exit(not passed or not all(passed))
