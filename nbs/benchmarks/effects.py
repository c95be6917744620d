"""Effect models for perturbations nobody measured, against no change and the training mean: every split and seed.

    python effects.py papalexi      # real cells, 25 targets: leave one target out, and five random splits; a minute
    python effects.py official      # the same, leave one target out, scored by cell-eval on generated cells: a minute
    python effects.py refit         # the same cells: what the validation targets teach once they have done their duty; a minute
    python effects.py k562          # real ranks, 585 knock-downs: ten folds, three times; half an hour on one core
    python effects.py knowledge     # ranks of K562 and RPE1: what complexes, modules and partners add to annotation; six minutes on one core
    python effects.py stack         # ranks of K562 and RPE1: the weighted sum of all closed forms and its members; thirty minutes on one core
    python effects.py transfer      # simulated, two contexts: how much of the ceiling the other context's effects give; minutes
    python effects.py confidence    # how often the stated bounds hold, on all three; a quarter of an hour
    python effects.py scale --targets 600 2500 10000    # time and memory of each closed form; two minutes
    python effects.py many          # all closed forms of a run, by the number of targets; ranks as thousands are treated; half an hour with 10,000

Each writes results/effects_<name>.json beside this file."""
import argparse, json, time
from pathlib import Path
import numpy as np, pandas as pd
from vcc_nb.core import TARGET, atomic_path, machine, np_rng
from vcc_nb.effects.amplitude import Calibrated, pds
from vcc_nb.effects.blend import Blend
from vcc_nb.effects.own_transcript import OwnTranscript
from vcc_nb.effects.ridge import KernelRidge, NearestGenes, SharedResponse
from vcc_nb.effects.transfer import Transfer
from vcc_nb.effects.base import EffectModel, NoChange, TrainingMean, of_context
from vcc_nb.effects.tables import read_effects
from vcc_nb.genes.likeness import annotations, gene_kernel
from vcc_nb.data.splits import Split, leave_one_out, make_split

def annotation_kernel():
    "Without relations, which `knowledge` and `stack` measure: the kernel of all other results."
    return gene_kernel((*annotations, 'name'))

class Nearest(EffectModel):
    "The effect of the one most similar training target, as it is."
    name = 'nearest gene'
    def __init__(self, kernel): self.kernel = kernel
    def learn(self, seen): self.targets, self.Y = list(seen.obs[TARGET]), np.asarray(seen.X)
    def answer(self, targets): return self.Y[self.kernel(targets, self.targets).argmax(1)], None

def pds_mae(pred, real):
    "Per target: PDS among all of `real`, and mean absolute error."
    targets = list(pred.obs[TARGET])
    own = real.obs_names.get_indexer(targets)
    others = np.setdiff1d(np.arange(real.n_obs), own)
    change, truth = np.asarray(pred.X), np.asarray(real.X)
    scores = pds(change, truth[np.r_[own, others]], targets, real.var_names)
    errors = np.abs(change - truth[own]).mean(1)
    return [dict(target=t, PDS=float(score), MAE=float(error)) for t, score, error in zip(targets, scores, errors)]

def compact(rows, values):
    "Rows as columns: what names a measurement (alike for every method) once, then each method's values."
    d = pd.DataFrame(rows); names = d[d.method == d.method.iloc[0]].drop(columns=['method', *values])
    return dict(of=names.astype(object).where(names.notna(), None).to_dict('list'),
        methods={m: {v: x[v].round(4 if v != 'MAE' else 6).tolist() for v in values} for m, x in d.groupby('method', sort=False)})

