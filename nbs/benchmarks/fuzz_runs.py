"""Mutations of the directory of a finished run for fuzz.py: what hands, disks and mistaken copies do to its files.

A mutation is a function of a `RunBench` that changes files in place and returns a `Change`: what it did, and
what may come of it. Whatever is not refused must answer as the untouched run does."""
import hashlib, io, json, os, shutil
from dataclasses import dataclass
from pathlib import Path
import anndata as ad, h5py, numpy as np, pandas as pd, torch
from fuzz_screens import registry

MAGIC = b'vcc_nb checkpoint 1, sha256 '


@dataclass
class Change:
    "What was done to a run, and what may come of it."
    about:str               # what was drawn
    expected:str = 'either' # 'same' as before; 'refused'; 'either' of both


class RunBench:
    "A copy of a run and of its screen in a folder of its own, another run beside it, and a random generator."
    def __init__(self, folder, other, rng):
        self.folder, self.run, self.other, self.rng = Path(folder), Path(folder)/'run', Path(other), rng
        self.screen = self.folder/'screen.h5ad'

    def draw(self, options):
        "One of them."
        options = list(options)
        return options[self.rng.integers(len(options))]

    def file(self, *patterns):
        "One of the files of the run."
        patterns = patterns or ('*',)
        return self.draw(sorted({path for pattern in patterns for path in self.run.glob(pattern)}))

    def checkpoint(self):
        "The checkpoint that the run answers with, mostly."
        best = json.loads((self.run/'training_history.json').read_text())['best_epoch']
        best = self.run/f'checkpoint_epoch_{best:04}.pt'
        return best if self.rng.random() < .8 else self.file('*.pt')


mutations, mutation = registry()


# ---- any file

@mutation('bytes')
def bits_flipped(b):
    path = b.file()
    content = bytearray(path.read_bytes())
    n = int(b.draw([1, 1, 2, 10]))
    places = b.rng.integers(len(content), size=n)
    for place in places: content[place] ^= 1 << int(b.rng.integers(8))
    path.write_bytes(content)
    return Change(f'{path.name} x{n} first {places.min():,}')

@mutation('bytes')
def one_number_flipped(b):
    "A digit of a text file becomes another one."
    path = b.file('*.json', '*.csv')
    content = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    if not digits: return Change(f'{path.name}: no digit', 'same')
    place = b.draw(digits)
    content[place] = ord(b.draw(set('0123456789') - {chr(content[place])}))
    path.write_bytes(content)
    return Change(f'{path.name} at {place}')

@mutation('bytes')
def cut_off(b):
    path = b.file()
    size = int(path.stat().st_size*b.rng.uniform(0, 1))
    os.truncate(path, size)
    return Change(f'{path.name} after {size:,}')

@mutation('bytes')
def emptied(b):
    path = b.file()
    path.write_bytes(b'')
    return Change(path.name)

@mutation('bytes')
def overwritten(b):
    path = b.file()
    content = b.draw([b'\xff\xfe\x00{', b'null', b'[]', b'{}', b'<html></html>', bytes(200),
        b'\x89HDF\r\n\x1a\n', b'1'])
    path.write_bytes(content)
    return Change(f'{path.name}: {content[:8]}')

@mutation('files')
def missing(b):
    path = b.file()
    path.unlink()
    return Change(path.name)

@mutation('files')
def of_another_run(b):
    path = b.file()
    if not (b.other/path.name).exists(): path = b.run/'split.json'
    shutil.copy(b.other/path.name, path)
    return Change(path.name)

@mutation('files')
def two_of_another_run(b):
    names = sorted(path.name for path in b.run.iterdir() if (b.other/path.name).exists())
    names = [names[i] for i in b.rng.permutation(len(names))[:2]]
    for name in names: shutil.copy(b.other/name, b.run/name)
    return Change(', '.join(names))

@mutation('files')
def a_folder_instead(b):
    path = b.file()
    path.unlink()
    path.mkdir()
    return Change(path.name)

@mutation('files')
def a_link_instead(b):
    path, how = b.file(), b.draw(['to nowhere', 'to itself', 'to the other run', 'to its copy'])
    if how == 'to its copy': shutil.copy(path, b.folder/path.name)
    path.unlink()
    path.symlink_to({'to nowhere': '/nowhere/at/all', 'to itself': path,
        'to the other run': b.other/path.name,
        'to its copy': b.folder/path.name}[how])
    return Change(f'{path.name} {how}', 'same' if how == 'to its copy' else 'either')

@mutation('files')
def more_files(b):
    name = b.draw(['notes.txt', '.scores.0123456789abcdef-01234567-1.part.csv',
        'checkpoint_epoch_0009.pt', '.DS_Store',
        'predictions.csv', 'checkpoint_epoch_best.pt', 'training_config.json~'])
    (b.run/name).write_bytes(b.draw([b'', b'text', bytes(100)]))
    return Change(name, 'same')

