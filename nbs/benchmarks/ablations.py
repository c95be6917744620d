"""What each part is worth: the same run without it, on the same splits and seeds.

    python ablations.py papalexi      # real cells, 25 targets, 200 of 299 genes, five splits: a quarter of an hour
    python ablations.py h1            # real cells, 5 targets, 400 of 1,000 genes, five splits: minutes
    python ablations.py simulated     # simulated cells, 60 targets, 400 of 1,000 genes, three splits: half an hour
    python ablations.py k562          # real ranks, 585 knock-downs, 600 of 9,000 genes, three of ten folds: half an hour
    python ablations.py miniature     # a few epochs of the first, to see that it works: a minute

The screens go through `ablate`, as any run can. The table of ranks has no cells: it trains through `train_in_phases`, is scored by the share
of the 100 most risen genes found, and what is taken away is the same. Each writes results/ablations_<name>.json beside this file."""
import argparse, json, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd, scipy.sparse as sp, torch
from vcc_nb.run.ablate import ablate, ablations
from vcc_nb.core import TARGET, atomic_path, machine
from vcc_nb.training.curriculum import ProgressiveGeneTraining, train_in_phases
from vcc_nb.data.embedded import replogle_up_ranks, vcc2025_targets
from vcc_nb.effects.blend import Blend
from vcc_nb.effects.held_out import out_of_fold
from vcc_nb.effects.ridge import KernelRidge, NearestGenes, SharedResponse
from vcc_nb.effects.base import TrainingMean, training_part
from vcc_nb.effects.network import NetworkEffects
from vcc_nb.effects.tables import read_effects
from vcc_nb.genes.likeness import gene_kernel, gene_features
from vcc_nb.genes.evidence import Evidence
from vcc_nb.genes.selection import BiologicalGeneSelector, GeneSelection
from vcc_nb.genes.sets import gene_sets
from vcc_nb.genes.network import gene_network
from vcc_nb.run.pipeline import ScaledTrainingPipeline
from vcc_nb.run.settings import create_training_config
from vcc_nb.simulation.cells import simulate_screen
from vcc_nb.data.splits import Split
from effects import folds_of, overlap

shared = dict(strategy='progressive', batch_size=32, learning_rate=2e-3, embed_dim=32, device='cpu', fast_scores=True)
screens = dict(papalexi=dict(data='papalexi', target_genes=200, epochs=24, splits=5),
               h1=dict(data='vcc_h1_sample', target_genes=400, epochs=24, test=.4, valid=.2, splits=5),
               simulated=dict(target_genes=400, epochs=24, per_target=8, splits=3),
               miniature=dict(data='papalexi', target_genes=60, epochs=4, per_target=4, splits=1))

def simulated_screen():
    return simulate_screen(n_cells=12_000, n_genes=1000, targets=sorted(vcc2025_targets()[TARGET])[::4][:60], depth=20_000,
        predictable=.9, seed=0)[0]

def of_screen(name):
    "Scores of network and blend in every variant, and of the baselines, on each split."
    settings = dict(screens[name]); splits, parts = settings.pop('splits'), []
    adata = None if 'data' in settings else simulated_screen()
    for seed in range(splits):
        with tempfile.TemporaryDirectory() as d:
            run = ScaledTrainingPipeline(create_training_config(**shared, **settings, seed=seed, output_dir=f'{d}/run'), adata,
                progress=False); run.run()
            table = ablate(run.run_dir, adata=adata, progress=False); others = run.scores[~run.scores.method.isin(table.method)]
        parts.append(pd.concat([others.assign(variant='full', seed=seed), table]).assign(split=seed))
        print(name, seed, parts[-1].groupby(['method', 'variant'], sort=False)[['DES', 'PDS', 'MAE']].mean().round(4), sep='\n', flush=True)
    return pd.concat(parts).drop(columns='seed')

def coresponse(Y, k):
    "The `k` genes whose changes go with each gene's over the training perturbations: a network without any knowledge."
    Z = Y - Y.mean(0); Z /= np.maximum(np.linalg.norm(Z, axis=0), 1e-9); C = np.abs(Z.T @ Z); np.fill_diagonal(C, 2)
    rows = np.repeat(np.arange(len(C)), k)
    return sp.csr_matrix((np.ones(len(rows)), (rows, np.argpartition(-C, k - 1, axis=1)[:, :k].ravel())), shape=C.shape)