def papalexi(o):
    from vcc_nb.data.embedded import papalexi
    from vcc_nb.data.screen import open_screen
    screen = open_screen(papalexi())
    fx, kernel, control, rows = screen.effects(), annotation_kernel().on(screen.targets), screen.control_mean(), []
    methods = lambda: {'no change': NoChange(), 'training mean': TrainingMean(),
        'no change, own transcript': OwnTranscript(NoChange(), control),
        'training mean, own transcript': OwnTranscript(TrainingMean(), control), 'shared response': SharedResponse(),
        'nearest gene': Nearest(kernel), 'nearest genes': NearestGenes(kernel),
        'kernel ridge, Gene Ontology': KernelRidge(kernel.reweighted(dict(BP=1, CC=1, MF=1))),
        'kernel ridge': KernelRidge(kernel), 'kernel ridge, own transcript': OwnTranscript(KernelRidge(kernel), control),
        'kernel ridge, sources chosen': KernelRidge(kernel, choose=True),
        'kernel ridge, sources chosen, own transcript': OwnTranscript(KernelRidge(kernel, choose=True), control),
        'amplitude for both, sources chosen, own transcript': OwnTranscript(Calibrated(KernelRidge(kernel, choose=True)),
                           control),
        'blend': Blend([SharedResponse(), NearestGenes(kernel), KernelRidge(kernel, choose=True)], folds=24)}
    splits = ([('leave one out', None, s) for s in leave_one_out(fx.obs_names.tolist())] +
        [('random', seed, make_split(screen, test=.25, valid=0, seed=seed)) for seed in range(o.seeds)])
    for name, m in methods().items():
        for kind, seed, s in splits:
            real = fx if kind == 'leave one out' else fx[list(s.test)]
            rows += [dict(method=name, split=kind, seed=seed, **r) for r in pds_mae(m.fit(fx, s).predict(s.test), real)]
        print(name, pd.DataFrame(rows).query('method == @name').groupby('split')[['PDS', 'MAE']].mean().round(4).to_dict('index'),
            flush=True)
    return dict(data='Papalexi 2021, THP-1, pseudobulks of 299 genes', scores=compact(rows, ['PDS', 'MAE']))

def official(o):
    "The 2025 scores by cell-eval, of cells generated from leave-one-out predictions."
    import anndata as ad
    from vcc_nb.data.embedded import papalexi
    from vcc_nb.effects.base import make_effects
    from vcc_nb.challenge.compare import score_methods
    from vcc_nb.data.screen import open_screen
    screen = open_screen(papalexi()); fx, kernel, control = screen.effects(), gene_kernel().on(screen.targets), screen.control_mean()
    plain = {'no change': NoChange(), 'training mean': TrainingMean(), 'shared response': SharedResponse(),
        'kernel ridge': KernelRidge(kernel), 'kernel ridge, sources chosen': KernelRidge(kernel, choose=True),
        'the blend of a run, no network': Blend([SharedResponse(), NearestGenes(kernel), KernelRidge(kernel, choose=True)], belief=20)}
    methods = {name: OwnTranscript(method, control) for name, method in plain.items()}
    methods |= {f'{name}, plain': method for name, method in plain.items()}
    predictions = {n: ad.concat([m.fit(fx, s).predict(s.test) for s in leave_one_out(fx.obs_names.tolist())], merge='same')
        for n, m in methods.items()}
    predictions['the measured effects'] = make_effects(fx.X, fx.obs_names, fx.var_names, method='measured')
    scores = score_methods(predictions, screen, threads=1)
    print(scores.groupby('method', sort=False)[['DES', 'PDS', 'MAE']].mean().round(4))
    return dict(data='Papalexi 2021, THP-1, cells, leave one target out',
        scores=compact(scores.rename(columns=dict(perturbation='target')).to_dict('records'), ['DES', 'PDS', 'MAE']))

def refit(o):
    "Fitted on training targets, and fitted once more on training and validation targets: twelve splits."
    from vcc_nb.data.embedded import papalexi
    from vcc_nb.data.screen import open_screen
    screen = open_screen(papalexi())
    effects, control, rows = screen.effects(), screen.control_mean(), []
    kernel = annotation_kernel().on(screen.targets)
    methods = {'training mean': TrainingMean(), 'kernel ridge': KernelRidge(kernel, choose=True),
        'blend': Blend([SharedResponse(), NearestGenes(kernel), KernelRidge(kernel, choose=True)], belief=20)}
    for seed in range(12):
        split = make_split(screen, seed=seed)
        learned_from = {'train': split, 'train and valid': Split([*split.train, *split.valid], [], split.test)}
        for name, method in methods.items():
            for targets, part in learned_from.items():
                predicted = OwnTranscript(method, control).fit(effects, part).predict(split.test)
                scores = pds_mae(predicted, effects[list(split.test)])
                rows += [dict(method=f'{name}, {targets}', seed=seed, **row) for row in scores]
    print(pd.DataFrame(rows).groupby('method', sort=False)[['PDS', 'MAE']].mean().round(4))
    return dict(data='Papalexi 2021, THP-1, pseudobulks of 299 genes, twelve splits', scores=compact(rows, ['PDS', 'MAE']))

