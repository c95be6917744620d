"""What vcc_nb needs on a machine with a GPU beyond what is there already: `name==version` lines.

Walks the requirements in settings.ini, and theirs, through the packages installed here, so that the
list stays true; versions are those that the tests run with. Used by wheels_for_gpu.sh."""
import os, re, sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from packaging.requirements import Requirement

# what such a machine has: torch and triton for its GPU, and what comes with them; pandas, too, but
# perhaps in a version that anndata does not take, so it is brought along
THERE = set('''torch triton numpy scipy numba llvmlite h5py scikit-learn joblib threadpoolctl
    matplotlib contourpy cycler fonttools kiwisolver pillow pyparsing pyarrow tqdm lazy-loader fsspec
    filelock networkx sympy mpmath jinja2 markupsafe typing-extensions packaging setuptools six
    python-dateutil pyyaml statsmodels patsy seaborn pygments wrapt formulaic interface-meta narwhals
    psutil'''.split())
MACHINE = dict(python_version='3.12', python_full_version='3.12.0', sys_platform='linux',
    platform_system='Linux', platform_machine='x86_64', os_name='posix', extra='')


def standard(name): return re.sub(r'[-_.]+', '-', name).lower()


def required():
    "The requirements of the library itself."
    settings = ConfigParser(delimiters=['='])
    settings.read(Path(__file__).parent.parent/'settings.ini')
    return settings['DEFAULT']['requirements'].split()


def missing():
    "name -> version of every package that is needed and is not there."
    versions, waiting = {}, [Requirement(line) for line in required()]
    while waiting:
        need = waiting.pop()
        name = standard(need.name)
        environments = [MACHINE | dict(extra=extra) for extra in need.extras or ['']]
        if name in THERE or name in versions: continue
        try: package = distribution(name)
        except PackageNotFoundError:
            sys.exit(f'{name} is needed and not installed here; run make dev, then start this by '
                     '.venv/bin/python')
        versions[name] = package.version
        for line in package.requires or []:
            other = Requirement(line)
            if other.marker is None or any(other.marker.evaluate(e) for e in environments):
                waiting.append(other)
    return versions


if __name__ == '__main__':
    os.chdir(Path(__file__).parent.parent)
    for name, version in sorted(missing().items()):
        print(f'{name}=={version}')
