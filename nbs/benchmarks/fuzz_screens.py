"""Mutations of a valid screen for fuzz.py: what people, programs and disks do to an .h5ad, and what may come of it.

A mutation is a function of a `Bench` that returns a `Case`: the screen to be opened, and what is true of it.
The truth (normalised values, who was hit, names of genes) is told by the mutation itself, never by the library."""
import re, shutil
from dataclasses import dataclass, field
from pathlib import Path
import anndata as ad, h5py, numpy as np, pandas as pd, scipy.sparse as sp

CONTROL = 'non-targeting'


@dataclass(eq=False)
class Truth:
    "What a screen says, in plain arrays."
    logs:np.ndarray         # (cells, genes) natural logarithms of normalised counts
    labels:np.ndarray       # (cells,) gene hit, genes 'A+B', or 'non-targeting'; None: left out
    genes:list              # name of each column

    def effects(self):
        "perturbation x gene: mean of its cells minus mean of the controls."
        control = self.logs[self.labels == CONTROL].mean(0)
        targets = sorted(set(self.labels[self.labels != None]) - {CONTROL})     # noqa: E711
        means = [self.logs[self.labels == target].mean(0) - control for target in targets]
        return pd.DataFrame(means, targets, self.genes)


def normalised(
    counts,         # (cells, genes)
    labels,         # (cells,)
) -> np.ndarray:    # (cells, genes)
    "Natural logarithms of counts scaled to the median depth of the controls."
    counts = np.asarray(counts, np.float64)
    depth = counts.sum(1)
    return np.log1p(counts*(np.median(depth[labels == CONTROL])/depth)[:, None])


@dataclass
class Case:
    "A mutated screen, and what may come of it."
    data:object             # path of a file, or an AnnData
    expected:str = 'same'   # 'same': as the truth says; 'refused'; 'either' of both
    truth:Truth = None      # None: that of the valid screen
    say:str = ''            # regular expression: a note or warning that must be there, if it is not refused
    about:str = ''          # what was drawn
    options:dict = field(default_factory=dict)      # of `open_screen`


class Bench:
    "What a mutation works with: a copy of the valid screen, a random generator, and a folder."
    def __init__(self, adata, truth, rng, folder):
        self.adata, self.truth, self.rng, self.folder = adata.copy(), truth, rng, Path(folder)
        self.counts = adata.X.toarray()
        self.labels = adata.obs['target_gene'].astype(str).to_numpy(object)
        self.genes = list(adata.var_names)
        self.targets = sorted(set(self.labels) - {CONTROL})

    def draw(self, options):
        "One of them."
        options = list(options)
        return options[self.rng.integers(len(options))]

    def some(self, options, n):
        "`n` different ones."
        options = list(options)
        return [options[i] for i in self.rng.permutation(len(options))[:n]]

    def cells(self, n):
        "Numbers of `n` cells."
        return self.rng.permutation(len(self.labels))[:n]

    def write(self, **options):
        "The AnnData as it now is, in a file."
        path = self.folder/'screen.h5ad'
        self.adata.write_h5ad(path, **options)
        return path

    def edited(self, change, **options):
        "The file after `change(h5py.File)`."
        path = self.write(**options)
        with h5py.File(path, 'r+') as file: change(file)
        return path

    def relabelled(self, labels, **case):
        "A case with these labels in the file; without a truth, the labels stand for what they stood for."
        self.adata.obs['target_gene'] = pd.Categorical(labels)
        return Case(self.write(), **case)

    def mapped(self, rename, **case):
        "A case in which each label is renamed."
        names = {label: rename(label) for label in sorted(set(self.labels))}
        return self.relabelled([names[label] for label in self.labels], **case)

    def truth_of(self, counts=None, labels=None, genes=None):
        "The truth of other counts, labels or genes."
        counts = self.counts if counts is None else counts
        labels = self.labels if labels is None else labels
        return Truth(normalised(counts, labels), labels,
            self.genes if genes is None else list(genes))


def registry():
    "(name -> (family, function), a decorator that enters a mutation of a family under its name)."
    mutations = {}
    def mutation(family):
        def register(function):
            mutations[function.__name__] = family, function
            return function
        return register
    return mutations, mutation


mutations, mutation = registry()


def replace(group, name, values, **options):
    "Put other values in the place of a dataset, which keeps its attributes."
    attributes = dict(group[name].attrs)
    del group[name]
    group.create_dataset(name, data=values, **options).attrs.update(attributes)


# ---- labels

@mutation('labels')
def guides_numbered(b):
    pattern = b.draw(['{}_{}', '{}-{}', '{}_g{}', '{}-g{}', '{}_sg{}', '{}.{}', '{}_guide{}',
        'sg{}_{}', 'sg{}-{}',
        '{}_sgRNA{}', 'g{}_{}', '{} {}', '{}#{}', 'sgRNA_{}_{}', '{}sg{}', '{}|{}', '{}:{}',
        '{}_gRNA_{}', '{}_0{}'])
    n = b.rng.integers(1, 5)
    labels = [label if label == CONTROL else pattern.format(label,
        b.rng.integers(1, n + 1)) for label in b.labels]
    return b.relabelled(labels, expected='either', say='guide|other words', about=f'{pattern} x{n}')

@mutation('labels')
def guides_by_promoter(b):
    strand, other = b.draw('+-'), b.draw(['P1', 'P2', 'P1P2', 'ENST00000012345', ''])
    def named(label):
        place = f'{b.rng.integers(1000, 10**8)}.{b.rng.integers(99)}'
        return label if label == CONTROL else f'{label}_{strand}_{place}-{other}'.rstrip('-')
    return b.mapped(named, expected='either', say='guide|other words', about=f'{strand} {other}')

@mutation('labels')
def guides_by_sequence(b):
    sign, length = b.draw(['_', '-', '|', ':', ' ']), b.rng.integers(18, 23)
    def named(label):
        sequence = ''.join(b.rng.choice(list('ACGT'), length))
        return label if label == CONTROL else f'{label}{sign}{sequence}'
    return b.mapped(named, expected='either', say='guide|other words', about=f'{sign}{length}')

@mutation('labels')
def guides_of_some_targets(b):
    some = b.some(b.targets, b.rng.integers(1, 11))
    pattern = b.draw(['{}_{}', '{}-{}', '{}_g{}', 'sg{}-{}'])
    labels = [pattern.format(label,
        b.rng.integers(1, 3)) if label in some else label for label in b.labels]
    return b.relabelled(labels, expected='either', say='guide|other words|not:',
        about=f'{pattern} of {len(some)}')

@mutation('labels')
def case_of_labels(b):
    how, n = b.draw(['lower', 'title', 'swapcase']), b.rng.integers(1, 13)
    some = b.some(b.targets, n)
    return b.mapped(lambda label: getattr(label, how)() if label in some else label,
        expected='either',
        say='other words|not:', about=f'{how} of {n}')

@mutation('labels')
def spaces(b):
    around = b.draw([' {}', '{} ', '{}\t', '\n{}', '{}\u00a0', '\u2003{}', ' {}\r'])
    some = b.cells(b.rng.integers(1, 600))
    labels = b.labels.copy()
    for cell in some: labels[cell] = around.format(labels[cell])
    return b.relabelled(labels, expected='either', say='spaces',
        about=f'{around!r} on {len(some)} cells')

@mutation('labels')
def invisible_signs(b):
    sign, n = b.draw(['\u200b', '\ufeff', '\u00ad', '\u200e',
        '\u2060']), b.rng.integers(1, 13)
    some = b.some(b.targets, n)
    return b.mapped(lambda label: label + sign if label in some else label, expected='either',
        say='not:|other words|invisible', about=f'{sign!r} on {n}')

@mutation('labels')
def look_alike_letters(b):
    alike = dict(A='\u0410', C='\u0421', M='\u041c', P='\u0420', S='\uff33', T='\u0422',
        I='\u0399', D='\uff24')
    some = b.some([target for target in b.targets if target[0] in alike], b.rng.integers(1, 6))
    return b.mapped(lambda label: alike[label[0]] + label[1:] if label in some else label,
        expected='either',
        say='not:|other words', about=', '.join(some))

