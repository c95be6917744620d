"""What a network on gene tokens adds to a stack of closed forms, and what attention adds to that network.

    python nbs/benchmarks/network.py prepare K562 --seed 0      # closed forms, out of fold; kept in --cache: five minutes
    python nbs/benchmarks/network.py ranks K562 --seed 0 --variants itself sparse:STRING    # two to four minutes a variant
    python nbs/benchmarks/network.py worlds                     # simulated, with and without a network of genes; minutes
    python nbs/benchmarks/network.py papalexi                   # real cells, leave one target out; minutes

Ranks: 585 knock-downs of Replogle 2022 in K562 and RPE1; ten folds; share of the true first 100 genes among the 100
predicted highest. A variant is told in words (`variant`); each adds its rows to results/network.json, which `network.ipynb` shows."""
import argparse, json, os, time
from dataclasses import replace
from pathlib import Path
import joblib, numpy as np, pandas as pd, torch
from ranks import effects_of, overlaps
from vcc_nb.core import CONTROL, TARGET, atomic_path, machine, np_rng
from vcc_nb.data.splits import Split, leave_one_out
from vcc_nb.effects.atlas import ResponseAtlas
from vcc_nb.effects.base import EffectModel, everyone, fit_all, make_effects
from vcc_nb.effects.held_out import folds_of, out_of_fold
from vcc_nb.effects.residual import ResidualNetwork, response_neighbours, train_on_tokens
from vcc_nb.effects.responses import ResponseRidge
from vcc_nb.effects.ridge import KernelRidge, NearestGenes, QuickKernel, SharedResponse
from vcc_nb.genes.likeness import GeneKernel, annotations, gene_kernel
from vcc_nb.genes.network import gene_network
from vcc_nb.genes.sets import relations

other_line = dict(K562='RPE1', RPE1='K562')

class OnDisk(EffectModel):
    "A closed form whose predictions are kept in files: of which training targets, asked for which."
    def __init__(self,
        model,          # learns where there is no file yet
        name:str,
        folder,         # of the files
        world:str,      # what else decides: line, what is known of others
    ):
        self.model, self.name, self.folder, self.world = model, name, Path(folder), world

    def _file(self, *what): return self.folder/f'{joblib.hash((self.name, self.world, *what))}.npy'

    def learn(self, train): self.train = train

    def answer(self, targets):
        file = self._file(list(self.train.obs_names), list(targets))
        if not file.exists(): _keep(file, fit_all(self.model, self.train).predict(targets).X)
        return np.load(file).astype(np.float64), None

    def out_of_fold(self, train, *, folds=5, seed=0):
        "As the function of that name."
        file = self._file(list(train.obs_names), folds, seed)
        if not file.exists(): _keep(file, out_of_fold(self.model, train, folds=folds, seed=seed)[0])
        return np.load(file), None

def _keep(file, values):
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as beside, open(beside, 'wb') as out: np.save(out, np.asarray(values, np.float32))

class AsElsewhere(EffectModel):
    "The same target's effect in another line, as it is; zero where that is not known."
    name = 'own effect elsewhere'
    def __init__(self, effects): self.table = effects.to_df()
    def learn(self, train): pass
    def answer(self, targets):
        return self.table.reindex(index=targets, columns=self.genes).fillna(0).to_numpy(), None

class Likeness:
    "The likeness of targets and genes by a kernel, kept in a file; rows and columns looked up."
    def __init__(self, kernel, targets, genes, folder):
        file = Path(folder)/f'{joblib.hash((repr(kernel), list(targets), list(genes)))}.npy'
        if not file.exists(): _keep(file, kernel(list(targets), list(genes)))
        self.table = pd.DataFrame(np.load(file), targets, genes)
    def __call__(self, targets, genes): return self.table.loc[targets, genes].to_numpy()

def closed_forms(
    targets,        # of the line, all of them
    elsewhere,      # effects in the other line, as far as they may be known
    folder,         # of the files
    world:str,      # name of line and of what is known elsewhere
    responses=True, # are there effects elsewhere?
):                  # -> list of methods
    "The members of the stack."
    plain = (*annotations, 'name')
    everything = QuickKernel(gene_kernel((*plain, *relations)), targets)
    only_string = everything.reweighted({'STRING': 1})
    members = {'ridge, all knowledge': KernelRidge(everything), 'ridge, STRING': KernelRidge(only_string),
        'nearest genes': NearestGenes(everything)}
    if responses:
        atlas = ResponseAtlas.from_effects(elsewhere)
        alike = GeneKernel({'responses': atlas}, {'responses': 1.})
        ridge = KernelRidge(everything.reweighted(dict.fromkeys(plain, 1.)))
        members |= {'ridge, responses': ResponseRidge(atlas, ridge),
            'nearest by responses': NearestGenes(alike), 'own effect elsewhere': AsElsewhere(elsewhere)}
    return [OnDisk(model, name, folder, world) for name, model in members.items()]