def of_table(fx, split, c):
    "Kernel ridge, network and blend as a run with the config `c` makes them, from a table of effects."
    seen, n = training_part(fx, split), c.target_genes; Y = np.asarray(seen.X); targets = list(fx.obs_names)
    scores = pd.DataFrame(dict(responsive=np.sqrt((Y**2).mean(0)), variable=Y.std(0), detected=(Y > 0).mean(0)), index=fx.var_names)
    quotas = {n: {'highly variable': n}} if c.selection == 'variable' else None
    ranked = BiologicalGeneSelector(n, quotas=quotas).rank(Evidence([], gene_sets(axis=fx.var_names), scores, {}))
    selection = GeneSelection(ranked.head(n), {}, ranked)
    kernel = gene_kernel().on(targets) if c.priors else None; ridge = KernelRidge(kernel) if c.priors else SharedResponse()
    features = gene_features(targets, dim=c.n_features)*c.priors
    def network(genes):
        if c.neighbours == 1: return sp.identity(len(genes), format='csr')
        return gene_network(genes, k=c.neighbours) if c.priors else coresponse(np.asarray(seen[:, genes].X), min(c.neighbours, len(genes)))
    base = pd.DataFrame(out_of_fold(ridge, seen, folds=5)[0], seen.obs_names, fx.var_names); ridge.fit(fx, split)
    base = pd.concat([base, ridge.predict(split.valid).to_df()])
    plan = ProgressiveGeneTraining(fx.n_vars, n); grow = c.strategy == 'progressive'
    model, history = train_in_phases(fx, split, selection, features, phases=plan.phases if grow else [n],
        epochs=plan.epochs(c.epochs) if grow else [c.epochs], base=base if c.residual else None,
        model_sizes=dict(embed_dim=c.embed_dim, n_layers=c.n_layers, attention_type=c.attention_type),
        batch_options=dict(batch_size=c.batch_size), network_of=network, learning_rate=c.learning_rate, seed=c.seed, progress=False)
    net = NetworkEffects(model, selection.genes, features, base=ridge if c.residual else None).fit(fx, split, np.zeros(fx.n_vars))
    return {'kernel ridge': ridge, 'network': net,
        'blend': Blend([NearestGenes(kernel), ridge] if c.priors else [ridge], ready=[net], folds=3, belief=20).fit(fx, split)}, history

def of_ranks():
    table = replogle_up_ranks(); fx = read_effects(table, score='1/(1+rank/100)')
    truth = table[table['rank'] < 100].groupby(TARGET).gene.agg(set).to_dict(); rows = []
    config = create_training_config(**shared, target_genes=600, epochs=24, neighbours=32)
    for k, s in list(folds_of(list(fx.obs_names), 0))[:3]:
        split = Split([t for i, t in enumerate(s.train) if i % 10], list(s.train)[::10], s.test)
        for variant, change in ({'full': {}} | ablations).items():
            start = time.time(); methods, history = of_table(fx, split, config.but(**change))
            if variant == 'full': methods = {'training mean': TrainingMean().fit(fx, split)} | methods
            for m, model in methods.items():
                if m != 'kernel ridge' or variant in ('full', 'without priors'):
                    rows += [dict(method=m, variant=variant, split=k, perturbation=t, overlap=v)
                        for t, v in overlap(model.predict(split.test), truth).items()]
            mean = pd.DataFrame(rows).query('variant == @variant and split == @k').groupby('method', sort=False).overlap.mean().round(4).to_dict()
            print(k, variant, mean, f'epoch {history.best_epoch} of {len(history.epochs)} kept, {time.time() - start:.0f} s', flush=True)
    return pd.DataFrame(rows)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=[*screens, 'k562']); p.add_argument('--out', default=str(Path(__file__).parent/'results'))
    o = p.parse_args()
    torch.set_num_threads(1); start = time.process_time()
    table = of_ranks() if o.name == 'k562' else of_screen(o.name)
    result = dict(machine=machine(), cpu_seconds=round(time.process_time() - start),
        settings=dict(shared, **screens.get(o.name, dict(target_genes=600, epochs=24))), columns=list(table),
        rows=table.round(5).values.tolist())
    with atomic_path(Path(o.out)/f'ablations_{o.name}.json') as f: f.write_text(json.dumps(result))

if __name__ == '__main__': main()