@mutation('labels')
def affixes(b):
    affix = b.draw(['{}_KO', '{}-KD', 'KO_{}', '{} knockout', '{}_CRISPRi', '{}_knockdown', 'd{}',
        '{}KO', '{}i',
        '{}_del', 'CRISPRi_{}', '{}_promoter', '{} (KD)', 'perturb_{}', '{}_perturbed'])
    return b.mapped(lambda label: label if label == CONTROL else affix.format(label),
        expected='either',
        say='other words|not:|guides', about=affix)

@mutation('labels')
def plus_control(b):
    word, sign = b.draw(['ctrl', 'control', CONTROL, 'NT', 'AAVS1',
        'safe-targeting']), b.draw(['+', '_', '|', ';', ','])
    first = b.rng.random() < .5
    def named(label):
        if label == CONTROL: return label
        return f'{word}{sign}{label}' if first else f'{label}{sign}{word}'
    return b.mapped(named, expected='either', say='other words|not:|guides',
        about=f'{word} {sign} {first}')

@mutation('labels')
def combinations(b):
    sign, pairs = b.draw(['+', '_', ';', '|', ',', '&', '/', '-', ' + ', '::']), b.rng.integers(1,
        6)
    order = b.some(b.targets, 2*pairs)
    partner = dict(zip(order[:pairs], order[pairs:])) | dict(zip(order[pairs:], order[:pairs]))
    labels, true = b.labels.copy(), b.labels.copy()
    for cell, label in enumerate(b.labels):
        if label not in partner: continue
        genes = [label, partner[label]]
        true[cell] = '+'.join(sorted(genes))
        labels[cell] = sign.join(genes if b.rng.random() < .5 else genes[::-1])
    return b.relabelled(labels, expected='either', truth=b.truth_of(labels=true),
        say='combination|not:',
        about=f'{sign} {pairs}')

@mutation('labels')
def combinations_of_guides(b):
    pattern = b.draw(['sg{}_1+sg{}_2', '{}-1|{}-2', '{}_g1;{}_g2', 'sg{}|sg{}', '{}_1_{}_1',
        '{}_1,{}_1'])
    left, right = b.some(b.targets, 2)
    true = np.where(b.labels == left, '+'.join(sorted([left, right])), b.labels)
    labels = np.where(b.labels == left, pattern.format(left, right), b.labels)
    return b.relabelled(labels, expected='either', truth=b.truth_of(labels=true),
        say='combination|not:', about=pattern)

@mutation('labels')
def missing_labels(b):
    word = b.draw([None, np.nan, '', 'nan', 'None', ' ', 'NaN', '<NA>', 'NA'])
    labels = b.labels.copy()
    some = b.cells(b.rng.integers(1, 50))
    true = labels.copy()
    labels[some] = word
    true[some] = None
    return b.relabelled(labels, expected='either', truth=b.truth_of(labels=true), say='left out',
        about=f'{word!r} {len(some)}')

@mutation('labels')
def no_answers(b):
    word = b.draw(['unassigned', 'Doublet', 'multiple', '*', 'negative', 'Unassigned', 'multiplet',
        'ambiguous', '?',
        'unknown', 'no_guide', 'None detected', 'Multiplet', 'low quality'])
    labels = b.labels.copy()
    some = b.cells(b.rng.integers(2, 60))
    true = labels.copy()
    labels[some], true[some] = word, None
    return b.relabelled(labels, expected='either', truth=b.truth_of(labels=true), say='left out',
        about=f'{word} {len(some)}')

@mutation('labels')
def unused_categories(b):
    column = pd.Categorical(b.labels)
    more = b.some(['TP53', 'NT', 'ctrl', '', 'nan', 'sgX_1', 'A+B', ' ', 'mock', 'STAT1'],
        b.rng.integers(1, 6))
    b.adata.obs['target_gene'] = column.add_categories(more)
    return Case(b.write(), about=str(more))

@mutation('labels')
def ordered_categories(b):
    order = b.some(sorted(set(b.labels)), 13)
    b.adata.obs['target_gene'] = pd.Categorical(b.labels, order, ordered=bool(b.rng.integers(2)))
    return Case(b.write())

@mutation('labels')
def other_control_label(b):
    word = b.draw(['NT', 'NTC', 'ctrl', 'control', 'Control', 'nontargeting', 'non_targeting',
        'Non-Targeting', 'CTRL',
        'NON-TARGETING', 'non targeting', 'negative control', 'neg_ctrl', 'scramble',
        'safe-targeting', 'intergenic',
        'AAVS1', 'NegCtrl', 'unperturbed', 'nt_guide', 'sgNT', 'sgNT-1', 'non-targeting_1', 'SCR',
        'no-target', 'NO_SITE'])
    return b.mapped(lambda label: word if label == CONTROL else label, expected='either',
        about=word)

@mutation('labels')
def several_control_labels(b):
    words = b.some(['NT', CONTROL, 'safe-targeting_1', 'INTERGENIC12', 'NegCtrl3',
        'non-targeting_00004', 'AAVS1',
        'ctrl', 'control', 'NTC_7', 'sgNT-2', 'neg_ctrl_1', 'scramble'], b.rng.integers(2, 6))
    labels = [b.draw(words) if label == CONTROL else label for label in b.labels]
    return b.relabelled(labels, expected='either', say='taken together', about=', '.join(words))

@mutation('labels')
def doubtful_controls(b):
    word = b.draw(['mock', 'WT', 'GFP', 'untreated', 'wild-type', 'parental', 'luciferase', 'LacZ',
        'unperturbed',
        'empty_vector', 'DMSO', 'mCherry'])
    labels = b.labels.copy()
    some = np.flatnonzero(labels == CONTROL)[:b.rng.integers(5, 100)]
    labels[some] = word
    return b.relabelled(labels, expected='refused', about=f'{word} {len(some)}')

@mutation('labels')
def no_controls(b):
    keep = b.labels != CONTROL
    b.adata = b.adata[keep].copy()
    return Case(b.write(), expected='refused')

@mutation('labels')
def unknown_control(b):
    word = b.draw(['reference', 'baseline', 'X', 'cells', 'blank', 'ref', '0', 'none_', 'normal',
        'HEALTHY'])
    return b.mapped(lambda label: word if label == CONTROL else label, expected='refused',
        about=word)

@mutation('labels')
def control_asked_for(b):
    word = b.draw(['reference', 'baseline', 'blank', '0'])
    b.mapped(lambda label: word if label == CONTROL else label)
    asked = b.draw([word, [word], word + '*', (word,)])
    return Case(b.folder/'screen.h5ad', options=dict(control=asked), about=repr(asked))

@mutation('labels')
def control_asked_wrong(b):
    asked = b.draw(['nontargeting', 'NT', 'XYZ*', [], '', 'non-targetin', ['non-targeting', 'NT'],
        7, [None]])
    return Case(b.write(), expected='refused', options=dict(control=asked), about=repr(asked))

@mutation('labels')
def target_of_one_cell(b):
    target = b.draw(b.targets)
    cells = np.flatnonzero(b.labels == target)[1:]
    labels = b.labels.copy()
    labels[cells] = CONTROL
    return b.relabelled(labels, expected='refused', about=target)

@mutation('labels')
def two_spellings(b):
    target, how = b.draw(b.targets), b.draw(['lower', 'title', 'swapcase'])
    labels = b.labels.copy()
    for cell in np.flatnonzero(labels == target)[::2]: labels[cell] = getattr(target, how)()
    return b.relabelled(labels, expected='either', say='other words|spelling',
        about=f'{target} {how}')

@mutation('labels')
def typing_error(b):
    target = b.draw(b.targets)
    letters = list(target)
    place = b.rng.integers(len(letters) - 1)
    letters[place], letters[place+1] = letters[place+1], letters[place]
    wrong = ''.join(letters) if ''.join(letters) != target else target + 'X'
    labels = b.labels.copy()
    labels[np.flatnonzero(labels == target)[::2]] = wrong
    return b.relabelled(labels, expected='either', truth=b.truth_of(labels=labels),
        say='not:|near', about=wrong)