def graph_of(name, k=16):
    "Function (genes, training effects) -> who reads whom."
    if name == 'responses': return lambda genes, effects: response_neighbours(effects, k)
    sources = dict(annotation='pathways').get(name, name)
    return lambda genes, effects: gene_network(list(genes), k=k, sources=[sources], hubs=0).edges

def variant(words, likeness):
    """Options of `ResidualNetwork` from words such as 'sparse:STRING,genes=600,nets=5'.

    The first word: 'itself', 'linear', 'local', 'full' or 'sparse:' and a graph; then settings."""
    kind, *settings = words.split(',')
    kind, _, graph = kind.partition(':')
    options = dict(attention=kind, nets=1, share=1., kernel=likeness)
    if graph: options['graph'] = graph_of(graph)
    names = dict(genes='n_genes', lr='learning_rate', decay='weight_decay', vector='n_vector', batch='batch_size')
    for name, value in (setting.split('=') for setting in settings):
        number = float(value) if '.' in value or 'e' in value else int(value)
        options[names.get(name, name)] = number
    if options.pop('likeness', 1) == 0: options['kernel'] = None
    if options['nets'] > 1 and options['share'] == 1 and not options.pop('whole', 0): options['share'] = None
    return options

class Joint(ResidualNetwork):
    "Networks that learn from another line's tokens, too: those of the same training targets."
    def __init__(self, members, other, **options):
        super().__init__(members, **options)
        self.other = other      # fitted, of class `Teaching`
    def _train(self, net, lesson, i):
        train_on_tokens(net, [lesson, self.other.lessons[i]], seed=1000*self.seed + i, **self.training)

class OfCells(ResidualNetwork):
    "Networks that learn from effects of some cells of each target: other cells in each pass, as many passes as there are draws."
    def __init__(self, members, draws, **options):
        super().__init__(members, **options)
        self.draws = draws      # Effects of a part of the cells, each of the same targets
    def learn(self, train):
        self.of_draws = [np.asarray(draw[train.obs_names, train.var_names].X - train.X, np.float32) for draw in self.draws]
        super().learn(train)
    def _train(self, net, lesson, i):
        seen = self.fold != i
        lessons = [replace(lesson, left_TG=lesson.left_TG + torch.as_tensor(moved[seen][:, self.places])) for moved in self.of_draws]
        train_on_tokens(net, lessons, seed=1000*self.seed + i, epochs=1)

class Teaching(ResidualNetwork):
    "Keeps what its networks would learn from."
    def _train(self, net, lesson, i): self.lessons = getattr(self, 'lessons', []) + [lesson]

def other_model(train, line, effects, seed, folder, fold, likeness, options):
    "The other line's lessons, of the same training targets alone; of this line it knows these alone."
    elsewhere, own = effects[train], effects_of(other_line[line])[train]
    members = closed_forms(own.obs_names, elsewhere, folder, f'{other_line[line]} by {line}, seed {seed}, without fold {fold}')
    return Teaching(members, seed=seed, **options | dict(kernel=likeness)).fit(own, everyone(own))

def ranks(line, seed, words, folder, responses=True, folds=10, only=None):
    "Overlap of each target by stack and by network: a row a target."
    effects, elsewhere = effects_of(line), effects_of(other_line[line])
    targets = effects.obs_names.to_numpy()
    everything = gene_kernel((*annotations, 'name', *relations))
    likeness = Likeness(everything, targets, effects.var_names, folder)
    members = closed_forms(targets, elsewhere, folder, f'{line}{" with " + other_line[line] if responses else ""}, seed {seed}', responses)
    fold, rows, joint = folds_of(len(targets), folds, seed), [], words.startswith('joint,')
    options = variant(words.removeprefix('joint,'), likeness) | dict(seed=seed)
    for k in range(folds if only is None else only):
        train, test = targets[fold != k], targets[fold == k]
        start = time.process_time()
        if joint:
            other_genes = effects_of(other_line[line]).var_names
            theirs = Likeness(everything, targets, other_genes, folder)
            without_seed = {name: value for name, value in options.items() if name != 'seed'}
            other = other_model(train, line, effects, seed, folder, k, theirs, without_seed)
            model = Joint(members, other, **options)
        else: model = ResidualNetwork(members, **options)
        model.fit(effects, Split(train, [], test))
        truth, stack = effects[test].X, model.stack.predict(test).X
        row = dict(target=test, by_stack=overlaps(stack, truth), by_network=overlaps(model.predict(test).X, truth), fold=k, share=model.share)
        for method in model.stack.fitted if words.startswith('members') else []:
            row[method.name] = overlaps(method.predict(test).X, truth)
        rows.append(pd.DataFrame(row))
        gain = rows[-1].by_network.mean() - rows[-1].by_stack.mean()
        print(f'{line} {seed} {words} fold {k}: stack {rows[-1].by_stack.mean():.4f}, network {gain:+.4f}, share {model.share:.2f}, '
            f'{time.process_time() - start:.1f} CPU s', flush=True)
    table = pd.concat(rows)
    table['place'] = effects.obs_names.get_indexer(table.target)
    return table.sort_values('place').reset_index(drop=True)