def overlap(pred, ranks, n=100):
    "Share of each target's true first `n` genes among the `n` predicted highest."
    out = {}
    for t, p in zip(pred.obs[TARGET], np.asarray(pred.X)): out[t] = len(ranks[t] & set(pred.var_names[np.argpartition(-p, n)[:n]]))/n
    return out

def folds_of(targets, seed, n=10):
    fold = np_rng(seed, 'ten folds').permutation(np.arange(len(targets)) % n)
    for k in range(n): yield k, Split([t for t, f in zip(targets, fold) if f != k], [], [t for t, f in zip(targets, fold) if f == k])

def k562(o):
    from vcc_nb.data.embedded import replogle_up_ranks
    table = replogle_up_ranks(); ranks = table[table['rank'] < 100].groupby(TARGET).gene.agg(set).to_dict(); rows = []
    for score, seeds in (('1/sqrt(1+rank)', (0,)), ('1/(1+rank/100)', range(3))):
        fx = read_effects(table, score=score); targets = fx.obs_names.tolist(); kernel = annotation_kernel().on(targets)
        methods = {'training mean': TrainingMean(), 'nearest gene': Nearest(kernel.reweighted(dict(BP=1, CC=1, MF=1))),
            'kernel ridge, Gene Ontology': KernelRidge(kernel.reweighted(dict(BP=1, CC=1, MF=1))),
            'kernel ridge': KernelRidge(kernel), 'nearest genes': NearestGenes(kernel),
            'kernel ridge, sources chosen': KernelRidge(kernel, choose=True),
            'blend': Blend([NearestGenes(kernel), KernelRidge(kernel, choose=True)], folds=3)}
        for seed in seeds:
            for k, s in folds_of(targets, seed):
                for name, m in methods.items():
                    t = time.process_time(); p = m.fit(fx, s).predict(s.test); t = time.process_time() - t
                    rows += [dict(method=name, score=score, seed=seed, fold=k, target=g, overlap=v, looked_at=targets.index(g) % 2 == 0)
                        for g, v in overlap(p, ranks).items()]
                    print(score, seed, k, name, round(np.mean([r['overlap'] for r in rows[-len(s.test):]]), 4), f'{t:.1f} s', flush=True)
    d = pd.DataFrame(rows)
    folds, per = (d.groupby(['score', *by, 'method'], sort=False).overlap.mean().reset_index()
        for by in (['seed', 'fold'], ['target', 'looked_at']))
    per = per.sort_values(['method', 'score', 'target'], kind='stable')
    return dict(data='Replogle 2022, K562, 585 knock-downs, overlap of the first 100', folds=compact(folds.to_dict('records'), ['overlap']),
        targets=compact(per.to_dict('records'), ['overlap']))

def knowledge_methods(targets):
    "Kernel ridges on annotation, and on more: (in both lines, in K562 with one seed only)."
    from vcc_nb.genes.likeness import gene_features
    from vcc_nb.genes.sets import libraries, relations
    plain = (*annotations, 'name')
    everything = gene_kernel((*plain, *relations)).on(targets)
    def kernel(*more): return everything.reweighted(dict.fromkeys((*plain, *more), 1.))
    def by_vectors(sources): return gene_kernel((), tables={'vectors': gene_features(targets, sources=sources)})
    often = {'annotation': KernelRidge(kernel()), 'and all relations': KernelRidge(kernel(*relations))}
    once = {f'and {name}': KernelRidge(kernel(name)) for name in relations}
    once |= {'annotation, sources chosen': KernelRidge(kernel(), choose=True),
        'and all relations, sources chosen': KernelRidge(kernel(*relations), choose=True),
        'vectors of the Gene Ontology': KernelRidge(by_vectors('GO')),
        'vectors of all libraries': KernelRidge(by_vectors(list(libraries)))}
    return often, once