@mutation('labels')
def broken_plus(b):
    target, pattern = b.draw(b.targets), b.draw(['{}+', '+{}', '{}++', '+', '{}+ +{}', '+{}+'])
    return b.mapped(lambda label: pattern.format(label, label) if label == target else label,
        expected='either',
        say='other words|combination|not:', about=pattern)

@mutation('labels')
def quoted_labels(b):
    pattern = b.draw(["b'{}'", '"{}"', "'{}'", '[{}]', "['{}']", '({})', '<{}>', '{};', ',{}'])
    all_of_them = bool(b.rng.integers(2))
    return b.mapped(lambda label: pattern.format(label) if all_of_them or label != CONTROL else label,
        expected='either', say='other words|not:|guides|controls', about=f'{pattern} {all_of_them}')

@mutation('labels')
def ids_as_targets(b):
    version = b.draw(['', '.1', '.12'])
    ids = {gene: f'ENSG{number:011}' for number, gene in enumerate(b.genes)}
    b.adata.var[b.draw(['gene_ids', 'ensembl_id', 'id'])] = [ids[gene] for gene in b.genes]
    return b.mapped(lambda label: ids[label] + version if label in ids else label,
        expected='either',
        say='other words', about=version)

@mutation('labels')
def ids_without_symbols(b):
    return b.mapped(lambda label: label if label == CONTROL else f'ENSG{b.rng.integers(10**11):011}', expected='refused')

@mutation('labels')
def numbers_as_targets(b):
    kind = b.draw([int, float, str])
    number = {label: n for n, label in enumerate(sorted(set(b.labels)))}
    b.adata.obs['target_gene'] = np.array([kind(number[label]) for label in b.labels])
    return Case(b.write(), expected='refused', about=kind.__name__)

@mutation('labels')
def target_not_measured(b):
    some = b.some(b.targets, b.rng.integers(1, 4))
    keep = [gene not in some for gene in b.genes]
    b.adata = b.adata[:, keep].copy()
    truth = b.truth_of(b.counts[:, keep], genes=[gene for gene in b.genes if gene not in some])
    return Case(b.write(), truth=truth, say='not:', about=', '.join(some))

@mutation('labels')
def other_name_of_a_gene(b):
    old = b.draw(b.targets)
    alias = b.draw(['P53', 'p21', 'HER2', 'XYZ123', 'gene7', 'LOC105371', 'AC012345.1', 'hCG_17'])
    true = np.where(b.labels == old, alias, b.labels)
    return b.mapped(lambda label: alias if label == old else label, expected='either',
        truth=b.truth_of(labels=true), say='not:', about=alias)

@mutation('labels')
def mouse_symbols(b):
    names = [gene.title() for gene in b.genes]
    b.adata.var_names = names
    truth = b.truth_of(labels=np.array([x if x == CONTROL else x.title() for x in b.labels],
        object), genes=names)
    upper = bool(b.rng.integers(2))
    return b.mapped(lambda label: label if label == CONTROL or upper else label.title(),
        truth=truth,
        expected='either', say='other words' if upper else '', about=f'labels in capitals: {upper}')


# ---- columns

@mutation('columns')
def usual_name(b):
    name = b.draw(['gene', 'target', 'perturbation', 'perturbed_gene', 'gene_target',
        'target_gene_name', 'condition',
        'guide_target', 'targeted_gene', 'target_genes', 'targeting', 'knockout', 'knockdown'])
    b.adata.obs = b.adata.obs.rename(columns=dict(target_gene=name))
    return Case(b.write(), about=name)

@mutation('columns')
def unusual_name(b):
    name = b.draw(['foo', 'Target_Gene', 'target_gen', 'TARGET', 'x', 'label', 'target gene',
        'pert', 'obs', ''])
    b.adata.obs = b.adata.obs.rename(columns=dict(target_gene=name))
    return Case(b.write(), expected='refused', about=name)

@mutation('columns')
def name_asked_for(b):
    name = b.draw(['foo', 'label', 'target gene', 'pert', 'Ziel', '\u03b3', 'a.b', '0'])
    b.adata.obs = b.adata.obs.rename(columns=dict(target_gene=name))
    return Case(b.write(), options=dict(target_key=name), about=name)

@mutation('columns')
def name_asked_wrong(b):
    name = b.draw(['foo', 'Target_Gene', 'true_depth', 'simulated', 'batch', '', 0, 'context'])
    return Case(b.write(), expected='refused', options=dict(target_key=name), about=repr(name))

@mutation('columns')
def beside_guides(b):
    name = b.draw(['perturbation', 'gene', 'target', 'condition', 'guide_target', 'targeting'])
    guides = [label if label == CONTROL else f'{label}_{b.rng.integers(1, 4)}' for label in b.labels]
    b.adata.obs.insert(0, name, pd.Categorical(guides))
    return Case(b.write(), expected='either', say='passed over', about=name)

@mutation('columns')
def beside_condition(b):
    name, words = b.draw(['condition', 'targeting', 'perturbation', 'target',
        'gene']), b.draw([('ctrl', 'stim'),
        ('control', 'KO'), ('NT', 'T'), ('False', 'True'), ('WT', 'mutant')])
    b.adata.obs.insert(0, name, pd.Categorical(b.rng.choice(words, len(b.labels))))
    return Case(b.write(), expected='either', say='passed over', about=f'{name} {words}')

@mutation('columns')
def beside_numbers(b):
    name, kind = b.draw(['gene', 'target', 'condition', 'knockdown', 'targeting']), b.draw(['i8',
        'f4', 'bool'])
    b.adata.obs.insert(0, name, (b.rng.random(len(b.labels))*100).astype(kind))
    return Case(b.write(), expected='either', say='passed over', about=f'{name} {kind}')

@mutation('columns')
def beside_other_genes(b):
    name = b.draw(['gene', 'target', 'perturbation', 'condition'])
    b.adata.obs.insert(0, name, pd.Categorical(b.rng.choice(b.genes, len(b.labels))))
    return Case(b.write(), expected='either', say='passed over', about=name)

@mutation('columns')
def no_target_column(b):
    b.adata.obs = b.adata.obs[b.draw([[], ['batch'], ['guide_name', 'batch'], ['true_depth']])]
    return Case(b.write(), expected='refused')

@mutation('columns')
def doubled_column(b):
    name = b.draw(['target_gene', 'batch', 'context'])
    def double(file):
        order = list(file['obs'].attrs['column-order'])
        file['obs'].attrs['column-order'] = order + [name]*int(b.rng.integers(1, 4))
    return Case(b.edited(double), expected='either', about=name)

@mutation('columns')
def kind_of_column(b):
    kind = b.draw(['object', 'string', 'string[python]', 'category'])
    b.adata.obs['target_gene'] = pd.Series(b.labels, b.adata.obs_names).astype(kind)
    return Case(b.write(), about=kind)

@mutation('columns')
def many_columns(b):
    n = int(b.rng.integers(10, 300))
    kinds = ['i8', 'f4', 'bool', 'u2', 'Int64', 'boolean']
    more = {f'column {i}': pd.array(b.rng.integers(0, 2,
        len(b.labels))).astype(b.draw(kinds)) for i in range(n)}
    b.adata.obs = pd.concat([pd.DataFrame(more, b.adata.obs_names), b.adata.obs], axis=1)
    return Case(b.write(), about=str(n))

@mutation('columns')
def odd_column_names(b):
    name = b.draw(['\u03b3\u03b4', ' ', 'a b', 'x'*300, '.', '..', '__categories', '_index_',
        'T\u00e4rget'])
    b.adata.obs[name] = 1
    return Case(b.write(), expected='either', about=name[:20])

@mutation('columns')
def name_of_index(b):
    b.adata.obs.index.name = b.draw(['barcode', 'cell id', 'CellID', 'index', 'x.y'])
    return Case(b.write(), about=b.adata.obs.index.name)