def world(kind, seed, n_targets=200, n_genes=400):
    """Effects of simulated knock-downs on real genes, and who reads whom in it.

    'programs': genes answer by annotation and chance, no network. 'network': besides, whoever reads the gene hit
    (its partners in STRING) falls, and their readers fall a little."""
    from vcc_nb.data.embedded import vcc2025_targets
    from vcc_nb.genes.likeness import annotated_genes
    from vcc_nb.simulation.biology import gene_axis, knockdown_effects
    rng = np_rng(seed, f'world {kind}')
    able = sorted(annotated_genes() & set(gene_axis()))
    targets = sorted(rng.choice(able, n_targets, replace=False))
    change = knockdown_effects(targets, 'K562', seed=seed, listed=False)*np.log(2)
    others = gene_axis().difference(targets)
    size = np.square(change[:, gene_axis().get_indexer(others)]).mean(0)
    genes = [*targets, *others[np.argsort(-size)[:n_genes - n_targets]]]
    change = change[:, gene_axis().get_indexer(genes)]
    edges = gene_network(genes, k=8, sources=['STRING'], hubs=0).edges.astype(bool).astype(float)
    if kind == 'network':
        edges.setdiag(0)
        edges.eliminate_zeros()
        readers = edges.T.tocsr()[:n_targets].toarray()     # of each target
        change = change - .7*readers - .3*(readers @ edges.T.toarray() > 0)
    change = change + .1*rng.standard_normal(change.shape)
    return make_effects(change, targets, genes, method=f'simulated, {kind}')

def shuffled_graph(k=8, seed=0):
    "A graph of as many edges that says nothing: STRING's, dealt to other genes."
    def graph(genes, effects):
        edges = gene_network(list(genes), k=k, sources=['STRING'], hubs=0).edges
        order = np_rng(seed, 'deal').permutation(len(genes))
        return edges[order][:, order]
    return graph

def worlds(folder, seeds=1, folds=4):
    "Error of stack and of networks on targets never seen, share of that of no change: a row a target and variant."
    rows = []
    string = lambda genes, effects: gene_network(list(genes), k=8, sources=['STRING'], hubs=0).edges
    kinds = {'itself': {}, 'linear': dict(attention='linear'), 'full': dict(attention='full'),
        'sparse:true graph': dict(attention='sparse', graph=string),
        'sparse:shuffled graph': dict(attention='sparse', graph=shuffled_graph()),
        'sparse:responses': dict(attention='sparse', graph=graph_of('responses', 8))}
    for kind in ('programs', 'network'):
        for seed in range(seeds):
            effects = world(kind, seed)
            targets = effects.obs_names.to_numpy()
            kernel = gene_kernel((*annotations, 'STRING'))
            quick = QuickKernel(kernel, targets)
            members = [OnDisk(model, name, folder, f'{kind} {seed}') for name, model in
                dict(shared=SharedResponse(), nearest=NearestGenes(quick), ridge=KernelRidge(quick)).items()]
            likeness = Likeness(kernel, targets, effects.var_names, folder)
            fold = folds_of(len(targets), folds, seed)
            for name, options in kinds.items():
                for told in (True, False) if name in ('itself', 'sparse:true graph') else (False,):
                    for k in range(folds):
                        test = targets[fold == k]
                        model = ResidualNetwork(members, nets=1, share=1., kernel=likeness if told else None, seed=seed,
                            n_genes=400, epochs=8, **options).fit(effects, Split(targets[fold != k], [], test))
                        truth = np.asarray(effects[test].X, float)
                        left = [np.square(m.predict(test).X - truth).sum(1) for m in (model.stack, model)]
                        rows.append(pd.DataFrame(dict(world=kind, seed=seed, variant=name + (', likeness told' if told else ''), target=test,
                            size=np.square(truth).sum(1), stack=left[0], network=left[1])))
                    part = pd.concat(rows[-folds:])
                    print(kind, seed, part.variant.iloc[0], (part[['stack', 'network']].sum()/part['size'].sum()).round(4).to_dict(), flush=True)
    return pd.concat(rows)