def paired_differences(overlaps):
    "Per line and method: mean overlap, difference to its base and half the 95% interval over targets."
    base_of = {'annotation, sources chosen': 'annotation, sources chosen',
        'and all relations, sources chosen': 'annotation, sources chosen',
        'vectors of the Gene Ontology': 'vectors of the Gene Ontology',
        'vectors of all libraries': 'vectors of the Gene Ontology'}
    table = []
    for (line, method), rows in overlaps.groupby(['line', 'method'], sort=False):
        base = base_of.get(method, 'annotation')
        same = overlaps.query('line == @line and method == @base and seed in @rows.seed.unique()')
        difference = (rows.groupby('target').overlap.mean() - same.groupby('target').overlap.mean())
        half = 1.96*difference.std()/np.sqrt(len(difference))
        table.append(dict(line=line, method=method, seeds=rows.seed.nunique(), overlap=rows.overlap.mean(),
            base=base, difference=difference.mean(), half=half, better=(difference > 0).mean()))
    return table

def knowledge(o):
    "What complexes, modules and partners add to annotation: K562 with three seeds, RPE1 with one."
    from vcc_nb.data.embedded import replogle_up_ranks
    rows = []
    for line in ('K562', 'RPE1'):
        table = replogle_up_ranks(line)
        ranks = table[table['rank'] < 100].groupby(TARGET).gene.agg(set).to_dict()
        effects = read_effects(table, score='1/(1+rank/100)')
        often, once = knowledge_methods(effects.obs_names.tolist())
        for seed in range(min(o.seeds, 3) if line == 'K562' else 1):
            methods = often | once if seed == 0 and line == 'K562' else often
            for k, split in folds_of(effects.obs_names.tolist(), seed):
                start = time.process_time()
                for name, method in methods.items():
                    overlaps = overlap(method.fit(effects, split).predict(split.test), ranks)
                    rows += [dict(line=line, seed=seed, method=name, target=t, overlap=v) for t, v in overlaps.items()]
                print(f'{line}, seed {seed}, fold {k}: {time.process_time() - start:.1f} CPU s', flush=True)
            print(pd.DataFrame(paired_differences(pd.DataFrame(rows))).round(4).to_string(), flush=True)
    return dict(data='Replogle 2022, 585 knock-downs in K562 and in RPE1, overlap of the first 100, ten folds',
        methods=paired_differences(pd.DataFrame(rows)))

def ranks_of(line):
    "Effects from the ranks of a line, which they name; each target's first 100 genes."
    from ranks import effects_of
    from vcc_nb.data.embedded import replogle_up_ranks
    table = replogle_up_ranks(line)
    return effects_of(line), table[table['rank'] < 100].groupby(TARGET).gene.agg(set).to_dict()

def confidence_of(stack, predicted, train, truth, coverage=.9):
    "For which held-out targets the bound of a stack holds."
    from vcc_nb.effects.bounds import Conformal
    error = np.asarray(predicted.X) - np.asarray(truth.X)
    bounded = Conformal(stack, coverage, folds=stack.folds).fit(train, Split(train.obs_names, [], [])).predict(list(predicted.obs_names))
    return (np.abs(error).mean(1) <= bounded.obs.mae_bound).tolist()