@mutation('columns')
def contexts(b):
    words = b.draw([('K562',), ('all',), (' a ',), ('1',)])
    b.adata.obs['context'] = pd.Categorical(b.rng.choice(words, len(b.labels)))
    return Case(b.write(), expected='either', about=str(words))

@mutation('columns')
def odd_contexts(b):
    column = b.adata.obs['context'].astype(object)
    some = b.cells(b.rng.integers(1, 200))
    word = b.draw([None, np.nan, '', 'ipsc', ' ', 'nan'])
    column.iloc[some] = word
    b.adata.obs['context'] = pd.Categorical(column)
    return Case(b.write(), expected='refused', about=f'{word!r} {len(some)}')

@mutation('columns')
def context_without_controls(b):
    column = b.adata.obs['context'].astype(object)
    target = b.draw(b.targets)
    column[b.labels == target] = 'elsewhere'
    b.adata.obs['context'] = pd.Categorical(column)
    return Case(b.write(), expected='refused', about=target)

@mutation('columns')
def in_a_layer(b):
    b.adata.layers['counts'] = b.adata.X
    b.adata.X = b.draw([None, sp.csr_matrix(np.log1p(b.counts)), sp.csr_matrix(b.counts*0)])
    return Case(b.write(), options=dict(layer='counts'),
        about='X missing' if b.adata.X is None else 'X other')

@mutation('columns')
def no_values(b):
    b.adata.X = None
    if b.rng.integers(2): b.adata.layers['raw'] = sp.csr_matrix(b.counts)
    return Case(b.write(), expected='refused', options=dict(backed=bool(b.rng.integers(2))))

@mutation('columns')
def layer_asked_wrong(b):
    b.adata.layers['counts'] = b.adata.X
    name = b.draw(['count', 'X', '', 'raw', 0, 'Counts'])
    return Case(b.write(), expected='refused', options=dict(layer=name), about=repr(name))


# ---- layout of the matrix

def sparse(b, kind):
    return {'csr': sp.csr_matrix, 'csc': sp.csc_matrix}[kind](b.counts)

def backed(b): return dict(backed=bool(b.rng.integers(2)))

@mutation('layout')
def format_and_type(b):
    kind = b.draw(['csr', 'csc', 'dense', 'fortran'])
    dtype = b.draw(['f4', 'f8', 'u2', 'u4', 'u8', 'i2', 'i4', 'i8'])
    if kind in ('csr', 'csc'): b.adata.X = sparse(b, kind).astype(dtype)
    else: b.adata.X = np.array(b.counts, dtype, order='F' if kind == 'fortran' else 'C')
    options = backed(b)
    return Case(b.write(), options=options, about=f'{kind} {dtype} {options}')

@mutation('layout')
def compressed(b):
    kind = b.draw(['csr', 'csc', 'dense'])
    b.adata.X = b.counts if kind == 'dense' else sparse(b, kind)
    how = b.draw(['gzip', 'lzf'])
    options = backed(b)
    return Case(b.write(compression=how), options=options, about=f'{kind} {how} {options}')

@mutation('layout')
def chunked(b):
    n, options = int(b.rng.integers(1, 5000)), backed(b)
    filters = b.draw([{}, dict(shuffle=True), dict(fletcher32=True),
        dict(compression='gzip', shuffle=True)])
    def chunk(file):
        for name in ('data', 'indices', 'indptr'):
            values = file['X'][name][:]
            replace(file['X'], name, values, chunks=(min(n, len(values)),), **filters)
    return Case(b.edited(chunk), options=options, about=f'{n} {filters} {options}')

@mutation('layout')
def unsorted(b):
    kind = b.draw(['csr', 'csc'])
    X = sparse(b, kind)
    for i in range(len(X.indptr) - 1):
        part = slice(X.indptr[i], X.indptr[i+1])
        order = b.rng.permutation(X.indptr[i+1] - X.indptr[i])
        X.data[part], X.indices[part] = X.data[part][order], X.indices[part][order]
    X.has_sorted_indices = False
    b.adata.X = X
    options = backed(b)
    data = b.write() if b.rng.random() < .7 else b.adata
    if data is b.adata: options = {}
    return Case(data, options=options, about=f'{kind} {options} {type(data).__name__}')

def split_entries(X, rng, share):
    "The same matrix, with a share of its values above 1 stored in two parts."
    rows = np.repeat(np.arange(len(X.indptr) - 1), np.diff(X.indptr))
    halved = (X.data > 1) & (rng.random(len(X.data)) < share)
    part = np.where(halved, np.ceil(X.data*rng.uniform(.1, .9)), X.data)
    part = np.minimum(part, X.data - halved)
    all_rows = np.r_[rows, rows[halved]]
    order = np.argsort(all_rows, kind='stable')
    data = np.r_[part, (X.data - part)[halved]][order].astype(X.data.dtype)
    indices = np.r_[X.indices, X.indices[halved]][order]
    indptr = np.r_[0, np.cumsum(np.bincount(all_rows, minlength=len(X.indptr) - 1))]
    return data, indices.astype(X.indices.dtype), indptr.astype(X.indptr.dtype)

@mutation('layout')
def duplicate_entries(b):
    kind, share, dtype = b.draw(['csr', 'csc']), b.rng.choice([1e-4, .01, .5, 1.]), b.draw(['f4',
        'u2', 'i4'])
    X = sparse(b, kind).astype(dtype)
    lists = split_entries(X, b.rng, share)
    in_memory = b.rng.random() < .3
    options = {} if in_memory else backed(b)
    about = f'{kind} {share} {dtype} {options} in memory: {in_memory}'
    if in_memory:
        b.adata.X = type(X)(lists, shape=X.shape)
        return Case(b.adata, say='added up', about=about)
    b.adata.X = X
    def put(file):
        for name, values in zip(('data', 'indices', 'indptr'), lists): replace(file['X'], name,
            values)
    return Case(b.edited(put), say='added up', options=options, about=about)

@mutation('layout')
def explicit_zeros(b):
    kind, share = b.draw(['csr', 'csc']), b.rng.choice([.01, .3, 1.])
    marked = b.counts + ((b.counts == 0) & (b.rng.random(b.counts.shape) < share))*-1.
    X = {'csr': sp.csr_matrix, 'csc': sp.csc_matrix}[kind](marked)
    X.data[X.data < 0] = 0
    b.adata.X = X
    options = backed(b)
    return Case(b.write(), options=options, about=f'{kind} {share} {options}')

@mutation('layout')
def types_of_lists(b):
    kind, options = b.draw(['csr', 'csc']), backed(b)
    indices, indptr = b.draw(['i4', 'i8', 'u4', 'u8', '>i4', '>i8', 'u2', 'i2']), b.draw(['i4',
        'i8', 'u4', 'u8', '>i4', '>i8'])
    b.adata.X = sparse(b, kind)
    def retype(file):
        for name, dtype in (('indices', indices), ('indptr', indptr)):
            replace(file['X'], name, file['X'][name][:].astype(dtype))
    return Case(b.edited(retype), options=options, expected='either',
        about=f'{kind} {indices} {indptr} {options}')

@mutation('layout')
def types_of_values(b):
    kind, dtype, options = b.draw(['csr', 'csc', 'dense']), b.draw(['>f4', '>f8', 'f2', '>i4',
        '>u2', '<f8', '>i8', 'f16']), backed(b)
    b.adata.X = b.counts if kind == 'dense' else sparse(b, kind)
    counts = b.counts.astype(dtype).astype('f8')
    def retype(file):
        group, name = (file, 'X') if kind == 'dense' else (file['X'], 'data')
        replace(group, name, group[name][:].astype(dtype))
    return Case(b.edited(retype), truth=b.truth_of(counts) if dtype == 'f2' else None,
        options=options,
        expected='either', about=f'{kind} {dtype} {options}')

