"""Lines in which nothing was perturbed, or little: what the screens of other lines say of them.

    python contexts.py ranks        # real ranks of K562 and RPE1, 585 knock-downs, both ways: minutes
    python contexts.py simulated    # the 2026 job in simulated worlds, by the scores of the season: half an hour on one core
    python contexts.py simulated --agreement 0.33 --seed 1      # one world; the others stay as they are in the results
    python contexts.py official     # one line of one world by cell-eval2 itself, with its own ends of the scale: minutes

Each writes results/contexts_<name>*.csv beside this file."""
import argparse, time, warnings
from pathlib import Path
import anndata as ad, numpy as np, pandas as pd
from vcc_nb.core import CONTEXT, TARGET, atomic_path, np_rng
from vcc_nb.data.splits import Split
from vcc_nb.effects.across import AcrossContexts, MeanOfContexts, Pooled, SameTarget
from vcc_nb.effects.base import NoChange, make_effects, of_context
from vcc_nb.effects.blend import Blend
from vcc_nb.effects.own_transcript import OwnTranscript
from vcc_nb.effects.ridge import KernelRidge, NearestGenes, QuickKernel, SharedResponse
from vcc_nb.genes.likeness import annotations, gene_kernel

results = Path(__file__).parent/'results'

# real ranks of two lines

def two_lines():
    "Effects of both lines, rows `T|C`: scores of ranks, 0 for genes that are not listed."
    from vcc_nb.data.embedded import replogle_up_ranks
    from vcc_nb.effects.tables import read_effects
    tables = {line: replogle_up_ranks(line) for line in ('K562', 'RPE1')}
    genes = sorted(set().union(*[table.gene for table in tables.values()]))
    parts = []
    for line, table in tables.items():
        effects = read_effects(table[[TARGET, 'gene', 'rank']], score='1/(1+rank/100)', genes=genes)
        effects.obs[CONTEXT] = line
        effects.obs_names = effects.obs[TARGET].astype(str) + '|' + line
        parts.append(effects)
    return ad.concat(parts, merge='same')

def overlap(change, truth, n=100):
    "(targets,) share of each target's true first `n` genes among the `n` predicted highest."
    def first(x): return np.argpartition(-x, n, axis=1)[:, :n]
    is_true = np.zeros(truth.shape, bool)
    np.put_along_axis(is_true, first(truth), True, axis=1)
    return np.take_along_axis(is_true, first(change), axis=1).mean(1)

def zero_shot(effects, kernel, source, new):
    "Rows of targets: the new line told from the source line alone."
    targets = sorted(set(effects.obs[TARGET]))
    split = Split([f'{t}|{source}' for t in targets], [], [f'{t}|{new}' for t in targets])
    truth = np.asarray(of_context(effects, new)[targets].X)
    methods = {'mean of the other line': MeanOfContexts(), 'same target': SameTarget(),
        'across contexts': AcrossContexts(kernel)}
    return [dict(line=new, shots=0, draw=0, method=name, target=t, overlap=value)
        for name, model in methods.items()
        for t, value in zip(targets, overlap(model.fit(effects, split).predict(targets, new).X, truth))]

def few_shot(effects, kernel, source, new, draw, share=.1):
    "Rows of targets: a tenth of the targets measured in the new line."
    targets = sorted(set(effects.obs[TARGET]))
    rng = np_rng(draw, f'shots in {new}')
    shots = sorted(rng.choice(targets, int(share*len(targets)), replace=False))
    rest = [t for t in targets if t not in shots]
    in_new, elsewhere = [f'{t}|{new}' for t in shots], [f'{t}|{source}' for t in targets]
    truth, split = of_context(effects, new), Split([*elsewhere, *in_new], [], [f'{t}|{new}' for t in rest])
    alone = Split(shots, [], rest)
    says = {'mean of the line': truth[shots].X.mean(0, keepdims=True).repeat(len(rest), 0),
        'ridge on annotation': KernelRidge(kernel).fit(truth, alone).predict(rest).X,
        'across contexts': AcrossContexts(kernel).fit(effects, split).predict(rest, new).X}
    real = np.asarray(truth[rest].X)
    return [dict(line=new, shots=len(shots), draw=draw, method=name, target=t, overlap=value)
        for name, change in says.items() for t, value in zip(rest, overlap(np.asarray(change), real))]

def ranks(o):
    effects = two_lines()
    kernel = QuickKernel(gene_kernel((*annotations, 'name')), sorted(set(effects.obs[TARGET])))
    rows = []
    for source, new in (('K562', 'RPE1'), ('RPE1', 'K562')):
        rows += zero_shot(effects, kernel, source, new)
        for draw in range(3): rows += few_shot(effects, kernel, source, new, draw)
        print(pd.DataFrame(rows).query('line == @new').groupby(['shots', 'method'], sort=False).overlap.mean().round(4),
            flush=True)
    table = pd.DataFrame(rows)
    by_target = table.groupby(['line', 'shots', 'target', 'method']).overlap.mean().unstack('method').round(4)
    write(by_target.reset_index(), 'contexts_ranks.csv')

