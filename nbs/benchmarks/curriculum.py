"""Progressive against standard training at the same compute: another split in each seed, one thread.

    python curriculum.py papalexi --seeds 5     # real cells, 25 targets, 200 of 299 genes: seven minutes
    python curriculum.py simulated              # three simulated screens, 80 targets, 1,000 of 2,000 genes: half an hour
    python curriculum.py rates                  # standard and progressive at other learning rates, on the first split: five minutes
    python curriculum.py miniature --seeds 1    # a few epochs of the first, to see that it works: seconds

Compute is the sum over epochs of genes x pseudobulks, the gene-tokens that the model was shown. Each writes results/curriculum_<name>.json beside this file."""
import argparse, json, time
from pathlib import Path
import numpy as np, pandas as pd, torch
from vcc_nb.core import TARGET, atomic_path, machine, np_rng
from vcc_nb.training.curriculum import ProgressiveGeneTraining, phase_genes, train_in_phases
from vcc_nb.effects.base import NoChange, TrainingMean, make_effects
from vcc_nb.effects.network import NetworkEffects
from vcc_nb.challenge.compare import score_methods
from vcc_nb.challenge.scores_2025 import score_effects
from vcc_nb.genes.selection import BiologicalGeneSelector
from vcc_nb.genes.likeness import gene_features
from vcc_nb.genes.network import gene_network
from vcc_nb.data.screen import open_screen
from vcc_nb.data.splits import make_split
from vcc_nb.model.losses import mean_squared
from vcc_nb.training.gradients import predicted_change
from vcc_nb.training.loop import validation_batch

settings = dict(papalexi=dict(genes=200, epochs=48, per_target=16), simulated=dict(genes=1000, epochs=48, per_target=6),
    miniature=dict(genes=100, epochs=4, per_target=4), rates=dict(learning_rates=(5e-4, 5e-3)))
shared = dict(model_sizes=dict(embed_dim=32, n_heads=4, n_layers=2, attention_type='sparse', dropout=.1),
    batch_options=dict(batch_size=32, set_size=64, prefetch=0), learning_rate=2e-3, progress=False)

