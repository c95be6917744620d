"""A light rendering of the notebooks as HTML pages in _preview/, for where Quarto is not installed. Ends with an error for a link that leads nowhere.

    python scripts/preview.py                 # all of them
    python scripts/preview.py 30_attention    # the front page, and those whose file name begins so"""
import ast, json, os, posixpath, re, shutil, sys
from html import escape
from multiprocessing import Pool
from pathlib import Path
from urllib.parse import unquote, urldefrag
from fastcore.nbio import read_nb
from chapters import chapters
from readme import CODE, LINK, address

OUT = Path('_preview')
HEADING = re.compile(r'^(#{1,3}) +(.+?) *$', re.M)
NAMED = re.compile(r'`(\d\d_\w+)`')                      # a notebook that is named in prose


def target_of(page):
    "Where the rendering of a notebook goes, below _preview/."
    return page.relative_to('nbs').with_suffix('.html').as_posix()


def from_page(page, target):
    "A path below _preview/ as a page there must write it."
    return posixpath.relpath(target, posixpath.dirname(target_of(page)) or '.')


def shown_cells(page):
    "The cells of a notebook that a reader sees, without directives; code that is not to be echoed is left out."
    for cell in read_nb(page).cells:
        if cell.cell_type == 'markdown':
            yield cell
        elif cell.cell_type == 'code' and not cell.has_directive('hide') and not cell.has_directive('default_exp'):
            echo = cell.directive('echo') != 'false'
            cell.remove_directives()
            cell.source = cell.source.strip('\n') if echo else ''
            if not cell.source:
                cell.metadata = dict(transient=dict(remove_source=True))        # as nbconvert's templates ask
            if cell.source or cell.outputs:
                yield cell


def rewritten(text, page, stems, dead):
    "Markdown whose links lead to rendered pages, or to the repository; those that lead nowhere are added to `dead`."
    def link(match):
        start, target = match.groups()
        if re.match(r'[a-z]+:|#|/', target, re.I):
            return match[0]
        path, mark, section = target.partition('#')
        path = Path(posixpath.normpath(page.parent.joinpath(unquote(path)).as_posix()))
        if not path.exists():
            dead.append(f'{page} links to {target}, which does not exist')
        elif path.suffix == '.ipynb':
            return f'{start}{from_page(page, target_of(path))}{mark}{section}'
        return f'{start}{address(path.as_posix())}{mark}{section}'

    def named(match):
        other = stems.get(match[1])
        return match[0] if other in (None, page) else f'[{match[0]}]({from_page(page, target_of(other))})'

    parts = CODE.split(text)
    for i, part in enumerate(parts):
        if not i % 2:
            parts[i] = LINK.sub(link, part)
        elif not _in_link(parts, i):
            parts[i] = NAMED.sub(named, part)
    return ''.join(parts)


def _in_link(parts, i):
    "Is this piece of code the text of a link?"
    return parts[i - 1].endswith('[') or parts[i + 1].startswith('](')


def headings(cells):
    "[(level, text, id of its cell)] of a page."
    found = []
    for cell in cells:
        if cell.cell_type == 'markdown':
            text = CODE.sub(lambda match: '' if match[0].startswith('```') else match[0], cell.source)
            found += [(len(marks), words.replace('`', ''), cell.id) for marks, words in HEADING.findall(text)]
    return found


def definitions(page):
    "[(name, id of its cell)] of the public functions and classes that a notebook exports."
    for cell in read_nb(page).cells:
        if cell.cell_type == 'code' and cell.has_directive('export'):
            for node in ast.parse(cell.source).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != '_':
                    yield node.name, cell.id


def render(job):
    "Write the page of one notebook. Returns (its path, what can be searched for on it, dead links)."
    page, listed, stems = job
    import nbformat
    from nbconvert import HTMLExporter
    cells, dead = list(shown_cells(page)), []
    for cell in cells:
        if cell.cell_type == 'markdown':
            cell.source = rewritten(cell.source, page, stems, dead)
        for output in cell.get('outputs', ()):
            data = output.get('data', {})
            if 'text/markdown' in data:
                data['text/markdown'] = rewritten(''.join(data['text/markdown']), page, stems, dead)
    notebook = nbformat.from_dict(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5))
    body, _ = HTMLExporter(template_name='basic').from_notebook_node(notebook)
    top = headings(cells)
    title = top[0][1] if top else page.stem
    html = TEMPLATE.format(title=escape(title), body=body, root=from_page(page, '.').rstrip('/') or '.',
                           sidebar=sidebar(page, listed), contents=contents(top), source=address(page.as_posix()))
    path = OUT/target_of(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding='utf-8')
    entries = [(words, title, f'{target_of(page)}#cell-id={cell}') for _, words, cell in top]
    entries += [(name, title, f'{target_of(page)}#cell-id={cell}') for name, cell in definitions(page)]
    return page, entries, dead


