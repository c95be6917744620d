"""What a response atlas is worth: K562 with the atlas of RPE1, RPE1 with that of K562, and with an atlas of half of the genes.

    python nbs/benchmarks/atlas.py --seeds 3

Ten folds over the 585 knock-downs of Replogle 2022 (ranks): share of the true first 100 genes among the 100 predicted highest,
by a kernel ridge on annotation (sources chosen) and by the same with responses. Half-known: the atlas knows every gene of a
random half only. Results: results/atlas.json, written after each seed; `atlas.ipynb` shows them."""
import argparse, json, time
from pathlib import Path
import numpy as np, pandas as pd
from ranks import effects_of, overlaps
from vcc_nb.core import atomic_path, machine, np_rng
from vcc_nb.data.splits import Split
from vcc_nb.effects.atlas import ResponseAtlas
from vcc_nb.effects.held_out import FitOnce, folds_of
from vcc_nb.effects.responses import ResponseRidge
from vcc_nb.effects.ridge import KernelRidge, QuickKernel
from vcc_nb.genes.likeness import annotations, gene_kernel

def one_line(line, other, seed, folds):
    "A row a target: overlap by annotation, with the whole atlas, with that of half the genes."
    effects, elsewhere = effects_of(line), effects_of(other)
    targets = effects.obs_names.to_numpy()
    kernel = QuickKernel(gene_kernel((*annotations, 'name')), targets)
    known = np_rng(seed, 'half of the atlas').random(len(targets)) < .5
    atlases = dict(whole=ResponseAtlas.from_effects(elsewhere), half=ResponseAtlas.from_effects(elsewhere[known]))
    fold, rows = folds_of(len(targets), folds, seed), []
    for k in range(folds):
        train, test = targets[fold != k], targets[fold == k]
        split, truth = Split(train, [], test), effects[test].X
        base = FitOnce(KernelRidge(kernel, choose=True), train)
        found = dict(target=test, known=known[fold == k], seed=seed, line=line,
            annotation=overlaps(base.fit(effects, split).predict(test).X, truth))
        for name, atlas in atlases.items():
            start = time.process_time()
            model = ResponseRidge(atlas, base).fit(effects, split)
            found[name] = overlaps(model.predict(test).X, truth)
            seconds = time.process_time() - start
            found[f'share_{name}'], found[f'seconds_{name}'] = model.share, round(seconds, 1)
        rows.append(pd.DataFrame(found))
        means = rows[-1][['annotation', 'whole', 'half']].mean().round(4).to_dict()
        print(line, seed, k, means, model.share, f'{seconds:.1f} s', flush=True)
    return pd.concat(rows)

def interval(difference, seed=0, n=2000):
    "Mean and 95% bootstrap interval over targets."
    rng = np_rng(seed, 'bootstrap')
    means = [rng.choice(difference, len(difference)).mean() for _ in range(n)]
    return [round(float(x), 4) for x in (np.mean(difference), *np.quantile(means, (.025, .975)))]

def summary(table):
    "Means and paired differences of one line."
    d = table.groupby(['target']).agg({name: 'mean' for name in ('annotation', 'whole')})
    out = dict(annotation=round(d.annotation.mean(), 4), whole=round(d.whole.mean(), 4),
        whole_gain=interval((d.whole - d.annotation).to_numpy()))
    for name, part in table.groupby('known'):
        part = part.groupby(['target', 'seed'])[['annotation', 'half']].mean()
        out['half, ' + ('measured' if name else 'not measured')] = dict(annotation=round(part.annotation.mean(), 4),
            half=round(part.half.mean(), 4), gain=interval((part.half - part.annotation).to_numpy()))
    return out

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--folds', type=int, default=10)
    parser.add_argument('--out', default=str(Path(__file__).parent/'results'))
    o = parser.parse_args()
    elsewhere, tables = {'K562': 'RPE1', 'RPE1': 'K562'}, {'K562': [], 'RPE1': []}
    for seed in range(o.seeds):
        for line, other in elsewhere.items():
            tables[line].append(one_line(line, other, seed, o.folds))
        result = dict(seeds=seed + 1, folds=o.folds, machine=machine(), cpu_seconds=round(time.process_time()))
        for line, parts in tables.items():
            table = pd.concat(parts)
            shares = table.share_whole.value_counts().to_dict()
            result[line] = summary(table) | dict(elsewhere=elsewhere[line], shares=shares)
        with atomic_path(Path(o.out)/'atlas.json') as file: file.write_text(json.dumps(result, indent=1))

if __name__ == '__main__': main()
