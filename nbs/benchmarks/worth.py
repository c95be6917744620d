"""What each kind of knowledge is worth for a knock-down that nobody measured in this line: K562 and RPE1, both ways.

    python worth.py             # ten folds over 585 knock-downs in both lines, one seed: six minutes on one core
    python worth.py --seeds 3   # three times that

The ranks of Replogle 2022; share of the true first 100 genes among the 100 predicted highest. All methods are fitted on
the same training targets, and choose whatever they choose within these. Three questions, by what was measured of the
target: in neither line; in the other line; in the other line, and nothing of this one at all.
Writes results/effects_worth.json beside this file; `effects.ipynb` shows it."""
import argparse, json, time
from pathlib import Path
import anndata as ad, numpy as np, pandas as pd
from effects import AsItIs, compact, folds_of, overlap
from vcc_nb.core import CONTEXT, TARGET, atomic_path, machine
from vcc_nb.data.embedded import replogle_up_ranks
from vcc_nb.data.splits import Split
from vcc_nb.effects.atlas import ResponseAtlas
from vcc_nb.effects.base import EffectModel, TrainingMean
from vcc_nb.effects.held_out import FitOnce, out_of_fold, row_noise, stack_weights
from vcc_nb.effects.responses import ResponseRidge
from vcc_nb.effects.ridge import KernelRidge, QuickKernel
from vcc_nb.effects.tables import read_effects
from vcc_nb.effects.transfer import Transfer
from vcc_nb.genes.likeness import annotations, gene_features, gene_kernel
from vcc_nb.genes.sets import libraries, relations

inner_folds = 3     # of the training targets, where a method weighs others

def principal_coordinates(X, dims):
    "(rows, dims) of the rows of X along its principal components, columns centred."
    axes, sizes, _ = np.linalg.svd(X - X.mean(0), full_matrices=False)
    return axes[:, :dims]*sizes[:dims]

class LinearModel(EffectModel):
    """Y = G W P' + b: genes by principal components of the training effects, a perturbation by the row of its own gene.

    The linear model of Ahlmann-Eltze, Huber and Anders (Nature Methods 2025), with its ten components and penalty of 0.1. With
    `elsewhere`, perturbations by principal components of another screen, as their best one has them. Of a perturbation
    that has no row it says b, the training mean."""
    name = 'linear model'
    def __init__(self,
        elsewhere:ad.AnnData=None,  # effects in another line; None: P from the training effects
        dims:int=10,
        penalty:float=.1,
    ):
        self.elsewhere, self.dims, self.penalty = elsewhere, dims, penalty

    def learn(self, train):
        Y = np.asarray(train.X, np.float64).T
        self.G = principal_coordinates(Y, self.dims)
        self.embedding = pd.DataFrame(self.G, train.var_names)
        if self.elsewhere is not None:
            of_targets = principal_coordinates(np.asarray(self.elsewhere.X, np.float64), self.dims)
            self.embedding = pd.DataFrame(of_targets, self.elsewhere.obs[TARGET])
        has_row = train.obs[TARGET].isin(self.embedding.index).to_numpy()
        self.b = Y.mean(1)
        P, Y = self.embedding.loc[train.obs[TARGET][has_row]].to_numpy(), Y[:, has_row]
        left, right = (np.linalg.inv(A.T @ A + self.penalty*np.eye(self.dims)) for A in (self.G, P))
        self.W = left @ self.G.T @ (Y - self.b[:, None]) @ P @ right

    def answer(self, targets):
        P = self.embedding.reindex(targets).fillna(0).to_numpy()
        return (self.G @ self.W @ P.T).T + self.b, None

class VectorRidge(EffectModel):
    "Ridge regression on gene vectors of all libraries, the penalty by leave-one-out (scikit-learn's `RidgeCV`)."
    name = 'ridge on gene vectors'
    def __init__(self, vectors): self.vectors = vectors     # table genes x numbers
    def learn(self, train):
        from sklearn.linear_model import RidgeCV
        vectors = self.vectors.loc[train.obs[TARGET]].to_numpy()
        self.fitted = RidgeCV(np.logspace(-2, 2, 9)).fit(vectors, np.asarray(train.X, np.float64))
    def answer(self, targets): return self.fitted.predict(self.vectors.loc[targets].to_numpy()), None

class BothLines(EffectModel):
    "A ridge of this line and one of the other, neither of which has seen the target, weighed out of fold."
    name = 'ridges of both lines'
    def __init__(self, here, there, elsewhere): self.here, self.there, self.elsewhere = here, there, elsewhere
    def learn(self, train):
        parts = (self.here, train), (self.there, self.elsewhere[train.obs_names].copy())
        unseen = [out_of_fold(ridge, effects, folds=inner_folds)[0] for ridge, effects in parts]
        self.weights = stack_weights(unseen, np.asarray(train.X, np.float64), row_noise(train))
    def answer(self, targets):
        said = [ridge.predict(targets).X for ridge in (self.here, self.there)]
        return sum(weight*change for weight, change in zip(self.weights, said)), None

