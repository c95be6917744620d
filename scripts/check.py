"""Checks two promises: notebooks, modules and README.md say the same; no numbered notebook imports what a later one defines."""
import ast, os, re, subprocess, sys
from pathlib import Path
from fastcore.nbio import read_nb
import vcc_nb
from readme import write_readme

def contents():
    "Every file that git tracks or would add, with its bytes."
    names = subprocess.run(['git', 'ls-files', '-coz', '--exclude-standard'], check=True, capture_output=True, text=True).stdout
    return {o: Path(o).read_bytes() for o in names.split('\0') if Path(o).is_file()}

def out_of_step():
    "The files that cleaning, exporting and making the README change: none, when everything was committed in step."
    before = contents()
    for command in 'nbdev-clean', 'nbdev-export': subprocess.run([Path(sys.executable).with_name(command)], check=True)
    write_readme()
    after = contents()
    return sorted(o for o in before | after if before.get(o) != after.get(o))

def parse(source):
    "The syntax tree of a cell, its magics left out; a cell in another language (%%bash) has an empty one."
    magic = re.search(r'^%%(\w+)', source, re.M)
    if magic and magic[1] not in ('time', 'timeit', 'capture'): return ast.parse('')
    return ast.parse(re.sub(r'^([ \t]*)[%!]+\w.*', r'\1pass', source, flags=re.M))

def rooms_used(source):
    "The modules of vcc_nb that this code imports, absolutely or relatively, at its top or inside a function."
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import): paths = [o.name for o in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = '.'.join(o for o in ('vcc_nb' if node.level else '', node.module) if o)
            paths = [f'{origin}.{o.name}' for o in node.names]
        else: continue
        for package, _, name in (o.partition('.') for o in paths):
            room = name.split('.')[0]
            if package == 'vcc_nb': yield vcc_nb._room_of.get(room, room)    # `from vcc_nb import Screen` is an import of screen

def forward_imports():
    "One sentence for each import in a numbered notebook of a module that a later one defines."
    notebooks = sorted(Path('nbs').glob('[0-9]*.ipynb'), key=lambda o: int(re.match(r'\d+', o.name)[0]))
    cells = [[c for c in read_nb(o).cells if c.cell_type == 'code'] for o in notebooks]
    home = {c.directive('default_exp'): i for i, o in enumerate(cells) for c in o if c.has_directive('default_exp')}
    return [f'{notebooks[i]} imports vcc_nb.{room}, which the later {notebooks[home[room]]} defines'
            for i, o in enumerate(cells) for room in sorted({r for c in o for r in rooms_used(c.source)}) if home.get(room, i) > i]

if __name__ == '__main__':
    os.chdir(Path(__file__).parent.parent)
    faults = forward_imports() + [f'{o} was out of step and has been brought up to date: commit it' for o in out_of_step()]
    if faults: sys.exit('\n'.join(faults))
    print('Notebooks, modules and README.md are in step; no notebook imports from a later one.')