def part_of_cells(cells, seed):
    "All control cells, and a random half of the others."
    half = np_rng(seed, 'half of the cells').random(cells.n_obs) < .5
    return cells[half | (cells.obs[TARGET] == CONTROL).to_numpy()].copy()

def papalexi(folder):
    "Real cells of 25 targets, each left out in turn: PDS and mean absolute error."
    from effects import pds_mae
    from vcc_nb.data.embedded import papalexi as cells
    from vcc_nb.data.screen import open_screen
    screen = open_screen(cells())
    effects, kernel = screen.effects(), gene_kernel()
    quick = QuickKernel(kernel, screen.targets)
    members = [OnDisk(model, name, folder, 'papalexi') for name, model in
        dict(shared=SharedResponse(), nearest=NearestGenes(quick), ridge=KernelRidge(quick, choose=True)).items()]
    likeness = Likeness(kernel, list(screen.targets), effects.var_names, folder)
    draws = [open_screen(part_of_cells(cells(), seed)).effects() for seed in range(4)]
    kinds = {'itself': {}, 'linear': dict(attention='linear'), 'full': dict(attention='full'),
        **{f'sparse:{name}': dict(attention='sparse', graph=graph_of(name)) for name in ('STRING', 'annotation', 'responses')},
        'itself, of half the cells': dict(draws=draws)}
    rows = []
    for name, options in kinds.items():
        for split in leave_one_out(effects.obs_names.tolist()):
            make = OfCells if 'draws' in options else ResidualNetwork
            model = make(members, nets=4, belief=20, least=0, kernel=likeness, folds=8, **options).fit(effects, split)
            for method, fitted in (('stack', model.stack), (name, model)) if name == 'itself' else ((name, model),):
                rows += [dict(variant=method, share=model.share, **row) for row in pds_mae(fitted.predict(split.test), effects)]
        print(name, pd.DataFrame(rows).groupby('variant', sort=False)[['PDS', 'MAE', 'share']].mean().round(5), flush=True)
    return pd.DataFrame(rows)

def interval(difference):
    "Mean and 95% interval over targets."
    difference = np.asarray(difference, float)
    half = 1.96*difference.std(ddof=1)/np.sqrt(len(difference))
    return [round(float(x), 5) for x in (difference.mean(), difference.mean() - half, difference.mean() + half)]

def _add(path, row):
    "One more result in the file: a list of them, with the machine that made it."
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(path.read_text()) if path.exists() else []
    lines = [json.dumps(one) for one in [*rows, row | dict(machine=machine())]]
    with atomic_path(path) as beside: beside.write_text('[' + ',\n'.join(lines) + ']')

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['prepare', 'ranks', 'worlds', 'papalexi'])
    parser.add_argument('line', nargs='?', default='K562')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--variants', nargs='+', default=['itself'])
    parser.add_argument('--alone', action='store_true', help='without the other line')
    parser.add_argument('--only', type=int, help='folds')
    parser.add_argument('--cache', default=os.path.expanduser('~/.cache/vcc_nb/network'))
    parser.add_argument('--out', default=str(Path(__file__).parent/'results'))
    o = parser.parse_args()
    torch.set_num_threads(1)
    out = Path(o.out)/'network.json'
    if o.what in ('worlds', 'papalexi'):
        table = globals()[o.what](o.cache)
        _add(out, dict(what=o.what, rows=table.round(6).to_dict('list')))
        return
    words_of = {'prepare': ['itself,nets=1,share=0,epochs=0,genes=10']}.get(o.what, o.variants)
    for words in words_of:
        start = time.process_time()
        table = ranks(o.line, o.seed, words, o.cache, not o.alone, only=o.only)
        gain = interval(table.by_network - table.by_stack)
        seconds = round(time.process_time() - start)
        print(f'== {o.line} seed {o.seed}{" alone" if o.alone else ""} {words}: stack {table.by_stack.mean():.4f} network {table.by_network.mean():.4f} '
            f'gain {gain} ({seconds} CPU s)', flush=True)
        if o.what == 'ranks':
            _add(out, dict(what='ranks', line=o.line, seed=o.seed, alone=o.alone, variant=words,
                targets=table.place.tolist() if o.only else 'all',
                stack=table.by_stack.round(2).tolist(), network=table.by_network.round(2).tolist(),
                share=round(float(table.share.mean()), 3), seconds=seconds))

if __name__ == '__main__': main()