@mutation('layout')
def old_sparse_layout(b):
    kind, options = b.draw(['csr', 'csc']), backed(b)
    b.adata.X = sparse(b, kind)
    def age(file):
        attributes = file['X'].attrs
        attributes['h5sparse_format'], attributes['h5sparse_shape'] = kind, attributes['shape']
        for name in ('encoding-type', 'encoding-version', 'shape'): del attributes[name]
        if b.rng.integers(2):
            for name in ('encoding-type', 'encoding-version'): del file.attrs[name]
    return Case(b.edited(age), options=options, expected='either', about=f'{kind} {options}')

@mutation('layout')
def in_memory_types(b):
    make = b.draw([sp.csr_array, sp.csc_array, np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.repeat(x, 2, axis=0)[::2], lambda x: x.astype('>f4'), lambda x: x[::-1][::-1],
        lambda x: sp.csr_matrix(x.astype('>f4')), lambda x: sp.csr_matrix(x.astype(np.longdouble)),
        lambda x: sp.coo_matrix(x).tocsr(), lambda x: np.ma.masked_array(x),
        lambda x: x.astype('f2')])
    X = make(b.counts)
    try: b.adata.X = X
    except Exception: b.adata.X = np.asarray(X)
    counts = np.asarray(b.adata.X.toarray() if sp.issparse(b.adata.X) else b.adata.X, 'f8')
    return Case(b.adata, truth=None if (counts == b.counts).all() else b.truth_of(counts),
        expected='either',
        about=f'{type(X).__name__} {X.dtype}')

@mutation('layout')
def view(b):
    cells, genes = b.rng.permutation(len(b.labels)), np.arange(len(b.genes))
    if b.rng.integers(2): genes = b.rng.permutation(genes)
    if b.rng.integers(2): b.adata.X = sparse(b, 'csc')
    truth = Truth(b.truth.logs[cells][:, genes], b.labels[cells], [b.genes[i] for i in genes])
    return Case(b.adata[cells][:, genes], truth=truth)

@mutation('layout')
def backed_by_hand(b):
    kind = b.draw(['csr', 'csc', 'dense'])
    b.adata.X = b.counts if kind == 'dense' else sparse(b, kind)
    adata = ad.read_h5ad(b.write(), backed='r')
    if b.rng.random() < .5: return Case(adata, about=kind)
    cells = np.sort(b.cells(500))
    truth = b.truth_of(b.counts[cells], b.labels[cells])
    return Case(adata[cells], truth=truth, expected='either', about=f'{kind}, view')

@mutation('layout')
def more_stored_than_used(b):
    n = int(b.rng.integers(1, 1000))
    def append(file):
        for name in ('data', 'indices'):
            values = file['X'][name][:]
            replace(file['X'], name, np.r_[values, values[:n]])
    options = backed(b)
    return Case(b.edited(append), expected='either', options=options, about=f'{n} {options}')

@mutation('layout')
def no_numbers(b):
    kind = b.draw(['complex64', 'S8', 'O', 'bool'])
    def retype(file):
        values = file['X/data'][:]
        if kind == 'O': values = np.array([str(value) for value in values], object)
        else: values = values.astype(kind)
        replace(file['X'], 'data', values)
    return Case(b.edited(retype), expected='refused', options=backed(b), about=kind)

@mutation('layout')
def matrix_is_a_link(b):
    def link(file):
        file.move('X', 'stored')
        file['X'] = b.draw([h5py.SoftLink('/stored'), file['stored']])
    options = backed(b)
    return Case(b.edited(link), expected='either', options=options, about=str(options))


# ---- pointers and shapes

def damaged(b, kind, change, about, **case):
    "A case in which `change(data, indices, indptr, shape)` gives other lists of the matrix, in a file or in memory."
    X = sparse(b, kind)
    data, indices, indptr, shape = change(X.data.copy(), X.indices.copy(), X.indptr.copy(), X.shape)
    where = b.draw(['file', 'backed', 'memory', 'layer'])
    about = f'{kind} {where} {about}'
    if where == 'memory' and shape == X.shape:
        broken = X.copy()
        broken.data, broken.indices, broken.indptr = data, indices, indptr
        b.adata.X = broken
        return Case(b.adata, about=about, **case)
    b.adata.X = X
    if where == 'layer': b.adata.layers['counts'] = X
    def put(file):
        group = file['layers/counts' if where == 'layer' else 'X']
        for name, values in (('data', data), ('indices', indices),
            ('indptr', indptr)): replace(group, name, values)
        group.attrs['shape'] = shape
    options = dict(backed=where == 'backed') | (dict(layer='counts') if where == 'layer' else {})
    return Case(b.edited(put), options=options, about=about, **case)

@mutation('pointers')
def index_out_of_range(b):
    kind, n = b.draw(['csr', 'csc']), int(b.rng.integers(1, 20))
    limit = len(b.genes) if kind == 'csr' else len(b.labels)
    value = b.draw([limit, limit + 1, 2**31 - 1, -1, -limit, -2**31,
        limit + int(b.rng.integers(10**6)), 10*limit])
    def change(data, indices, indptr, shape):
        indices[b.rng.permutation(len(indices))[:n]] = value
        return data, indices, indptr, shape
    return damaged(b, kind, change, f'{value} x{n}', expected='refused')

@mutation('pointers')
def wide_index_out_of_range(b):
    kind = b.draw(['csr', 'csc'])
    value, dtype = b.draw([(2**32, 'i8'), (2**63 - 1, 'i8'), (2**64 - 1, 'u8'), (2**32 - 1, 'u4'),
        (-2**63, 'i8'), (2**33 + 7, 'i8')])
    def change(data, indices, indptr, shape):
        indices = indices.astype(dtype)
        indices[b.rng.integers(len(indices))] = value
        return data, indices, indptr, shape
    return damaged(b, kind, change, f'{value} {dtype}', expected='refused')

@mutation('pointers')
def pointer_wrong(b):
    kind = b.draw(['csr', 'csc'])
    how = b.draw(['decreasing', 'negative', 'first', 'end', 'huge', 'middle beyond', 'last lower'])
    def change(data, indices, indptr, shape):
        place = b.rng.integers(1, len(indptr) - 2)
        if how == 'decreasing': indptr[place] = indptr[place-1] - 1 - b.rng.integers(5)
        elif how == 'negative': indptr[place] = -b.rng.integers(1, 10**6)
        elif how == 'first': indptr[0] = b.rng.integers(1, indptr[1] + 1)
        elif how == 'end': indptr[-1] += b.rng.integers(1, 10**6)
        elif how == 'huge': indptr[place] = 2**31 - 1
        elif how == 'middle beyond': indptr[place] = len(data) + b.rng.integers(1, 100)
        elif how == 'last lower': indptr[-1] = indptr[-2] - 1
        return data, indices, indptr, shape
    return damaged(b, kind, change, how, expected='refused')

@mutation('pointers')
def pointers_of_other_length(b):
    kind, n = b.draw(['csr', 'csc']), int(b.rng.integers(1, 50))
    how = b.draw(['short', 'long', 'empty', 'two dimensions', 'fractions', 'not a number'])
    def change(data, indices, indptr, shape):
        if how == 'short': indptr = indptr[:-n]
        elif how == 'long': indptr = np.r_[indptr, [indptr[-1]]*n].astype(indptr.dtype)
        elif how == 'empty': indptr = indptr[:0]
        elif how == 'two dimensions': indptr = indptr[:, None]
        elif how == 'fractions': indptr = indptr + .5
        else: indptr = np.where(np.arange(len(indptr)) == n, np.nan, indptr)
        return data, indices, indptr, shape
    return damaged(b, kind, change, f'{how} {n}', expected='refused')

@mutation('pointers')
def lists_of_other_length(b):
    kind, n = b.draw(['csr', 'csc']), int(b.rng.integers(1, 5000))
    how = b.draw(['data short', 'indices short', 'both short', 'indices of two dimensions',
        'indices fractions', 'no data'])
    def change(data, indices, indptr, shape):
        if how in ('data short', 'both short'): data = data[:-n]
        if how in ('indices short', 'both short'): indices = indices[:-n]
        if how == 'indices of two dimensions': indices = indices[:, None]
        if how == 'indices fractions': indices = indices + .25
        if how == 'no data': data = data[:0]
        return data, indices, indptr, shape
    return damaged(b, kind, change, f'{how} {n}', expected='refused')

