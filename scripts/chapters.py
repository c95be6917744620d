"""The order of the notebooks as a book: tutorials, the parts, benchmarks. As a program, writes it to nbs/sidebar.yml, for Quarto.

nbdev's own sidebar takes the number off a folder's name (1_data) and then finds no page in it; `custom_sidebar` in pyproject.toml leaves this one alone."""
import os
from pathlib import Path


TUTORIALS = ['your_screen', 'choosing_genes', 'attention', 'own_model', 'unseen_lines', 'real_challenge', 'submission', 'what_to_believe',
             'published_table', 'shell', 'troubleshooting']       # in this order; others after them


def place_of(page):
    "What notebooks of a folder are sorted by: their number, or their place among the tutorials."
    return TUTORIALS.index(page.stem) if page.stem in TUTORIALS else len(TUTORIALS), page.stem


def chapters():
    "[(title, notebooks)]: the front page, which has no title, tutorials, the parts, benchmarks."
    folders = [('Tutorials', 'tutorials'), ('Start', '.')]
    folders += [(part.name.split('_', 1)[1], part.name) for part in sorted(Path('nbs').glob('[0-9]_*'))]
    folders += [('Benchmarks', 'benchmarks')]
    listed = [(title, sorted(Path('nbs', folder).glob('*.ipynb'), key=place_of)) for title, folder in folders]
    front = Path('nbs/index.ipynb')
    return [('', [front]), *((title, [page for page in pages if page != front]) for title, pages in listed)]


def sidebar():
    "The text of sidebar.yml."
    lines = ['website:', '  sidebar:', '    contents:']
    for title, pages in chapters():
        indent = ' '*6
        if title:
            lines += [f'{indent}- section: {title}', f'{indent}  contents:']
            indent = ' '*10
        lines += [f'{indent}- {page.relative_to("nbs").as_posix()}' for page in pages]
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    os.chdir(Path(__file__).parent.parent)
    Path('nbs/sidebar.yml').write_text(sidebar())
