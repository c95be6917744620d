"""The ranks of Replogle 2022 (K562, RPE1), and how well a prediction finds a target's first genes: for the benchmarks beside this file."""
import numpy as np
from vcc_nb.core import CONTEXT
from vcc_nb.data.embedded import replogle_up_ranks
from vcc_nb.effects.tables import read_effects

def effects_of(line):
    "Scores of the ranks of a line (AnnData: knock-down x gene), 1/(1 + rank/100)."
    effects = read_effects(replogle_up_ranks(line), score='1/(1+rank/100)')
    effects.obs[CONTEXT] = line
    return effects

def first_genes(values, n=100):
    "Places of the n highest of each row."
    return np.argpartition(-values, n, axis=1)[:, :n]

def overlaps(change, truth, n=100):
    "(targets,) share of the true first n genes among those predicted highest; both targets x genes."
    pairs = zip(first_genes(np.asarray(change), n), first_genes(np.asarray(truth), n))
    return np.array([len(np.intersect1d(*pair))/n for pair in pairs])