@mutation('pointers')
def shape_wrong(b):
    kind = b.draw(['csr', 'csc'])
    how = b.draw(['more cells', 'fewer cells', 'more genes', 'fewer genes', 'swapped', 'negative',
        'one number', 'text', 'huge'])
    n = int(b.rng.integers(1, 100))
    cells, genes = len(b.labels), len(b.genes)
    shape = {'more cells': (cells + n, genes), 'fewer cells': (cells - n, genes),
        'more genes': (cells, genes + n),
        'fewer genes': (cells, genes - n), 'swapped': (genes, cells), 'negative': (-cells, genes),
        'one number': (cells,),
        'text': 'big', 'huge': (2**62, 2**62)}[how]
    b.adata.X = sparse(b, kind)
    options = backed(b)
    def put(file): file['X'].attrs['shape'] = shape
    return Case(b.edited(put), expected='refused', options=options,
        about=f'{kind} {how} {n} {options}')

@mutation('pointers')
def tables_of_other_length(b):
    name, how = b.draw(['obs', 'var']), b.draw(['short', 'long', 'one column short'])
    n = int(b.rng.integers(1, 50))
    def change(file):
        names = file[name]['_index'][:]
        if how == 'one column short':
            column = b.draw([c for c in file[name] if c != '_index'])
            part = file[name][column]
            group, leaf = (part, 'codes') if isinstance(part, h5py.Group) else (file[name], column)
            replace(group, leaf, group[leaf][:-n])
        else: replace(file[name], '_index', names[:-n] if how == 'short' else np.r_[names,
            [b'more']*n])
    return Case(b.edited(change), expected='refused', options=backed(b), about=f'{name} {how} {n}')


# ---- values

@mutation('values')
def no_number(b):
    value, n = b.draw([np.nan, np.inf, -np.inf]), int(b.rng.integers(1, 50))
    X = sparse(b, b.draw(['csr', 'csc']))
    X.data[b.rng.permutation(len(X.data))[:n]] = value
    b.adata.X = X
    return Case(b.write(), expected='refused', options=backed(b), about=f'{value} x{n}')

@mutation('values')
def negative(b):
    n, value = int(b.rng.integers(1, 50)), b.draw([-1, -1e-6, -1e30, -3.5])
    X = sparse(b, 'csr')
    X.data[b.rng.permutation(len(X.data))[:n]] = value
    b.adata.X = X
    return Case(b.write(), expected='refused', about=f'{value} x{n}')

def cpm(b, total=1e4): return b.counts/b.counts.sum(1, keepdims=True)*total

@mutation('values')
def natural_logs(b):
    total, dtype = float(b.draw([1e3, 1e4, 1e5, 2500., 1234.5, 5e4])), b.draw(['f4', 'f8'])
    logs = np.log1p(cpm(b, total)).astype(dtype)
    b.adata.X = b.draw([sp.csr_matrix, sp.csc_matrix, np.asarray])(logs)
    return Case(b.write(), truth=Truth(logs.astype('f8'), b.labels, b.genes), options=backed(b),
        about=f'{total} {dtype}')

@mutation('values')
def other_logs(b):
    total = float(b.draw([1e3, 1e4, 1e5, 1e6, 2500.]))
    how = b.draw(['log2', 'log10', 'log1p twice', 'square roots', 'shares', 'not logged',
        'log2 of counts',
        'log10 of counts', 'roots of counts', 'log1p of roots', 'Anscombe'])
    x, counts = cpm(b, total), b.counts
    values = {'log2': np.log2(x + 1), 'log10': np.log10(x + 1),
        'log1p twice': np.log1p(np.log1p(x)),
        'square roots': np.sqrt(x), 'shares': x/total, 'not logged': x,
        'log2 of counts': np.log2(counts + 1),
        'log10 of counts': np.log10(counts + 1), 'roots of counts': np.sqrt(counts),
        'log1p of roots': np.log1p(np.sqrt(x)),
        'Anscombe': 2*np.sqrt(counts + 3/8) - 2*np.sqrt(3/8)}[how]
    b.adata.X = sp.csr_matrix(values.astype(b.draw(['f4', 'f8'])))
    return Case(b.write(), expected='refused', say='on trust|not logarithms', options=backed(b),
        about=f'{how} {total:g}')

@mutation('values')
def scaled(b):
    logs = np.log1p(cpm(b))
    spread = logs.std(0).clip(1e-3)
    how = b.draw(['z-scores', 'divided by deviation', 'clipped at 0', 'between 0 and 1', 'ranks',
        'centred by cell'])
    limit = float(b.draw([3, 10, 1e9]))
    z = (logs - logs.mean(0))/spread
    values = {'z-scores': z, 'divided by deviation': logs/spread, 'clipped at 0': z.clip(0),
        'between 0 and 1': logs/logs.max(0).clip(1e-3),
        'ranks': logs.argsort(1).argsort(1)/logs.shape[1], 'centred by cell': logs - logs.mean(1,
        keepdims=True)}[how]
    b.adata.X = sp.csr_matrix(values.clip(-limit, limit).astype('f4'))
    return Case(b.write(), expected='refused', say='on trust|not logarithms|as asked',
        about=f'{how} {limit:g}')

@mutation('values')
def whole_but_no_counts(b):
    how, n = b.draw(['presence', 'bins', 'cut', 'rounded logs', 'ranks']), int(b.rng.integers(3,
        15))
    logs = np.log1p(cpm(b))
    values = {'presence': b.counts > 0, 'bins': np.ceil(logs/logs.max(1, keepdims=True)*n),
        'cut': b.counts.clip(0, n),
        'rounded logs': np.rint(logs), 'ranks': logs.argsort(1).argsort(1)}[how]
    b.adata.X = sp.csr_matrix(values.astype('f4'))
    return Case(b.write(), expected='refused', say='bins|cut off|presence', about=f'{how} {n}')

@mutation('values')
def mixed_units(b):
    some = b.cells(int(b.rng.integers(20, 580)))
    if b.rng.integers(2): some = np.flatnonzero(np.isin(b.labels, b.some(b.targets, 6)))
    values, how = b.counts.astype('f8'), b.draw(['some logged', 'two depths', 'some scaled',
        'some log2'])
    if how == 'some logged': values[some] = np.log1p(cpm(b))[some]
    elif how == 'some scaled': values[some] = cpm(b)[some]
    else:
        values = np.log1p(cpm(b))
        values[some] = np.log1p(cpm(b,
            1e6))[some] if how == 'two depths' else values[some]/np.log(2)
    b.adata.X = sp.csr_matrix(values.astype('f4'))
    return Case(b.write(), expected='refused', say='on trust|depth|look at it',
        about=f'{how} {len(some)}')

@mutation('values')
def corrected_counts(b):
    how = b.draw(['times .97', 'ambient removed', 'imputed', 'by batch'])
    factor = {'times .97': .97, 'ambient removed': 1 - b.rng.random(b.counts.shape)*.1,
        'imputed': 1 + b.rng.random(b.counts.shape)*.01, 'by batch': b.rng.uniform(.8, 1.2,
        (len(b.labels), 1))}[how]
    b.adata.X = sp.csr_matrix((b.counts*factor).astype('f4'))
    return Case(b.write(), expected='refused', about=how)

@mutation('values')
def one_huge_value(b):
    value = float(b.draw([1e5, 1e6, 1e8, 2**31, 1e12, 1e30, 3e38]))
    cell, gene = b.rng.integers(len(b.labels)), b.rng.integers(len(b.genes))
    counts = b.counts.astype('f8')
    counts[cell, gene] = value
    b.adata.X = sp.csr_matrix(counts.astype('f4'))
    about = f'{value:g} in {b.labels[cell]}'
    if value <= 1e6: return Case(b.write(), expected='either', truth=b.truth_of(counts),
        about=about)
    return Case(b.write(), expected='refused', say='huge|deepest',
        about=about)     # no cell holds so many transcripts