def stack_on_fold(effects, ranks, there, atlas, kernel, split, inner, confidence):
    "Overlaps by target of a fold of each member and of both stacks; their weights; for which targets a bound of 90% holds."
    from vcc_nb.effects.stack import make_stack
    train, truth = effects[list(split.train)], effects[list(split.test)]
    whole = make_stack(kernel, atlas, there, fitted_on=[split.train], folds=inner)
    plain = Blend([method for method in whole.models if not method.of_some], folds=inner)     # the same methods, fitted once
    whole.fit(effects, split)
    plain.fit(effects, split)
    says = {method.name: method.predict(split.test) for method in whole.fitted}
    says |= {'stack without responses': plain.predict(split.test), 'stack with responses': whole.predict(split.test)}
    overlaps = {name: overlap(predicted, ranks) for name, predicted in says.items()}
    weights = {'with': whole.table().to_dict(), 'without': plain.table().to_dict()}
    stated = {name: confidence_of(model, says[f'stack {name} responses'], train, truth)
        for name, model in (('with', whole), ('without', plain))} if confidence else {}
    return overlaps, weights, stated

def beside_best(overlaps):
    "Per line: mean overlap of each method, and each stack's paired difference to each of its members."
    by_responses = ['transfer', 'nearest responses', 'kernel ridge, responses']
    table = []
    for line, rows in overlaps.groupby('line', sort=False):
        means = rows.pivot_table(index='target', columns='method', values='overlap', sort=False)
        members = [name for name in means if not name.startswith('stack')]
        for stack in ('stack without responses', 'stack with responses'):
            for member in members:
                if stack == 'stack without responses' and member in by_responses: continue
                difference = means[stack] - means[member]
                half = 1.96*difference.std()/np.sqrt(len(difference))
                table.append(dict(line=line, stack=stack, overlap=means[stack].mean(), member=member, of_member=means[member].mean(),
                    difference=difference.mean(), half=half, better=(difference > 0).mean()))
    return table

def stack(o):
    "The weighted sum of all closed forms beside its members: ten folds, up to three seeds, with and without the other line."
    from vcc_nb.effects.atlas import ResponseAtlas
    from vcc_nb.effects.ridge import QuickKernel
    rows, all_weights, stated, lines = [], [], [], {}
    for line, other in (('K562', 'RPE1'), ('RPE1', 'K562')):
        (effects, ranks), (there, _) = ranks_of(line), ranks_of(other)
        kernel = QuickKernel(gene_kernel(), effects.obs_names.tolist())
        lines[line] = dict(effects=effects, ranks=ranks, there=there, atlas=ResponseAtlas.from_effects(there), kernel=kernel)
    for seed in range(min(o.seeds, 3)):
        for line, known in lines.items():
            start = time.process_time()
            for k, split in folds_of(known['effects'].obs_names.tolist(), seed):
                confidence = seed == 0 and k < 5
                overlaps, weights, said = stack_on_fold(**known, split=split, inner=o.inner, confidence=confidence)
                for name, of_method in overlaps.items():
                    rows += [dict(line=line, seed=seed, method=name, target=t, overlap=v) for t, v in of_method.items()]
                all_weights += [dict(line=line, kind=kind, **of_kind) for kind, of_kind in weights.items()]
                stated += [dict(line=line, kind=kind, kept=kept) for kind, kept in said.items()]
                print(f'{line}, seed {seed}, fold {k}: {time.process_time() - start:.0f} CPU s', flush=True)
            print(pd.DataFrame(beside_best(pd.DataFrame(rows))).round(4).to_string(), flush=True)
        save(o, stack_result(rows, all_weights, stated) | dict(seeds=seed + 1, inner_folds=o.inner))
    return stack_result(rows, all_weights, stated) | dict(seeds=seed + 1, inner_folds=o.inner)

def stack_result(rows, all_weights, stated):
    "What is written: stacks beside their members, mean weights, and how often their bounds hold."
    kept = pd.DataFrame(stated).explode('kept').astype(dict(kept=float))
    kept = kept.groupby(['line', 'kind'], sort=False).kept.agg(bound_kept='mean', targets='size').reset_index()
    weights = pd.DataFrame(all_weights).groupby(['line', 'kind'], sort=False).mean().reset_index().astype(object)
    return dict(data='Replogle 2022, 585 knock-downs in K562 and in RPE1, overlap of the first 100, ten folds',
        methods=beside_best(pd.DataFrame(rows)), weights=weights.where(weights.notna(), None).to_dict('records'),
        confidence=kept.to_dict('records'))