@mutation('files')
def checkpoints_exchanged(b):
    paths = sorted(b.run.glob('*.pt'))
    first, second = (paths[i] for i in b.rng.permutation(len(paths))[:2])
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    return Change(f'{first.name} {second.name}')


# ---- JSON

def places_of(value, path=()):
    "Ways to all values of nested dicts and lists."
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value,
        list) else ()
    for key, part in items:
        yield (*path, key)
        yield from places_of(part, (*path, key))

def _json_edited(b, change):
    "Change a value of a JSON file: `change(holder, key)` returns words for it."
    path = b.file('*.json')
    content = json.loads(path.read_text())
    way = b.draw(list(places_of(content)))
    holder = content
    for key in way[:-1]: holder = holder[key]
    about = change(holder, way[-1])
    path.write_text(json.dumps(content, indent=1))
    return Change(f'{path.name} {".".join(map(str, way))}: {about}')

@mutation('json')
def other_type(b):
    word = b.draw([None, 'text', [], {}, -1, 1.5, True, 1e300, [1, 'a'], float('nan'),
        float('inf'), 10**30])
    def change(holder, key):
        holder[key] = word
        return repr(word)
    return _json_edited(b, change)

@mutation('json')
def key_lost(b):
    def change(holder, key):
        del holder[key]
        return 'lost'
    return _json_edited(b, change)

@mutation('json')
def key_added(b):
    def change(holder, key):
        if isinstance(holder, dict): holder[b.draw(['new', 'Seed', 'version2', ''])] = 1
        else: holder.append(holder[key])
        return 'one more'
    return _json_edited(b, change)

@mutation('json')
def setting_edited(b):
    path = b.run/'training_config.json'
    settings = json.loads(path.read_text())
    others = dict(seed=7, embed_dim=16, n_layers=2, n_heads=1, selection='variable', test=.4,
        valid=.3, target_genes=40,
        learning_rate=.02, priors=False, amplitude_for='PDS', residual=False,
        target_key='guide_name', control='ACAT2',
        n_features=16, attention_type='full', neighbours=8, dropout=.3, epochs=3, set_size=32,
        loss='energy', max_cells=500,
        season='2026', strategy='progressive', context='iPSC', context_key='batch',
        fast_scores=True, elsewhere='contexts',
        ema=.9, warmup=.1, backed=True, per_target=8, batch_size=8, output_dir='elsewhere',
        data='other.h5ad')
    name = b.draw([name for name in others if name in settings])
    settings[name] = others[name]
    path.write_text(json.dumps(settings, indent=1))
    return Change(f'{name}={others[name]!r}')

@mutation('json')
def split_edited(b):
    path = b.run/'split.json'
    split = json.loads(path.read_text())
    how = b.draw(['train and test exchanged', 'one moved to test', 'one lost', 'unknown one',
        'one doubled',
        'valid emptied', 'valid to train', 'other order', 'control trains', 'test emptied'])
    if how == 'train and test exchanged': split['train'], split['test'] = split['test'], split['train']
    elif how == 'one moved to test': split['test'].append(split['train'].pop(0))
    elif how == 'one lost': split['train'].pop()
    elif how == 'unknown one': split['train'].append('TP53')
    elif how == 'one doubled': split['valid'].append(split['train'][0])
    elif how == 'valid emptied': split['valid'] = []
    elif how == 'valid to train': split['train'], split['valid'] = split['train'] + split['valid'], []
    elif how == 'other order': split['train'] = split['train'][::-1]
    elif how == 'control trains': split['train'].append('non-targeting')
    else: split['test'] = []
    path.write_text(json.dumps(split, indent=1))
    return Change(how)


# ---- tables

def _table_edited(b, change):
    "Change a CSV file, its comment lines kept: `change(table)` returns (table, words)."
    path = b.file('*.csv')
    lines = path.read_text().splitlines(keepends=True)
    comments = [line for line in lines if line.startswith('#')]
    table = pd.read_csv(io.StringIO(''.join(lines[len(comments):])), dtype=str,
        keep_default_na=False)
    table, about = change(table)
    path.write_text(''.join(comments) + table.to_csv(index=False))
    return Change(f'{path.name} {about}')

@mutation('tables')
def column_dropped(b):
    def change(table):
        name = b.draw(table.columns)
        return table.drop(columns=name), f'without {name}'
    return _table_edited(b, change)

@mutation('tables')
def columns_reordered(b):
    return _table_edited(b, lambda table: (table[list(b.rng.permutation(table.columns))],
        'columns in another order'))