# the job of 2026, simulated

learned, unseen = ('A549', 'K562', 'THP-1'), ('iPSC', 'CD8 T', 'iPSC-neuron')

def world(agreement, seed, n_genes=2000):
    "Counts of six lines: 30 targets in three, 40 in the others, which the methods do not see."
    from vcc_nb.simulation.biology import baselines, gene_axis, strong_targets
    from vcc_nb.simulation.lines import simulate_screens
    targets = strong_targets(40, seed)
    level = sum(np.log1p(1e4*baselines(line)[0]) for line in (*learned, *unseen))
    common = gene_axis()[np.sort(np.argsort(-level)[:n_genes])]
    lines = dict.fromkeys(learned, targets[:30]) | dict.fromkeys(unseen, targets)
    screens, _ = simulate_screens(lines, targets=targets, agreement=agreement, cells_per_target=80, n_controls=500,
        n_genes=list(dict.fromkeys([*common, *targets])), seed=seed)
    return screens, targets

class LineScores:
    """Scores of 2026 of one line, by blocks of cells, on a scale: 0 for the line's own mean response, 1 for a
    replicate (one half of the cells for the other). As in cell-eval2 the MSE of a line is kept between 0 and 1."""
    def __init__(self, screen):
        from vcc_nb.challenge.compare import noise_ceiling
        from vcc_nb.challenge.panel import Panel
        self.screen, targets = screen, sorted(screen.targets)
        self.panel = Panel(screen, targets, season='2026', threads=1)
        self.scorers = self.panel.scorers()
        self.measured = screen.effects()
        mean = np.tile(np.asarray(self.measured.X).mean(0), (len(targets), 1))
        self.mean_response = make_effects(mean, targets, screen.genes, method='mean response')
        self.zero = self.scores(self.mean_response).mean()
        replicate = noise_ceiling(screen, targets, season='2026', panel=self.panel, repeats=2)
        self.one = replicate[list(self.zero.index)].mean()

    def scores(self, effects):
        "Targets x scores, not scaled."
        from vcc_nb.challenge.cells import cell_blocks
        effects = make_effects(effects.X, effects.obs[TARGET], effects.var_names, method='asked')
        blocks = cell_blocks(effects, self.screen, kind='counts', materials=self.panel.materials)
        return self.panel.score(blocks, self.scorers)

    def scaled(self, effects):
        "Targets x scores, on the scale; the MSE of a target as it is."
        return (self.scores(effects) - self.zero)/(self.one - self.zero)

    def __call__(self, effects):
        "The score of the line: the mean of the six."
        return float(of_line(self.scaled(effects)).mean())

def of_line(scaled):
    "Means of scores over the targets of a line."
    means = scaled.mean()
    return means.where(means.index != 'MSE', means.clip(0, 1))

def fitted_methods(screens, kernel, score):
    "name -> method that learned from the training lines and knows the controls of all."
    effects, controls = screens.effects(), screens.control_means()
    split = Split(sorted(set(effects.obs[TARGET])), [], [])
    blend = Blend([SharedResponse(), NearestGenes(kernel), KernelRidge(kernel, choose=True)], belief=20)
    methods = {'no change': Pooled(NoChange()), 'pooled blend': Pooled(blend), 'mean of contexts': MeanOfContexts(),
        'same target': SameTarget(), 'across contexts, least squares': AcrossContexts(kernel),
        'across contexts': AcrossContexts(kernel, score)}
    return {name: OwnTranscript(model).fit(effects, split, controls) for name, model in methods.items()}

def learned_world(agreement, seed):
    "Counts of each line, its screen, and the methods that learned from the training lines."
    from vcc_nb.data.screen import open_screen
    from vcc_nb.data.screens import open_screens
    cells, targets = world(agreement, seed)
    controls_only = {line: cells[line][(cells[line].obs[TARGET] == 'non-targeting').to_numpy()].copy() for line in unseen}
    screens = open_screens({line: cells[line] for line in learned} | controls_only)
    own = {line: open_screen(cells[line], target_sum=screens.target_sum) for line in cells}
    judges = {line: LineScores(own[line]) for line in learned}
    kernel = QuickKernel(gene_kernel((*annotations, 'name')), targets)
    methods = fitted_methods(screens, kernel, lambda says, line: judges[line](says))
    return cells, own, methods, targets