class AsItIs(EffectModel):
    "The same target's effect in the other context, unchanged."
    name = 'other context as it is'
    def __init__(self, there): self.there = there
    def learn(self, seen): pass
    def answer(self, targets): return np.asarray(self.there[targets].X), None

def two_contexts(correlation, seed, n_targets=60, n_genes=2000, here='K562', there='A549'):
    "Effects here from all cells and from two halves of the cells, effects there, and the kernel: simulated."
    from vcc_nb.data.embedded import vcc2025_targets
    from vcc_nb.data.screen import open_screen
    from vcc_nb.simulation.cells import simulate_screen
    targets = sorted(np_rng(seed, 'targets').choice(vcc2025_targets()[TARGET], n_targets, replace=False))
    adata, _ = simulate_screen(n_cells=2*(n_targets*100 + 1500), n_genes=n_genes, targets=targets, contexts=(here, there),
        cells_per_target=100, context_correlation=correlation, seed=seed)
    screen = open_screen(adata); half = np_rng(seed, 'halves').random(adata.n_obs) < .5
    return (of_context(screen.effects(), here), of_context(screen.effects(half), here), of_context(screen.effects(~half), here),
        of_context(screen.effects(screen.contexts == there), there), annotation_kernel().on(targets))

def transfer(o):
    rows = []
    for correlation in (.7, .4):
        for seed in range(3):
            fx, a, b, there, kernel = two_contexts(correlation, seed)
            methods = {'no change': NoChange(), 'training mean': TrainingMean(), 'kernel ridge': KernelRidge(kernel),
                'other context as it is': AsItIs(there), 'transfer': Transfer(there),
                'transfer on kernel ridge': Transfer(there, KernelRidge(kernel)),
                'transfer, amplitude for both': Calibrated(Transfer(there)),
                'transfer, amplitude for PDS': Calibrated(Transfer(there), 'PDS'),
                'other context, amplitude for PDS': Calibrated(AsItIs(there), 'PDS')}
            for k, s in folds_of(fx.obs_names.tolist(), seed, 5):
                real = b[list(s.test)]      # one half of the cells is the truth, the other half the replicate
                predictions = ({name: m.fit(fx, s).predict(s.test) for name, m in methods.items()} |
                    {'replicate (the ceiling)': a[list(s.test)]})
                rows += [dict(method=name, correlation=correlation, seed=seed, fold=k, **r) for name, p in predictions.items()
                    for r in pds_mae(p, real)]
            print(pd.DataFrame(rows).query('correlation == @correlation and seed == @seed').groupby('method',
                sort=False)[['PDS', 'MAE']].mean().round(4), flush=True)
    return dict(data='simulated: 60 targets, 2,000 genes, 100 cells a target in each of two contexts', scores=compact(rows, ['PDS', 'MAE']))

def confidence(o):
    from vcc_nb.effects.bounds import Conformal
    from vcc_nb.data.embedded import papalexi, replogle_up_ranks
    from vcc_nb.data.screen import open_screen
    rows = []
    def held(data, seed, fx, splits, model, folds):
        for coverage in (.8, .9):
            for s in splits:
                p = Conformal(model, coverage, folds=folds).fit(fx, s).predict(s.test); truth = np.asarray(fx[list(s.test)].X)
                inside = ((p.layers['low'] <= truth) & (truth <= p.layers['high'])).mean(1)
                rows.extend(dict(data=data, seed=seed, coverage=coverage, target=t, bound=bool(e <= m), genes=bool(i >= coverage),
                    error=float(e), stated=float(m))
                            for t, e, m, i in zip(s.test, np.abs(p.X - truth).mean(1), p.obs.mae_bound, inside))
        d = pd.DataFrame(rows).query('data == @data and seed == @seed')
        print(data, seed, d.groupby('coverage')[['bound', 'genes']].mean().round(3).to_dict('index'), flush=True)
    screen = open_screen(papalexi()); fx = screen.effects()
    held('Papalexi, leave one out', None, fx, list(leave_one_out(fx.obs_names.tolist())), KernelRidge(annotation_kernel().on(screen.targets)), 24)
    for seed in range(5):
        fx, *_, kernel = two_contexts(.7, seed, n_targets=100, n_genes=500)
        held('simulated, 5 folds', seed, fx, [s for _, s in folds_of(fx.obs_names.tolist(), seed, 5)], KernelRidge(kernel), 10)
    fx = read_effects(replogle_up_ranks(), score='1/(1+rank/100)'); kernel = annotation_kernel().on(fx.obs_names)
    held('K562 ranks, 10 folds', 0, fx, [s for _, s in folds_of(fx.obs_names.tolist(), 0)], KernelRidge(kernel), 5)
    return dict(rows=pd.DataFrame(rows).groupby(['data', 'seed', 'coverage'], sort=False, dropna=False).agg(targets=('target', 'size'),
        bound=('bound', 'mean'), genes=('genes', 'mean'), error=('error', 'mean'),
        stated=('stated', 'mean')).round(4).reset_index().astype(object).replace({np.nan: None}).to_dict('records'))