def sidebar(page, listed):
    "The list of all pages, by chapter, as HTML; the chapter of `page` is open."
    parts = []
    for chapter, pages in listed:
        is_open = ' open' if page in pages or chapter == 'Tutorials' else ''
        links = [_link_to(other, title, page) for other, title in pages.items()]
        if chapter:
            parts.append(f'<details{is_open}><summary>{escape(chapter)}</summary>{"".join(links)}</details>')
        else:
            parts += links
    return '\n'.join(parts)


def _link_to(other, title, page):
    number = re.match(r'\d\d', other.stem)
    words = f'{number[0]} {title}' if number else title
    here = ' class="here"' if other == page else ''
    return f'<a{here} href="{from_page(page, target_of(other))}">{escape(words)}</a>'


def contents(top):
    "The sections of a page, as HTML."
    return ''.join(f'<a class="level{level}" href="#cell-id={cell}">{escape(words)}</a>' for level, words, cell in top[1:])


def first_heading(page):
    "The title of a notebook."
    return next((words for _, words, _ in headings(shown_cells(page))), page.stem)


def dead_anchors(paths):
    "One sentence for each link of the rendered pages to a page or a place that is not there."
    ids, faults = {}, []
    pages = {path: path.read_text(encoding='utf-8') for path in paths}
    for path, html in pages.items():
        ids[path.resolve()] = set(re.findall(r'\bid="([^"]+)"', html))
    for path, html in pages.items():
        for target in set(re.findall(r'<a[^>]*\shref="([^"]+)"', html)):
            if re.match(r'[a-z]+:|//', target, re.I):
                continue
            file, anchor = urldefrag(target)
            other = (path.parent/unquote(file)).resolve() if file else path.resolve()
            if not other.exists():
                faults.append(f'{path} links to {target}, which was not made')
            elif anchor and other in ids and unquote(anchor) not in ids[other]:
                faults.append(f'{path} links to {target}, and there is no such place on that page')
    return faults


TEMPLATE = '''<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} | vcc_nb</title>
<link rel="stylesheet" href="{root}/preview.css"><script defer src="{root}/search.js" data-root="{root}"></script>
<script async src="https://cdn.jsdelivr.net/npm/mathjax@3.2.2/es5/tex-mml-chtml.js"></script></head>
<body><nav class="pages"><a class="home" href="{root}/index.html">vcc_nb</a>
<input id="words" type="search" placeholder="Search pages, sections, names" aria-label="Search"><div id="hits"></div>
<div id="list">{sidebar}</div></nav>
<main>{body}</main>
<aside>{contents}<a class="source" href="{source}">this notebook</a></aside></body></html>
'''


def listed_pages():
    "[(chapter, {notebook: title})] of all notebooks."
    return [(chapter, {page: first_heading(page) for page in pages}) for chapter, pages in chapters()]


def write_site(names=()):
    "Render the notebooks whose names begin with one of `names` (all if there are none), and what they share. Returns dead links."
    from pygments.formatters import HtmlFormatter
    listed = listed_pages()
    pages = [page for _, of_chapter in listed for page in of_chapter]
    stems = {page.stem: page for page in pages}
    if names:
        pages = [page for page in pages if page.stem == 'index' or page.name.startswith(tuple(names))]
    else:
        shutil.rmtree(OUT, ignore_errors=True)
    with Pool(2) as pool:
        made = pool.map(render, [(page, listed, stems) for page in pages], chunksize=1)
    entries = [entry for _, of_page, _ in made for entry in of_page]
    here = Path(__file__).parent
    (OUT/'preview.css').write_text((here/'preview.css').read_text() + HtmlFormatter().get_style_defs('.highlight'))
    (OUT/'search.js').write_text((here/'preview.js').read_text().replace('ENTRIES', json.dumps(entries)))
    dead = [fault for _, _, faults in made for fault in faults]
    if not names:
        dead += dead_anchors([OUT/target_of(page) for page in pages])
    print(f'{len(pages)} pages in {OUT}, {len(entries)} entries to search for: open {OUT}/index.html')
    return dead


if __name__ == '__main__':
    os.chdir(Path(__file__).parent.parent)
    faults = write_site(sys.argv[1:])
    if faults:
        sys.exit('\n'.join(faults))