def one_world(agreement, seed):
    "Rows of targets in unseen lines: scores of each method; the amplitudes that were chosen."
    cells, own, methods, targets = learned_world(agreement, seed)
    rows = []
    for line in unseen:
        judge = LineScores(own[line])
        says = {name: model.predict(targets, line) for name, model in methods.items()}
        says |= {'mean response (0)': judge.mean_response, 'measured effects': judge.measured}
        n_lines = says['across contexts'].obs['n_lines'].reindex(targets)
        for name, effects in says.items():
            table = judge.scaled(effects)
            rows.append(table.assign(agreement=agreement, seed=seed, line=line, method=name,
                n_lines=n_lines.reindex(table.index).to_numpy(), target=table.index))
    chosen = methods['across contexts'].fitted.chosen
    amplitudes = [dict(agreement=agreement, seed=seed, part=part, of_mean=pair[0], of_deviation=pair[1])
        for part, pair in dict(own=chosen.own, relatives=chosen.relatives).items()]
    return pd.concat(rows, ignore_index=True), pd.DataFrame(amplitudes)

def simulated(o):
    for agreement in o.agreement:
        for seed in o.seed:
            start = time.time()
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                table, amplitudes = one_world(agreement, seed)
            keys = ['agreement', 'seed', 'line', 'method', 'n_lines', 'target']
            names = [name for name in table if name not in keys]
            means = table.groupby(['agreement', 'seed', 'line', 'method'], sort=False)[names].apply(of_line).round(4)
            means['score'] = means.mean(axis=1).round(4)
            replace_world(means.reset_index(), 'contexts_simulated.csv', agreement, seed)
            asked = table[~table.method.isin(['mean response (0)', 'measured effects'])]
            asked = asked.assign(five=asked[names].drop(columns='MSE').mean(axis=1))
            replace_world(wide_targets(asked), 'contexts_simulated_targets.csv', agreement, seed)
            replace_world(amplitudes, 'contexts_simulated_amplitudes.csv', agreement, seed)
            print(f'{agreement}, seed {seed}, {time.time() - start:.0f} s')
            print(means.score.unstack('method').round(3).droplevel([0, 1]).T, flush=True)

def official(o, agreement=.33, seed=1, line='iPSC'):
    "The same predictions scored by the organisers' program, on its own scale."
    import tempfile
    from vcc_nb.challenge.cells import generate_cells
    from vcc_nb.challenge.scores_2026 import prepare_2026, score_2026
    cells, own, methods, targets = learned_world(agreement, seed)
    says = {name: model.predict(targets, line) for name, model in methods.items()}
    says['measured effects'] = own[line].effects()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ends = prepare_2026(cells[line], Path(folder)/'ends', threads=1)
        for name, effects in says.items():
            effects = make_effects(effects.X, effects.obs[TARGET], effects.var_names, method=name)
            predicted = generate_cells(effects, own[line], kind='counts')
            scaled = score_2026(predicted, cells[line], ends=ends, threads=1)[1].scaled
            rows.append(dict(agreement=agreement, seed=seed, line=line, method=name) | scaled.round(4).to_dict())
            print(rows[-1], flush=True)
    write(pd.DataFrame(rows), 'contexts_official.csv')

def wide_targets(table):
    "A row for each target in a line: for each method the mean of the five scores without MSE, MSE and PDS."
    keys = ['agreement', 'seed', 'line', 'n_lines', 'target']
    wide = table.pivot(index=keys, columns='method', values=['five', 'MSE', 'PDS']).round(3)
    wide.columns = [f'{score}|{method}' for score, method in wide]
    return wide.reset_index()

def long_targets():
    "The results as a row for each target, line and method: five, MSE, PDS."
    wide = pd.read_csv(results/'contexts_simulated_targets.csv')
    wide = wide.set_index(['agreement', 'seed', 'line', 'n_lines', 'target'])
    wide.columns = pd.MultiIndex.from_tuples([tuple(name.split('|')) for name in wide], names=[None, 'method'])
    return wide.stack('method', future_stack=True).reset_index()

def replace_world(table, name, agreement, seed):
    "Write the rows of a world, in place of those that are there."
    path = results/name
    if path.exists():
        before = pd.read_csv(path)
        others = before[(before.agreement != agreement) | (before.seed != seed)]
        table = pd.concat([others, table], ignore_index=True)
        table = table.sort_values(['agreement', 'seed'], ascending=[False, True], kind='stable')
    write(table, name)

def write(table, name):
    with atomic_path(results/name) as path: table.to_csv(path, index=False)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=['ranks', 'simulated', 'official'])
    p.add_argument('--agreement', type=float, nargs='+', default=[.33, .17, .08, 0.])
    p.add_argument('--seed', type=int, nargs='+', default=[1, 2, 3])
    o = p.parse_args()
    globals()[o.name](o)

if __name__ == '__main__': main()