@mutation('tables')
def rows_changed(b):
    def change(table):
        how, n = b.draw(['fewer', 'doubled', 'other order', 'none']), max(1, len(table)//3)
        if how == 'fewer': table = table.iloc[n:]
        elif how == 'doubled': table = pd.concat([table, table.iloc[:n]])
        elif how == 'other order': table = table.iloc[b.rng.permutation(len(table))]
        else: table = table.iloc[:0]
        return table, f'rows: {how}'
    return _table_edited(b, change)

@mutation('tables')
def cell_changed(b):
    def change(table):
        word = b.draw(['', 'nan', 'text', '-1', '1e300', 'inf', '0.123', 'TP53', '"'])
        if not len(table): return table, 'nothing to change'
        row, column = b.rng.integers(len(table)), b.draw(table.columns)
        table.loc[table.index[row], column] = word
        return table, f'{column} of row {row}: {word!r}'
    return _table_edited(b, change)

@mutation('tables')
def other_dialect(b):
    path, how = b.file('*.csv'), b.draw(['semicolons', 'tabs', 'byte order mark', 'utf-16',
        'comma as point', 'CRLF'])
    text = path.read_text()
    if how == 'semicolons': text = text.replace(',', ';')
    elif how == 'tabs': text = text.replace(',', '\t')
    elif how == 'comma as point': text = text.replace('.', ',')
    elif how == 'CRLF': text = text.replace('\n', '\r\n')
    encoding = {'byte order mark': 'utf-8-sig', 'utf-16': 'utf-16'}.get(how, 'utf-8')
    path.write_bytes(text.encode(encoding))
    return Change(f'{path.name} {how}')


# ---- checkpoints, with a right checksum

def _checkpoint_edited(b, change):
    "Change what a checkpoint holds: `change(content)` returns words for it. The checksum is made anew."
    path = b.checkpoint()
    body = path.read_bytes().partition(b'\n')[2]
    content = torch.load(io.BytesIO(body), weights_only=True)
    about = change(content)
    body = io.BytesIO()
    torch.save(content, body)
    checksum = hashlib.sha256(body.getvalue()).hexdigest().encode()
    path.write_bytes(MAGIC + checksum + b'\n' + body.getvalue())
    return Change(f'{path.name} {about}')

@mutation('checkpoints')
def weights_changed(b):
    def change(content):
        name = b.draw(content['weights'])
        tensor, how = content['weights'][name], b.draw(['scaled', 'NaN', 'shape', 'type', 'lost',
            'renamed', 'zero', 'huge'])
        if how == 'lost': del content['weights'][name]
        elif how == 'renamed': content['weights'][name + '2'] = content['weights'].pop(name)
        else: content['weights'][name] = {'scaled': lambda: tensor*2,
            'NaN': lambda: tensor*float('nan'),
            'shape': lambda: tensor.reshape(-1)[:-1], 'type': lambda: tensor.double(),
            'zero': lambda: tensor*0,
            'huge': lambda: tensor*10**6}[how]()
        return f'{name} {how}'
    return _checkpoint_edited(b, change)

@mutation('checkpoints')
def sizes_changed(b):
    def change(content):
        name = b.draw(content['sizes'])
        content['sizes'][name] = b.draw([0, -1, 10**7, 1.5, 'text', None, True, 2])
        return f'{name}={content["sizes"][name]!r}'
    return _checkpoint_edited(b, change)

@mutation('checkpoints')
def genes_changed(b):
    def change(content):
        genes, how = content['genes'], b.draw(['other order', 'one lost', 'doubled', 'unknown',
            'number', 'no list'])
        if how == 'other order': content['genes'] = genes[::-1]
        elif how == 'one lost': content['genes'] = genes[:-1]
        elif how == 'doubled': genes[1] = genes[0]
        elif how == 'unknown': genes[0] = 'NOGENE'
        elif how == 'number': genes[0] = 7
        else: content['genes'] = 'ACAT2'
        return f'genes: {how}'
    return _checkpoint_edited(b, change)

@mutation('checkpoints')
def pointers_changed(b):
    def change(content):
        names = [name for name in content['weights'] if 'graph' in name or 'ind' in name]
        if not names: return 'no graph'
        name, value = b.draw(names), b.draw([-1, 10**6, 2**31 - 1, -10**9])
        tensor = content['weights'][name]
        if tensor.numel(): tensor.view(-1)[int(b.rng.integers(tensor.numel()))] = value
        return f'{name} {value}'
    return _checkpoint_edited(b, change)

@mutation('checkpoints')
def stored_settings_changed(b):
    def change(content):
        part = b.draw([part for part in ('config', 'split', 'training') if part in content])
        name = b.draw(content[part])
        content[part][name] = b.draw([None, 7, 'text', [], -1.5])
        return f'{part}.{name}={content[part][name]!r}'
    return _checkpoint_edited(b, change)


# ---- what was predicted, and the screen behind the run

@mutation('predictions')
def predictions_changed(b):
    path = b.run/'predicted_effects.h5ad'
    how = b.draw(['X scaled', 'layer scaled', 'layer lost', 'weights', 'targets renamed',
        'genes renamed', 'NaN',
        'amplitudes lost', 'rows in another order', 'fewer genes', 'weights lost', 'type'])
    adata = ad.read_h5ad(path)
    name = b.draw(adata.layers)
    if how == 'X scaled': adata.X = adata.X*2
    elif how == 'layer scaled': adata.layers[name] = adata.layers[name]*2
    elif how == 'layer lost': del adata.layers[name]
    elif how == 'weights': adata.uns['weights'] = {key: 1. for key in adata.uns['weights']}
    elif how == 'targets renamed': adata.obs_names = [f'X{i}' for i in range(adata.n_obs)]
    elif how == 'genes renamed': adata.var_names = adata.var_names[::-1]
    elif how == 'NaN': adata.layers[name] = adata.layers[name]*np.nan
    elif how == 'amplitudes lost': adata.uns.pop('amplitudes', None)
    elif how == 'rows in another order': adata = adata[::-1].copy()
    elif how == 'fewer genes': adata = adata[:, :-5].copy()
    elif how == 'weights lost': del adata.uns['weights']
    else: adata.layers[name] = adata.layers[name].astype('i4')
    adata.write_h5ad(path)
    return Change(f'{how} ({name})')

@mutation('screen')
def screen_changed(b):
    how = b.draw(['one value', 'cells scaled', 'cells lost', 'labels of two exchanged',
        'labels shuffled', 'genes in another order',
        'cells in another order', 'other guides', 'one label', 'a cell more', 'a gene lost',
        'logged', 'two genes exchanged'])
    adata = ad.read_h5ad(b.screen)
    labels = adata.obs['target_gene'].astype(str).to_numpy(object)
    X, rows, columns = adata.X.toarray(), b.rng.permutation(adata.n_obs), b.rng.permutation(adata.n_vars)
    targets = sorted(set(labels) - {'non-targeting'})
    if how == 'one value': X[rows[0], columns[0]] += 50
    elif how == 'cells scaled': X[rows[:50]] = np.ceil(X[rows[:50]]/2)
    elif how == 'labels of two exchanged': labels = pd.Series(labels).replace({targets[0]: targets[1], targets[1]: targets[0]}).to_numpy(object)
    elif how == 'labels shuffled': labels = labels[rows]
    elif how == 'one label': labels[np.flatnonzero(labels == targets[2])[0]] = targets[3]
    elif how == 'logged': X = np.log1p(X/X.sum(1, keepdims=True)*1e4)
    elif how == 'two genes exchanged': X[:, columns[:2]] = X[:, columns[[1, 0]]]
    adata.X = type(adata.X)(X)
    adata.obs['target_gene'] = pd.Categorical(labels)
    if how == 'cells lost': adata = adata[np.sort(rows[30:])].copy()
    elif how == 'genes in another order': adata = adata[:, columns].copy()
    elif how == 'cells in another order': adata = adata[rows].copy()
    elif how == 'a gene lost': adata = adata[:, np.sort(columns[1:])].copy()
    elif how == 'other guides': adata.obs['guide_name'] = pd.Categorical(adata.obs['guide_name'].to_numpy()[rows])
    elif how == 'a cell more': adata = ad.concat([adata, adata[:1]], merge='same', index_unique='-')
    adata.write_h5ad(b.screen)
    return Change(how, 'same' if how == 'other guides' else 'either')

@mutation('screen')
def screen_stored_otherwise(b):
    how = b.draw(['csc', 'dense', 'compressed', 'float64', 'integers', 'moved in time',
        'columns more'])
    adata = ad.read_h5ad(b.screen)
    if how == 'csc': adata.X = adata.X.tocsc()
    elif how == 'dense': adata.X = adata.X.toarray()
    elif how == 'float64': adata.X = adata.X.astype('f8')
    elif how == 'integers': adata.X = adata.X.astype('u4')
    elif how == 'columns more': adata.obs['more'] = 1
    adata.write_h5ad(b.screen, **(dict(compression='gzip') if how == 'compressed' else {}))
    return Change(how, 'same')

@mutation('screen')
def screen_damaged(b):
    how = b.draw(['missing', 'cut', 'emptied', 'another one', 'a folder'])
    if how == 'cut': os.truncate(b.screen, int(b.screen.stat().st_size*b.rng.uniform(0, 1)))
    elif how == 'emptied': b.screen.write_bytes(b'')
    else:
        b.screen.unlink()
        if how == 'another one': shutil.copy(b.other.parent/'screen.h5ad', b.screen)
        if how == 'a folder': b.screen.mkdir()
    return Change(how, 'refused')
