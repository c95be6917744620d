"""Checks what is promised: notebooks, modules and README.md say the same; no part of the package imports from a later one; no page holds a path; links lead somewhere; extras exist. Prints the parts and their imports."""
import ast, json, os, re, subprocess, sys
from pathlib import Path
from fastcore.nbio import read_nb
from readme import CODE, LINK, write_readme

PARTS = ['core', 'kernels', 'jupyter', *(folder.name.split('_', 1)[1] for folder in sorted(Path(__file__).parent.parent.glob('nbs/[0-9]_*')))]


def contents():
    "Every file that git tracks or would add, with its bytes."
    names = subprocess.run(['git', 'ls-files', '-coz', '--exclude-standard'], check=True, capture_output=True, text=True).stdout
    return {name: Path(name).read_bytes() for name in names.split('\0') if Path(name).is_file()}


def out_of_step():
    "The files that cleaning, exporting and making the README change: none, when everything was committed in step."
    before = contents()
    for command in 'nbdev-clean', 'nbdev-export':
        subprocess.run([Path(sys.executable).with_name(command)], check=True)
    write_readme()
    after = contents()
    return sorted(name for name in before | after if before.get(name) != after.get(name))


def imported_modules(path):
    "Dotted names of the modules of vcc_nb that the module at `path` imports, at its top or inside a function."
    package = path.parent.parts                                    # ('vcc_nb', 'genes')
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = package[:len(package) - node.level + 1] if node.level else ()
            origin = '.'.join([*origin, *([node.module] if node.module else [])])
            yield from (f'{origin}.{alias.name}' for alias in node.names)


def imported_parts(path):
    "The parts of vcc_nb that the module at `path` imports; a name taken from vcc_nb itself counts as the part that defines it."
    import vcc_nb
    part_of = {name: module.split('.')[0] for module, names in vcc_nb._names.items() for name in names.split()}
    for dotted in imported_modules(path):
        package, _, rest = dotted.partition('.')
        if package == 'vcc_nb':
            part = rest.split('.')[0]
            yield part_of.get(part, part)


def imports_by_part():
    "Part -> the parts that its modules import -> the modules that do."
    imports = {part: {} for part in PARTS}
    for part in PARTS:
        alone = Path('vcc_nb', f'{part}.py')
        modules = [alone] if alone.exists() else sorted(Path('vcc_nb', part).glob('*.py'))
        for module in modules:
            for other in set(imported_parts(module)) - {part}:
                imports[part].setdefault(other, []).append(str(module))
    return imports


def upward_imports(imports):
    "One sentence for each import of a later part. Nothing imports the simulation, which is the last part."
    position = {part: i for i, part in enumerate(PARTS)}
    for part, others in imports.items():
        for other, modules in others.items():
            if position.get(other, 99) > position[part]:
                yield f'{", ".join(modules)} of {part} import from {other}, which is not a part above it'


def pages_with_paths():
    "One sentence for each notebook whose outputs name a folder of the machine that made them (a warning of a library does)."
    of_machine = re.compile(r'site-packages/|(?<![\w:/.])/(?:home|root|work|Users)/')
    for page in sorted(Path('nbs').rglob('*.ipynb')):
        outputs = [cell.get('outputs', []) for cell in json.loads(page.read_text())['cells']]
        if of_machine.search(json.dumps(outputs)):
            yield f'{page} has an output with a path of this machine: silence the warning, or take the output out'


def texts_of(page):
    "The Markdown of a notebook, or of a file: its own, and what its code displays."
    if page.suffix != '.ipynb':
        yield page.read_text()
        return
    for cell in read_nb(page).cells:
        if cell.cell_type == 'markdown':
            yield cell.source
        for output in cell.get('outputs', ()):
            yield ''.join(output.get('data', {}).get('text/markdown', ''))


def headings_of(page):
    "The anchors of the headings of a page, as Jupyter makes them."
    text = '\n'.join(CODE.sub(lambda code: '' if code[0].startswith('```') else code[0], text) for text in texts_of(page))
    return {heading.strip().replace(' ', '-').replace('`', '') for heading in re.findall(r'^#+ (.+)$', text, re.M)}


def dead_links(pages):
    "One sentence for each link of these pages to a file or heading of the repository that is not there."
    for page in pages:
        for text in texts_of(page):
            prose = ''.join(CODE.split(text)[::2])
            for _, target in LINK.findall(prose):
                if re.match(r'[a-z]+:|/', target, re.I):
                    continue
                path, _, heading = target.partition('#')
                other = page.parent/path if path else page
                if not other.exists():
                    yield f'{page} links to {target}, which does not exist'
                elif heading and other.suffix in ('.ipynb', '.md') and heading not in headings_of(other):
                    yield f'{page} links to {target}, and there is no such heading'


def unknown_extras(pages):
    "One sentence for each extra (pip install 'vcc-nb[eval]', '.[dev]') that is named somewhere and does not exist."
    known = set(re.findall(r'^(\w+)_requirements', Path('settings.ini').read_text(), re.M)) | {'all'}
    for page in pages:
        for names in re.findall(r"(?:\bvcc[-_]nb|'\.|whl)\[([a-z, ]+)\]", page.read_text()):
            for name in set(re.split(', *', names)) - known:
                yield f'{page} names the extra {name!r}, which settings.ini has not (there are {", ".join(sorted(known))})'


if __name__ == '__main__':
    os.chdir(Path(__file__).parent.parent)
    imports = imports_by_part()
    for part, others in imports.items():
        print(f'{part:12}imports {", ".join(sorted(others, key=PARTS.index)) or "nothing"}')
    notebooks, prose = sorted(Path('nbs').rglob('*.ipynb')), sorted(Path().glob('*.md'))
    named_in = [*notebooks, *prose, Path('Makefile'), *Path('.github').rglob('*.yaml'), *Path('scripts').glob('*.py')]
    faults = [*upward_imports(imports), *pages_with_paths(), *dead_links([*notebooks, *prose]), *unknown_extras(named_in), *(f'{name} was out of step and has been brought up to date: commit it' for name in out_of_step())]
    if faults:
        sys.exit('\n'.join(faults))
    print('Notebooks, modules and README.md are in step; no part imports from a later one; no page holds a path; links lead somewhere.')