def low_rank_effects(targets, n_genes, seed, n_programs=40):
    "Simulated: relatives by annotation share programs; every tenth target has few cells, so more noise."
    import anndata as ad
    from vcc_nb.genes.likeness import perturbation_rows
    rng, kernel = np_rng(seed, 'low rank'), annotation_kernel()
    acts = 0
    for name in kernel.weights:
        rows = perturbation_rows(kernel.sources[name], targets, private=True)
        acts = acts + rows @ rng.normal(size=(rows.shape[1], n_programs))
    change = rng.standard_normal((len(targets), n_genes), dtype=np.float32)
    n_cells = rng.choice([40, 200], len(targets), p=[.1, .9])
    change *= (4*np.sqrt(200/n_cells))[:, None].astype(np.float32)
    change += (acts @ rng.normal(size=(n_programs, n_genes)) + 2*rng.normal(size=n_genes)).astype(np.float32)
    obs = pd.DataFrame({TARGET: targets, 'n_cells': n_cells}, index=targets)
    return ad.AnnData(change, obs=obs, var=pd.DataFrame(index=[*targets, *(f'G{i}' for i in range(n_genes))][:n_genes]))

def peak_gb():
    "GiB that this process has held at most."
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20

def costs(name, effects, split, method):
    "CPU seconds of a fit and a prediction, and what is explained of targets never seen."
    start = time.process_time(); method.fit(effects, split); fit = time.process_time() - start
    start = time.process_time(); said = method.predict(list(split.test)).X; predict = time.process_time() - start
    truth = np.asarray(effects[list(split.test)].X)
    explained = 1 - np.square(truth - said).sum(dtype=float)/np.square(truth).sum(dtype=float)
    row = dict(method=name, targets=len(split.train), genes=effects.n_vars, fit_s=fit, predict_s=predict, peak_gb=peak_gb(),
        explained=float(explained))
    print({key: round(float(value), 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    return row

def blas_threads():
    "Threads that products of matrices take."
    from threadpoolctl import threadpool_info
    return max(pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas')

def closed_forms_of_run(effects, split, kernel, control):
    "Time of all that a run does with closed forms: folds for the network, blends, bounds."
    from vcc_nb.effects.bounds import Conformal
    from vcc_nb.effects.held_out import FitOnce, out_of_fold
    train, everyone = list(split.train), [*split.train, *split.valid]
    last = Split(everyone, [], split.test)
    start, clock = time.process_time(), time.perf_counter()
    plain = FitOnce(KernelRidge(kernel, choose=True), train, everyone)
    own = FitOnce(OwnTranscript(plain, control), train, everyone)
    out_of_fold(own, effects[train], folds=10)
    for part in (split, last):
        own.fit(effects, part)
        blend = Blend([SharedResponse(), NearestGenes(kernel), plain], belief=20)
        OwnTranscript(blend, control).fit(effects, part)
    Conformal(own).fit(effects, last).predict(split.test)
    row = dict(targets=len(everyone), genes=effects.n_vars, cpu_s=time.process_time() - start, wall_s=time.perf_counter() - clock,
        threads=blas_threads(), peak_gb=peak_gb())
    print('all closed forms of a run:', {name: round(float(value), 1) for name, value in row.items()}, flush=True)
    return row

def as_for_many(o):
    "K562 and RPE1 ranks: what is lost where 200 of 527 targets are treated as of 10,000."
    class ForMany(KernelRidge): exact_up_to = 200
    rows = []
    for line in ('K562', 'RPE1'):
        effects, ranks = ranks_of(line)
        targets = effects.obs_names.tolist()
        kernel = gene_kernel().on(targets)
        methods = {'exact': KernelRidge(kernel, choose=True), 'as for thousands': ForMany(kernel, choose=True, judges=200)}
        for seed in range(min(o.seeds, 3)):
            for k, split in folds_of(targets, seed):
                for name, method in methods.items():
                    overlaps = overlap(method.fit(effects, split).predict(split.test), ranks)
                    rows += [dict(line=line, method=name, seed=seed, target=t, overlap=v) for t, v in overlaps.items()]
    return [lost_in(line, table, 'as for thousands', 'exact') for line, table in pd.DataFrame(rows).groupby('line')]

def lost_in(line, table, method, base):
    "Mean overlap of a method and of another, their paired difference and half its 95% interval over targets."
    means = table.groupby(['target', 'method']).overlap.mean().unstack()
    lost = means[method] - means[base]
    return dict(line=line, method=method, base=base, overlap=means[method].mean(), of_base=means[base].mean(),
        difference=lost.mean(), half=1.96*lost.std()/np.sqrt(len(lost)))

def simulated_screen(n, n_genes=8000):
    "Effects of n training targets and a tenth more, their split and the kernel of a run."
    from vcc_nb.effects.ridge import QuickKernel
    from vcc_nb.genes.likeness import annotated_genes
    targets = np_rng(0, 'targets').choice(sorted(annotated_genes()), n + n//10, replace=False).tolist()
    effects, kernel = low_rank_effects(targets, n_genes, 0), QuickKernel(gene_kernel(), targets)
    return effects, Split(targets[:n*7//8], targets[n*7//8:n], targets[n:]), kernel

def scale(o):
    "Fits by the number of targets."
    rows = []
    for n in o.targets:
        effects, split, kernel = simulated_screen(n)
        whole = Split([*split.train, *split.valid], [], split.test)
        methods = {'kernel ridge': lambda: KernelRidge(kernel, choose=True), 'shared response': SharedResponse,
            'nearest genes': lambda: NearestGenes(kernel)}
        rows += [costs(name, effects, whole, make()) for name, make in methods.items()]
    return dict(data='simulated, 8,000 genes, 40 programs', fits=rows)

def many(o):
    "All that a run does with closed forms, by the number of targets, and what is lost on ranks."
    runs = []
    for n in o.targets:
        effects, split, kernel = simulated_screen(n)
        runs.append(closed_forms_of_run(effects, split, kernel, np.full(effects.n_vars, 1.)))
    lost = as_for_many(o)
    print(pd.DataFrame(lost).round(5).to_string())
    return dict(data='simulated, 8,000 genes, 40 programs', runs=runs, as_for_many=lost)

def save(o, result):
    "Write a result, with the machine it was measured on."
    def rounded(x):
        if isinstance(x, dict): return {k: rounded(v) for k, v in x.items()}
        if isinstance(x, list): return [rounded(v) for v in x]
        return round(x, 6) if isinstance(x, float) else x
    with atomic_path(Path(o.out)/f'effects_{o.name}.json') as f: f.write_text(json.dumps(rounded(result | dict(machine=machine()))))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=['papalexi', 'official', 'refit', 'k562', 'knowledge', 'stack', 'transfer', 'confidence', 'scale', 'many'])
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--targets', type=int, nargs='+', default=[600, 2500], help='for scale and many')
    p.add_argument('--inner', type=int, default=3, help='folds in which the stack weighs its methods')
    p.add_argument('--out', default=str(Path(__file__).parent/'results')); o = p.parse_args()
    save(o, globals()[o.name](o))

if __name__ == '__main__': main()