class Lines:
    "Effects, true first genes, atlases and kernels of the two lines."
    def __init__(self, names=('K562', 'RPE1')):
        tables = {line: replogle_up_ranks(line) for line in names}
        self.first = {line: table[table['rank'] < 100].groupby(TARGET).gene.agg(set).to_dict()
            for line, table in tables.items()}
        self.effects = {line: read_effects(table, score='1/(1+rank/100)') for line, table in tables.items()}
        here, there = self.effects.values()
        assert here.obs_names.equals(there.obs_names) and here.var_names.equals(there.var_names)
        for line, effects in self.effects.items(): effects.obs[CONTEXT] = line
        self.other = dict(zip(names, names[::-1]))
        self.atlas = {line: ResponseAtlas.from_effects(effects) for line, effects in self.effects.items()}
        self.targets = here.obs_names.tolist()
        self.kernel = QuickKernel(gene_kernel((*annotations, 'name')), self.targets)
        self.with_relations = QuickKernel(gene_kernel((*annotations, *relations, 'name')), self.targets)
        self.vectors = gene_features(self.targets, sources=list(libraries))
        everyone = Split(self.targets, [], [])
        self.smoothed = {line: KernelRidge(self.with_relations).fit(effects, everyone)
            for line, effects in self.effects.items()}

def methods_of(lines, line, ridges):
    "Name -> method, not fitted; `ridges`: of each line, fitted on the training targets."
    there = lines.effects[lines.other[line]]
    ridge, atlas = ridges[line], lines.atlas[lines.other[line]]
    return {'training mean': TrainingMean(), 'annotation': KernelRidge(lines.kernel), 'and relations': ridge,
        'and the other line': BothLines(ridge, ridges[lines.other[line]], there),
        'and own effect elsewhere': Transfer(there, ridge, folds=inner_folds),
        'and responses elsewhere': ResponseRidge(atlas, ridge),
        'and both elsewhere': Transfer(there, ResponseRidge(atlas, ridge), folds=inner_folds),
        'linear model': LinearModel(), 'linear model, other line': LinearModel(there),
        'ridge on gene vectors': VectorRidge(lines.vectors)}

def predictions(lines, split):
    "Yield line, method and what it says of the test targets."
    ridges = {line: FitOnce(KernelRidge(lines.with_relations), split.train).fit(effects, split)
        for line, effects in lines.effects.items()}
    for line, effects in lines.effects.items():
        for name, method in methods_of(lines, line, ridges).items():
            yield line, name, method.fit(effects, split).predict(split.test)
        other = lines.other[line]           # now nothing of this line is known
        yield line, 'only there: mean', TrainingMean().fit(lines.effects[other], split).predict(split.test)
        yield line, 'only there: relations', ridges[other].predict(split.test)
        as_it_is = AsItIs(lines.effects[other]).fit(lines.effects[other], split)
        yield line, 'only there: own effect', as_it_is.predict(split.test)
        yield line, 'only there: own effect, smoothed', lines.smoothed[other].predict(split.test)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--folds', type=int, nargs='+', default=range(10), help='which of the ten; all if not said')
    parser.add_argument('--out', default=str(Path(__file__).parent/'results'))
    o = parser.parse_args()
    lines, rows = Lines(), []
    for seed in range(o.seeds):
        for k, split in folds_of(lines.targets, seed):
            if k not in o.folds: continue
            start = time.process_time()
            for line, name, predicted in predictions(lines, split):
                found = overlap(predicted, lines.first[line])
                rows += [dict(line=line, method=name, seed=seed, target=target, overlap=x)
                    for target, x in found.items()]
            print(f'seed {seed}, fold {k}: {time.process_time() - start:.0f} CPU s', flush=True)
        print(pd.DataFrame(rows).groupby(['method', 'line'], sort=False).overlap.mean().unstack().round(4), flush=True)
    means = pd.DataFrame(rows).groupby(['method', 'line', 'target'], sort=False).overlap.mean().reset_index()
    result = dict(data='Replogle 2022, 585 knock-downs in K562 and in RPE1, overlap of the first 100', seeds=o.seeds,
        scores=compact(means.to_dict('records'), ['overlap']), machine=machine())
    with atomic_path(Path(o.out)/'effects_worth.json') as file: file.write_text(json.dumps(result))

if __name__ == '__main__': main()
