"""Makes README.md from `nbs/index.ipynb`: its text, its code, its outputs. Pictures go to `nbs/images/index_1.png` and so on.

Links are absolute, so that they lead somewhere from the package index, too."""
import base64, os, posixpath, re, sys, tomllib
from pathlib import Path
from fastcore.nbio import read_nb

LINK = re.compile(r'(\]\(|(?:src|href)="|^\[[^\]]+\]: *)([^)\s"]+)', re.M)    # [text](target), ![](target), src="target", [name]: target
CODE = re.compile(r'(```.*?```|`[^`\n]*`)', re.S)


def address(path):
    "Where a file or folder of the repository stands on the web."
    repository = tomllib.loads(Path('pyproject.toml').read_text())['project']['urls']['Repository']
    kind = 'raw' if path.endswith('.png') else 'tree' if Path(path).is_dir() else 'blob'
    return f'{repository}/{kind}/main/{path}'


def absolute_link(match):
    "A link of nbs/index.ipynb as README.md must write it. Ends the run if it leads nowhere."
    start, target = match.groups()
    if re.match(r'[a-z]+:|#|/', target, re.I):
        return match[0]
    path, mark, section = target.partition('#')
    path = posixpath.normpath(f'nbs/{path}')
    if not Path(path).exists():
        sys.exit(f'nbs/index.ipynb links to {path}, which does not exist; mend the link')
    return f'{start}{address(path)}{mark}{section}'


def prose(text):
    "Markdown of nbs/ for README.md; code in it is left alone."
    parts = CODE.split(text)
    return ''.join(part if i % 2 else LINK.sub(absolute_link, part) for i, part in enumerate(parts))


def fence(text, language=''):
    "A block of code, or nothing."
    text = text.strip('\n')
    return f'```{language}\n{text}\n```' if text.strip() else ''


def shown(output, images):
    "One output in Markdown: a table or text, or a picture, which is added to `images`. HTML, widgets and warnings are left out."
    if output.output_type == 'stream':
        return fence(output.text) if output.name == 'stdout' else ''
    data = output.get('data', {})
    if any('widget' in kind for kind in data):
        return ''
    if 'text/markdown' in data:
        return prose(data['text/markdown'])
    if 'image/png' not in data:
        return fence(data.get('text/plain', ''))
    images.append(base64.b64decode(data['image/png']))
    return f'![]({address(f"nbs/images/index_{len(images)}.png")})'


def readme():
    "README.md as text, and the pictures it shows."
    parts, images = ['<!-- Made from nbs/index.ipynb by `make readme`: edit the notebook. -->'], []
    for cell in read_nb('nbs/index.ipynb').cells:
        if cell.cell_type == 'markdown':
            parts.append(prose(cell.source))
        elif cell.cell_type == 'code' and not cell.has_directive('hide'):
            echo = cell.directive('echo') != 'false'
            cell.remove_directives()
            if echo:
                parts.append(fence(cell.source, 'python'))
            parts += [shown(output, images) for output in cell.outputs]
    return '\n\n'.join(part.strip('\n') for part in parts if part.strip()) + '\n', images


def write_readme():
    "Write README.md and its pictures where they changed; remove pictures it no longer shows."
    text, images = readme()
    files = {Path(f'nbs/images/index_{i}.png'): image for i, image in enumerate(images, 1)}
    for path in Path('nbs/images').glob('index_[0-9]*.png'):
        if path not in files:
            path.unlink()
    for path, content in {Path('README.md'): text.encode(), **files}.items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


if __name__ == '__main__':
    os.chdir(Path(__file__).parent.parent)
    write_readme()
