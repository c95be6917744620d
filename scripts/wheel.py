"""Builds the package, looks into it, installs it and tries it out.

    python scripts/wheel.py                    # build in dist/, and try the wheel with the libraries of this environment
    python scripts/wheel.py --clean DIST       # install the wheel in DIST in a new environment, with all it needs, and try it there"""
import os, re, subprocess, sys, tarfile, tempfile, venv, zipfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = ("import vcc_nb; print('vcc_nb', vcc_nb.__version__, vcc_nb.__file__)",
             "from vcc_nb import open_screen, papalexi; print(open_screen(papalexi()))",
             "from vcc_nb import gene_sets; print(len(gene_sets()), 'gene sets')")
SMALL = 'train --data papalexi --strategy standard --genes 40 --epochs 1 --max-cells 3000 --embed-dim 8 --layers 1 --device cpu'


def version():
    "The version in settings.ini."
    settings = ConfigParser(delimiters=['='])
    settings.read(ROOT/'settings.ini', encoding='utf-8')
    return settings['DEFAULT']['version']


def build():
    "sdist and wheel, the wheel made from the sdist, in dist/."
    subprocess.run([sys.executable, '-m', 'build', '--outdir', str(ROOT/'dist'), str(ROOT)], check=True, stdout=subprocess.DEVNULL)
    return ROOT/'dist'


def the_wheel(dist):
    "The wheel of this version in a folder."
    wheels = sorted(Path(dist).glob(f'vcc_nb-{version()}-*.whl'))
    return wheels[-1] if wheels else sys.exit(f'no wheel of version {version()} in {dist}')


def faults_of(dist):
    "What is missing in the wheel or the sdist, or would be shown wrongly where the package is listed."
    wheel = zipfile.ZipFile(the_wheel(dist))
    names = set(wheel.namelist())
    sources = [path for kind in ('*.py', 'files/*', 'py.typed') for path in (ROOT/'vcc_nb').rglob(kind) if path.is_file()]
    for path in sources:
        if path.relative_to(ROOT).as_posix() not in names:
            yield f'{path.relative_to(ROOT)} is not in the wheel'
    for name in sorted(names):
        if not re.match(r'vcc_nb[/-]', name):
            yield f'{name} does not belong in the wheel'
    metadata = wheel.read(f'vcc_nb-{version()}.dist-info/METADATA').decode()
    for target in re.findall(r'\]\(([^)\s]+)', metadata.partition('\n\n')[2]):
        if not re.match(r'https?:|#', target):
            yield f'README.md links to {target}, which leads nowhere from the package index'
    for extra in ('eval', 'submit', 'notebook', 'all', 'dev'):
        if f'Provides-Extra: {extra}' not in metadata:
            yield f'there is no extra {extra!r}'
    with tarfile.open(Path(dist)/f'vcc_nb-{version()}.tar.gz') as sdist:
        packed = {name.partition('/')[2] for name in sdist.getnames()}
    for name in ('settings.ini', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'CHANGELOG.md'):
        if name not in packed:
            yield f'{name} is not in the sdist'
    if not re.search(rf'^## ({re.escape(version())}|Unreleased)$', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), re.M):
        yield f'CHANGELOG.md says nothing of {version()}'


def try_out(python, shell, folder, environment, run=False):
    "Use the installed package in an empty folder, by sentences of Python and commands of the shell (`shell`: how vcc_nb is called)."
    def call(*command):
        print('$', *(part if ' ' not in part else repr(part) for part in command[1:]), flush=True)
        return subprocess.run([str(part) for part in command], cwd=folder, env=environment, check=True, text=True, capture_output=True).stdout
    for sentence in SENTENCES:
        print(call(python, '-c', sentence), end='')
    assert version() in call(*shell, '--version')
    print(call(*shell, 'check', 'papalexi').splitlines()[-1])
    if run:
        call(*shell, *SMALL.split(), '--output-dir', 'run')
        print(*sorted(path.name for path in Path(folder, 'run').iterdir()))


def try_here(dist):
    "Try the wheel with the libraries of this environment: nothing but the wheel is installed."
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)/'site'
        subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', str(site), str(the_wheel(dist))], check=True)
        shell = (sys.executable, '-c', 'from vcc_nb.run.cli import main; main()')
        try_out(sys.executable, shell, folder, os.environ | dict(PYTHONPATH=str(site)))


def try_editable():
    "Install the clone as it lies, and find the package in a folder that holds a folder of its name, as the one above a clone does."
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder)/'venv', with_pip=True)
        programs, suffix = ('Scripts', '.exe') if os.name == 'nt' else ('bin', '')
        python = Path(folder)/'venv'/programs/f'python{suffix}'
        subprocess.run([str(python), '-m', 'pip', 'install', '-q', '--no-deps', '-e', str(ROOT)], check=True)
        (Path(folder)/'vcc_nb').mkdir()
        find = "from importlib.util import find_spec; print(find_spec('vcc_nb').origin)"
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        found = subprocess.run([str(python), '-c', find], cwd=folder, env=environment, check=True, text=True, capture_output=True).stdout
        if Path(found.strip()) != ROOT/'vcc_nb'/'__init__.py':
            sys.exit(f'an editable install gives {found.strip()} in a folder that holds a folder vcc_nb')


def try_clean(dist):
    "Install the wheel and all that it needs in a new environment, and try it there."
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder)/'venv', with_pip=True)
        programs, suffix = ('Scripts', '.exe') if os.name == 'nt' else ('bin', '')
        python, vcc_nb = (Path(folder)/'venv'/programs/f'{name}{suffix}' for name in ('python', 'vcc_nb'))
        install = [str(python), '-m', 'pip', 'install', '-q', '-c', str(ROOT/'constraints.txt')]
        subprocess.run([*install, f'{the_wheel(dist)}[eval]'], check=True)
        subprocess.run([*install, '--dry-run', f'{the_wheel(dist)}[all]'], check=True)
        work = Path(folder)/'work'
        work.mkdir()
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        try_out(python, (vcc_nb,), work, environment, run=True)


if __name__ == '__main__':
    clean = '--clean' in sys.argv
    dist = Path(sys.argv[-1]).resolve() if clean else build()
    faults = [] if clean else list(faults_of(dist))
    if faults:
        sys.exit('\n'.join(faults))
    if clean:
        try_clean(dist)
    else:
        try_here(dist)
        try_editable()
    print(f'{the_wheel(dist).name} works.')