@mutation('values')
def silent_cells(b):
    n = int(b.rng.integers(1, 100))
    counts = b.counts.copy()
    counts[b.cells(n)] = 0
    b.adata.X = sp.csr_matrix(counts)
    return Case(b.write(), expected='refused', options=backed(b), about=str(n))

@mutation('values')
def silent_genes(b):
    n = int(b.rng.integers(1, 250))
    counts = b.counts.copy()
    counts[:, b.rng.permutation(len(b.genes))[:n]] = 0
    if (counts.sum(1) == 0).any(): counts[:, 0] += 1
    b.adata.X = sp.csr_matrix(counts)
    return Case(b.write(), truth=b.truth_of(counts), expected='either', about=str(n))

@mutation('values')
def values_asked_for(b):
    asked = b.draw(['log-normalised', 'log', '', 'Counts', 7, 'raw'])
    return Case(b.write(), expected='refused', options=dict(values=asked), about=repr(asked))

@mutation('values')
def target_sum_asked_for(b):
    asked = b.draw([0, -1, np.inf, np.nan, 'many', 1e-9, 1e300, True, [1e4]])
    return Case(b.write(), expected='refused', options=dict(target_sum=asked), about=repr(asked))

@mutation('values')
def few_left(b):
    how = b.draw(['no cells', 'no genes', 'one gene', 'one control'])
    keep = {'no cells': np.s_[:0], 'no genes': np.s_[:, :0], 'one gene': np.s_[:, :1],
        'one control': np.r_[np.flatnonzero(b.labels != CONTROL),
        np.flatnonzero(b.labels == CONTROL)[:1]]}[how]
    b.adata = b.adata[keep].copy()
    return Case(b.write(), expected='refused', options=backed(b), about=how)


# ---- encodings and names

def parts_of(file):
    "Names of all groups and datasets."
    names = []
    file.visit(names.append)
    return sorted(names)

@mutation('encodings')
def encoding_lost(b):
    what = b.draw(['encoding-type', 'encoding-version'])
    def lose(file):
        name = b.draw([name for name in ['/', *parts_of(file)] if what in file[name].attrs])
        del file[name].attrs[what]
        case.about = f'{what} of {name}'
    case = Case(None, expected='either')
    case.options = backed(b)
    case.data = b.edited(lose)
    return case

@mutation('encodings')
def encoding_unknown(b):
    what, word = b.draw(['encoding-type', 'encoding-version']), b.draw(['csr_matrx', '99.0', '',
        'awkward-array', 'dataframe', 'array', 7])
    def write(file):
        name = b.draw([name for name in ['/', *parts_of(file)] if what in file[name].attrs])
        file[name].attrs[what] = word
        case.about = f'{what} of {name}: {word!r}'
    case = Case(None, expected='either')
    case.options = backed(b)
    case.data = b.edited(write)
    return case

@mutation('encodings')
def unknown_part_not_needed(b):
    b.adata.obsm['X_pca'] = b.rng.random((len(b.labels), 3))
    b.adata.obs['more'] = pd.Categorical(b.rng.choice(['a', 'b'], len(b.labels)))
    b.adata.layers['other'] = b.adata.X
    b.adata.uns['more'] = dict(a=1, b=dict(c=np.arange(3)))
    b.adata.varm['w'] = b.rng.random((len(b.genes), 2))
    name = b.draw(['obsm/X_pca', 'obs/more', 'layers/other', 'uns/more', 'uns/more/b/c', 'varm/w',
        'obs/batch', 'var/simulated'])
    def write(file): file[name].attrs['encoding-type'] = 'of the future'
    return Case(b.edited(write), options=backed(b), say='left out', about=name)

@mutation('encodings')
def part_lost(b):
    def lose(file):
        name = b.draw(parts_of(file))
        del file[name]
        case.about = name
    case = Case(None, expected='either')
    case.options = backed(b)
    case.data = b.edited(lose)
    return case

@mutation('encodings')
def part_replaced(b):
    make = b.draw([lambda: np.zeros(3), lambda: 'text', lambda: np.int64(7),
        lambda: np.zeros((0,)), lambda: h5py.Empty('f4'),
        lambda: h5py.SoftLink('/nowhere'), lambda: h5py.ExternalLink('no.h5', '/X'),
        lambda: h5py.SoftLink('/')])
    def put(file):
        name = b.draw(parts_of(file))
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = make()
        if b.rng.integers(2) and file.get(name) is not None and name in file: file[name].attrs.update(attributes)
        case.about = f'{name}'
    case = Case(None, expected='either')
    case.options = backed(b)
    case.data = b.edited(put)
    return case

@mutation('encodings')
def attribute_lost(b):
    def lose(file):
        name = b.draw([name for name in parts_of(file) if len(file[name].attrs)])
        attribute = b.draw(file[name].attrs)
        word = b.draw([None, 'other', 7, np.zeros(2)])
        if word is None: del file[name].attrs[attribute]
        else: file[name].attrs[attribute] = word
        case.about = f'{attribute} of {name}: {word!r}'
    case = Case(None, expected='either')
    case.options = backed(b)
    case.data = b.edited(lose)
    return case

@mutation('encodings')
def codes_wrong(b):
    value = b.draw([13, 100, 127, -1, -2, -128])
    n = int(b.rng.integers(1, 30))
    some = b.cells(n)
    def write(file):
        codes = file['obs/target_gene/codes'][:]
        codes[some] = value
        file['obs/target_gene/codes'][...] = codes
    return Case(b.edited(write), expected='refused', about=f'{value} x{n}')

@mutation('encodings')
def types_of_codes(b):
    dtype = b.draw(['u1', 'i2', 'i8', '>i4', 'u8', 'f4', 'f8'])
    def retype(file): replace(file['obs/target_gene'], 'codes',
        file['obs/target_gene/codes'][:].astype(dtype))
    return Case(b.edited(retype), expected='either', about=dtype)

@mutation('encodings')
def categories_wrong(b):
    how = b.draw(['doubled', 'one fewer', 'bytes', 'numbers', 'empty', 'not utf-8', 'control lost'])
    def write(file):
        names = file['obs/target_gene/categories'][:]
        if how == 'doubled': names[1] = names[0]
        elif how == 'one fewer': names = names[:-1]
        elif how == 'bytes': names = names.astype('S20')
        elif how == 'numbers': names = np.arange(len(names))
        elif how == 'empty': names = names[:0]
        elif how == 'not utf-8': names = np.array([b'\xff\xfe' + name for name in names], 'S30')
        else: names[list(names).index(CONTROL.encode())] = b'nothing'
        replace(file['obs/target_gene'], 'categories', names)
    return Case(b.edited(write), expected='either', about=how)

@mutation('encodings')
def labels_as_bytes(b):
    def write(file):
        del file['obs/target_gene']
        file['obs'].create_dataset('target_gene', data=b.labels.astype('S20'))
        if b.rng.integers(2): file['obs/target_gene'].attrs.update({'encoding-type': 'array',
            'encoding-version': '0.2.0'})
    return Case(b.edited(write), expected='either')

@mutation('encodings')
def old_tables(b):
    "obs and var as compound datasets, as anndata 0.6 wrote them."
    def write(file):
        for name, names in (('obs', b.adata.obs_names), ('var', b.adata.var_names)):
            del file[name]
            columns = [('index', np.array(names, 'S40'))] + ([('target_gene',
                b.labels.astype('S40'))] if name == 'obs' else [])
            table = np.zeros(len(names), [(column, 'S40') for column, _ in columns])
            for column, values in columns: table[column] = values
            file[name] = table
        for attribute in ('encoding-type', 'encoding-version'): del file.attrs[attribute]
    return Case(b.edited(write), expected='either', options=backed(b))

@mutation('names')
def doubled_genes(b):
    names = list(b.genes)
    n = int(b.rng.integers(1, 20))
    for i in range(n): names[2*i] = names[2*i+1]
    b.adata.var_names = names
    return Case(b.write(), expected='refused', about=str(n))