def variants(plan, epochs):
    "Name -> phases, epochs and options. The standard has as many epochs as show it the same gene-tokens."
    n, dealt = plan.final_target_genes, plan.epochs(epochs); same = round(sum(p.n_genes*e for p, e in zip(plan.phases, dealt))/n)
    grow = dict(phases=plan.phases, epochs=dealt); alone = lambda e: dict(phases=[n], epochs=[e])
    early = [max(1, e//4) for e in dealt[:-1]]; brief = [*early, round(same - sum(p.n_genes*e for p, e in zip(plan.phases, early))/n)]
    return {'standard': alone(same), 'standard, another seed': alone(same) | dict(seed=100), 'progressive': grow,
        'progressive, optimizer anew': grow | dict(carry_optimizer=False),
        'progressive, from neighbours': grow | dict(new_rows='neighbours'), 'progressive, brief early phases': grow | dict(epochs=brief),
        'last phase alone': alone(dealt[-1]), 'standard, twice the compute': alone(2*same)}

def relative(loss, batch): return loss/batch.change_BG.square().mean().item()

def judged(model, batch):
    "Mean squared error relative to no change."
    model.eval()
    with torch.no_grad(): return relative(mean_squared(predicted_change(model, batch), batch).item(), batch)

def errors(p, real):
    "The squared error of the Effects `p` relative to no change: in all genes, in the targets' own transcripts, in all others; and the own transcripts' share of no change's."
    x, y = np.asarray(p[list(real.obs_names)].X, float), np.asarray(real.X, float)
    own = real.obs_names.to_numpy()[:, None] == real.var_names.to_numpy()
    of = lambda at: float(((x - y)[at]**2).sum()/(y[at]**2).sum()) if at.any() else None       # no target is among the genes
    return {'all genes': of(own | ~own), 'own transcripts': of(own), 'other genes': of(~own),
        'share of own': float((y[own]**2).sum()/(y**2).sum())}

class Watch:
    "After each epoch: gene-tokens so far, and the error relative to no change: in the validation targets on the panel and on ALL genes, and in the test targets, which choose nothing, on all. Its own CPU seconds are kept, to be taken off."
    def __init__(self, panels, features, measured, real, split, screen):
        self.panels, self.features, self.measured, self.real, self.split, self.screen, self.curve, self.seconds = {len(p): p
            for p in panels}, features, measured, real, split, screen, [], 0.
    def __call__(self, record, model):
        start = time.process_time()
        network = NetworkEffects(model, self.panels[record['n_genes']], self.features).fit(self.measured, self.split,
            self.screen.control_mean())
        error = lambda targets: errors(network.predict(targets), self.real[list(targets)])['all genes']
        self.curve.append(dict(epoch=record['epoch'], genes=record['n_genes'],
            tokens=record['n_genes']*record['pseudobulks'] + (self.curve[-1]['tokens'] if self.curve else 0),
            panel=record['valid_loss']/record['no_change_loss'], all_genes=error(self.split.valid),
            test=error(self.split.test)))
        self.seconds += time.process_time() - start

def one(screen, split, seed, name, v, selection, features, measured, fx, per_target):
    "Train one variant: (facts, its Effects of the test targets)."
    panels, spent = phase_genes(selection, v['phases']), [0.]
    def network_of(genes):
        start = time.process_time(); net = gene_network(genes, k=32, hubs=8, screen=screen, split=split, seed=seed)
        spent[0] += time.process_time() - start
        return net
    watch = Watch(panels, features, measured, fx, split, screen)
    options = dict(seed=0) | shared | v | dict(batch_options=shared['batch_options'] | dict(per_target=per_target)); options['seed'] += seed
    start = time.process_time()
    model, history = train_in_phases(screen, split, selection, features, network_of=network_of, on_epoch=[watch], **options)
    seconds = time.process_time() - start - watch.seconds; genes = panels[-1]; last = [c for c in watch.curve if c['genes'] == len(genes)]
    facts = dict(seed=seed, method=name, tokens=watch.curve[-1]['tokens'], epochs=len(history.epochs), seconds=seconds,
        of_which_networks=spent[0], best_epoch=history.best_epoch, last_phase_begins=last[0]['epoch'],
        valid=judged(model, validation_batch(screen, split.valid, genes, features)),
        test=judged(model, validation_batch(screen, split.test, genes, features)), curve=pd.DataFrame(watch.curve).to_dict('list'))
    return facts, NetworkEffects(model, genes, features).fit(measured, split, screen.control_mean()).predict(split.test)

def scores(p, real, control):
    "PDS and MAE, means over targets, and `errors`."
    return {k: float(v) for k, v in score_effects(p, real, control=control).mean().items()} | errors(p, real)

def compare(screen, seed, *, genes, epochs, per_target, truth=None, official=False, only=None, learning_rate=shared['learning_rate']):
    "All variants (or `only` some) and the baselines on one split: a row each."
    split, plan = make_split(screen, seed=seed), ProgressiveGeneTraining(len(screen.genes), genes)
    train_rows = split.rows(screen, 'train'); measured, fx, test = screen.effects(train_rows), screen.effects(), list(split.test)
    features, selection = gene_features(screen.targets, dim=32, panel=screen.genes), BiologicalGeneSelector(genes).select(screen, split)
    gene_network(selection.genes[:50], screen=screen, split=split)      # reads the annotation, which is nobody's time
    rows, predictions = [], {m.name: m.fit(measured, split).predict(test) for m in (NoChange(), TrainingMean())}
    for name, p in predictions.items():
        at = lambda targets: validation_batch(screen, targets, selection.genes, features)
        change = lambda b: relative(float(((p.X[0, screen.gene_index(selection.genes)] - b.change_BG.numpy())**2).mean()), b)
        rows.append(dict(seed=seed, method=name, valid=change(at(split.valid)), test=change(at(split.test))))
    for name, v in variants(plan, epochs).items():
        if only and name not in only: continue
        facts, predictions[name] = one(screen, split, seed, name, v | dict(learning_rate=learning_rate), selection, features, measured, fx,
            per_target); rows.append(facts)
        print(seed, name, {k: round(x, 4) for k, x in facts.items() if isinstance(x, (int, float))}, flush=True)
    predictions['the measured effects'] = make_effects(fx[test].X, test, fx.var_names, method='measured')
    rows.append(dict(seed=seed, method='the measured effects', valid=0., test=0.))
    control = screen.control_mean()
    cells = (score_methods(predictions, screen, seed=seed, threads=1, check=False).groupby('method')[['DES', 'PDS', 'MAE']].mean()
        if official else None)
    for r in rows:
        p = predictions[r['method']]; r |= scores(p, fx[test], control)
        if truth is not None: r |= {f'{k}, truth': v for k, v in scores(p, truth[test][:, fx.var_names], control).items()}
        if official: r |= {f'{k}, official': float(v) for k, v in cells.loc[r['method']].items()}
    return dict(seed=seed, targets={k: len(getattr(split, k)) for k in ('train', 'valid', 'test')}, test_targets=test,
        phases=[p.n_genes for p in plan.phases], phase_epochs=plan.epochs(epochs), rows=rows)

def papalexi(o):
    from vcc_nb.data.embedded import papalexi
    screen = open_screen(papalexi())
    return dict(data='Papalexi 2021, THP-1: real cells, 299 genes, 25 targets',
        runs=[compare(screen, seed, **settings[o.name], official=o.name == 'papalexi', only=o.only) for seed in range(o.seeds)])

def miniature(o): return papalexi(o)

def simulated_screen(seed, n_targets=80):
    "(Screen, true changes of the mean), simulated: 2,000 genes, 20,000 cells of 20,000 UMIs over all 18,080 genes: with fewer, noise hides nearly all effects."
    import anndata as ad
    from vcc_nb.data.embedded import vcc2025_targets
    from vcc_nb.simulation.cells import simulate_screen
    targets = sorted(np_rng(seed, 'targets').choice(vcc2025_targets().query("split == 'train'")[TARGET], n_targets, replace=False))
    adata, truth = simulate_screen(n_cells=20_000, n_genes=2000, targets=targets, depth=20_000, seed=seed)
    return open_screen(adata), ad.AnnData(truth.layers['delta'], obs=truth.obs, var=truth.var)

def simulated(o):
    runs = []
    for seed in range(o.seeds):
        screen, truth = simulated_screen(seed); runs.append(compare(screen, seed, truth=truth, only=o.only, **settings[o.name]))
    return dict(data='simulated: three screens of 20,000 cells, 2,000 genes, 80 targets', runs=runs)

def rates(o):
    from vcc_nb.data.embedded import papalexi
    runs, both = [], ('standard', 'progressive')
    for name, screen in (('papalexi', open_screen(papalexi())), ('simulated', simulated_screen(0)[0])):
        for rate in settings[o.name]['learning_rates']:
            runs.append(dict(data=name, learning_rate=rate, **compare(screen, 0, only=both, learning_rate=rate, **settings[name])))
    return dict(data='Papalexi and simulated, the first split of each', runs=runs)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=list(settings)); p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--only', nargs='*', help='variants'); p.add_argument('--out', default=str(Path(__file__).parent/'results'))
    o = p.parse_args()
    torch.set_num_threads(1); start = time.process_time()
    result = globals()[o.name](o) | dict(settings=settings[o.name], shared=shared, machine=machine(),
        cpu_seconds=time.process_time() - start)
    round_ = lambda x: {k: round_(v) for k, v in x.items()} if isinstance(x, dict) else [round_(v) for v in x] if isinstance(x,
        (list, tuple)) else round(x, 5) if isinstance(x, float) else x
    with atomic_path(Path(o.out)/f'curriculum_{o.name}.json') as f: f.write_text(json.dumps(round_(result)))

if __name__ == '__main__': main()