@mutation('names')
def doubled_cells(b):
    names = np.array(b.adata.obs_names)
    n = int(b.rng.integers(2, 600))
    names[b.cells(n)] = 'cell'
    b.adata.obs_names = names
    return Case(b.write(), expected='either', about=str(n))

@mutation('names')
def nameless_genes(b):
    word, n = b.draw(['', 'nan', 'None', 'NaN', ' ', '<NA>']), int(b.rng.integers(1, 4))
    names = list(b.genes)
    for i in b.rng.permutation(len(names))[:n]: names[i] = word
    b.adata.var_names = names
    return Case(b.write(), expected='refused', about=f'{word!r} x{n}')

@mutation('names')
def prefixes(b):
    prefix = b.draw(['GRCh38_', 'hg38_', 'GRCh38___', 'hg19-', 'GRCh38-2020-A_', 'human_',
        'mm10___', 'GRCh38.p13_'])
    b.adata.var_names = [prefix + gene for gene in b.genes]
    return Case(b.write(), expected='either', say='dropped', options=backed(b), about=prefix)

@mutation('names')
def with_ids(b):
    pattern = b.draw(['{s}_{e}', '{e}_{s}', '{e}|{s}', '{s}|{e}', '{s} ({e})', '{e}:{s}',
        '{s};{e}', '{e}.3_{s}', '{e}-{s}'])
    b.adata.var_names = [pattern.format(s=gene, e=f'ENSG{n:011}') for n, gene in enumerate(b.genes)]
    return Case(b.write(), expected='either', say='symbol is taken', options=backed(b),
        about=pattern)

@mutation('names')
def ids_and_symbols(b):
    column, version = b.draw(['gene_symbols', 'gene_symbol', 'feature_name', 'gene_name',
        'gene_short_name', 'symbol', 'name']), b.draw(['', '.7'])
    b.adata.var[column] = b.genes
    if b.rng.integers(2): b.adata.var[column] = b.adata.var[column].astype('category')
    b.adata.var_names = [f'ENSG{n:011}{version}' for n in range(len(b.genes))]
    return Case(b.write(), expected='either', say='symbols are those', options=backed(b),
        about=column + version)

@mutation('names')
def ids_alone(b):
    version = b.draw(['', '.7', '.12'])
    b.adata.var_names = [f'ENSG{n:011}{version}' for n in range(len(b.genes))]
    return Case(b.write(), expected='refused', about=version)

@mutation('names')
def numbers_and_symbols(b):
    column = b.draw(['gene_symbols', 'gene_name', 'genes', 'names', 'whatever', 'feature_name'])
    b.adata.var[column] = b.genes
    b.adata.var_names = [str(n) for n in range(len(b.genes))]
    return Case(b.write(), expected='either', say='symbols are those', about=column)

@mutation('names')
def numbers_alone(b):
    b.adata.var_names = [b.draw(['{}', 'gene{}', 'Gene_{}']).format(n) for n in range(len(b.genes))]
    return Case(b.write(), expected='refused')

@mutation('names')
def spaces_in_genes(b):
    around, n = b.draw([' {}', '{} ', '{}\n', '\t{}', '{}\u00a0']), int(b.rng.integers(1, 300))
    some = set(b.some(b.genes, n))
    b.adata.var_names = [around.format(gene) if gene in some else gene for gene in b.genes]
    return Case(b.write(), expected='either', say='spaces', options=backed(b),
        about=f'{around!r} {n}')

@mutation('names')
def case_of_genes(b):
    how = b.draw(['lower', 'title'])
    names = [getattr(gene, how)() for gene in b.genes]
    b.adata.var_names = names
    true = np.array([label if label == CONTROL else getattr(label, how)() for label in b.labels],
        object)
    return Case(b.write(), expected='either', truth=b.truth_of(labels=true, genes=names),
        say='other words', about=how)


# ---- damage to the bytes of the file

@mutation('damage')
def bytes_changed(b):
    how = b.draw(['plain', 'gzip', 'lzf'])
    b.adata.X = b.draw([sp.csr_matrix, sp.csc_matrix, np.asarray])(b.counts)
    path = b.write(**({} if how == 'plain' else dict(compression=how)))
    content = bytearray(path.read_bytes())
    n = int(b.draw([1, 1, 3, 10, 100]))
    places = b.rng.integers(len(content), size=n)
    for place in places: content[place] ^= int(b.rng.integers(1, 256))
    path.write_bytes(content)
    return Case(path, expected='as read', options=backed(b),
        about=f'{how} x{n} first {places.min():,} of {len(content):,}')

@mutation('damage')
def header_changed(b):
    path = b.write()
    content = bytearray(path.read_bytes())
    place = int(b.rng.integers(4096))
    content[place] ^= 1 << int(b.rng.integers(8))
    path.write_bytes(content)
    return Case(path, expected='as read', options=backed(b), about=str(place))

@mutation('damage')
def block_zeroed(b):
    path = b.write(**b.draw([{}, dict(compression='gzip')]))
    content = bytearray(path.read_bytes())
    n = int(b.draw([16, 512, 4096, 65536]))
    place = int(b.rng.integers(max(1, len(content) - n)))
    content[place:place+n] = bytes([int(b.draw([0, 255]))])*min(n, len(content) - place)
    path.write_bytes(content)
    return Case(path, expected='as read', options=backed(b), about=f'{n} bytes from {place:,}')

@mutation('damage')
def cut_off(b):
    path = b.write()
    share = b.rng.uniform(0, 1)
    with open(path, 'r+b') as file: file.truncate(int(path.stat().st_size*share))
    return Case(path, expected='refused', options=backed(b), about=f'{share:.0%}')

@mutation('damage')
def no_h5ad(b):
    path, how = b.folder/'screen.h5ad', b.draw(['empty', 'text', 'zip', 'other HDF5', 'folder',
        'nothing', 'pickle', 'userblock'])
    if how == 'userblock':
        stored = b.write()
        stored.write_bytes(b'\0'*512 + stored.read_bytes())
        return Case(stored, expected='either', about=how)
    if how == 'folder': path.mkdir()
    elif how == 'other HDF5':
        with h5py.File(path, 'w') as file: file[b.draw(['matrix/data', 'mod/rna', 'X', 'obs'])] = 1
    elif how != 'nothing':
        path.write_bytes(dict(empty=b'', text=b'cell,gene\n', zip=b'PK\3\4' + bytes(100),
            pickle=b'\x80\4.')[how])
    return Case(path, expected='refused', options=backed(b), about=how)


def plain_truth(path):
    "What a damaged file says to a reader of a few lines: its `Truth`, or None where it says nothing sound."
    try:
        with h5py.File(path) as file:
            X, obs = file['X'], file['obs/target_gene']
            counts = X[:] if isinstance(X, h5py.Dataset) else _summed(X)
            names = np.array([name.decode() for name in obs['categories'][:]], object)
            codes = obs['codes'][:]
            genes = [name.decode() for name in file['var/_index'][:]]
        if codes.min() < 0 or counts.shape != (len(codes), len(genes)): return None
        labels = names[codes]
        if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.sum(1).all()): return None
        return Truth(normalised(counts, labels), labels, genes)
    except Exception: return None

def _summed(group):
    "A sparse matrix as a dense one. Raises where its lists contradict each other."
    by_row = group.attrs['encoding-type'] == 'csr_matrix'
    shape = tuple(group.attrs['shape'])
    lists = group['data'][:], group['indices'][:], group['indptr'][:]
    data, indices, indptr = lists
    n_rows, n_columns = shape if by_row else shape[::-1]
    lengths = np.diff(indptr)
    assert len(indptr) == n_rows + 1 and indptr[0] == 0 and (lengths >= 0).all() and indptr[-1] <= len(data)
    data, indices = data[:indptr[-1]], indices[:indptr[-1]]
    assert ((0 <= indices) & (indices < n_columns)).all()
    dense = np.zeros((n_rows, n_columns))
    np.add.at(dense, (np.repeat(np.arange(n_rows), lengths), indices), data)
    return dense if by_row else dense.T
