"""Peak memory of training steps, predicted before and measured after, each in a process of its own; one process at a time.

    python memory.py                                # every kind of attention, 24 configurations a kind and one of 18,080 genes: about ten minutes a kind on 2 cores
    python memory.py --kinds full --sizes 500       # a part of it

Writes results/memory.json beside this file."""
import argparse, json
from dataclasses import asdict
from itertools import product
from pathlib import Path

# (genes, dim, layers, batch): several hundred MiB each
float32 = [(500, 128, 4, 32), (500, 256, 2, 32), (1000, 128, 4, 16), (1000, 64, 6, 32), (2000, 128, 4, 8), (2000, 256, 2, 6),
    (5000, 64, 4, 4), (5000, 256, 4, 2)]
bf16 = [(500, 128, 4, 64), (500, 256, 4, 32), (1000, 128, 4, 32), (1000, 256, 2, 16)]
whole = [(18080, 128, 2, 1)]

def grid(kinds, sizes):
    "The steps: every kind, size and precision, kept whole and with all blocks but one recomputed."
    from vcc_nb.training.memory import TrainingStep
    for kind, (precision, shapes) in product(kinds, (('float32', float32 + whole), ('bf16', bf16))):
        for (genes, dim, layers, batch), recompute in product(shapes, (False, True)):
            if sizes and genes not in sizes or recompute and genes == 18080: continue
            yield TrainingStep(sizes=dict(n_genes=genes, embed_dim=dim, n_heads=4, n_layers=layers, attention_type=kind), batch_size=batch,
                precision=precision, recompute=(layers - 1)*recompute)

def compare(step):
    "One row: what was predicted and what was true, in bytes."
    from vcc_nb.training.memory import estimate, measure
    predicted, true = estimate(step), measure(step)
    row = dict(step=asdict(step), predicted=predicted.peak, process=predicted.parts['process'], measured=true.peak, before=true.before,
        seconds=true.seconds)
    print(f"{step.sizes} batch {step.batch_size} {step.precision} recompute {step.recompute}: {predicted.peak_gb:.3f} GiB predicted, "
        f"{true.peak_gb:.3f} measured ({predicted.peak/true.peak - 1:+.1%}), {true.seconds:.0f} s", flush=True)
    return row

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--kinds', nargs='*', help='kinds of attention; default: all')
    p.add_argument('--sizes', nargs='*', type=int, help='only these numbers of genes')
    p.add_argument('--budget', type=float, default=4., help='GiB for the model of 5,000 genes; 0: leave that out')
    p.add_argument('--out', default=str(Path(__file__).parent/'results'))
    o = p.parse_args()
    from vcc_nb.model.attention import attention_kinds
    from vcc_nb.core import atomic_path, machine
    from vcc_nb.training.memory import TrainingStep, fit_batch, measure
    kinds = o.kinds or list(attention_kinds)
    rows, budget, kept = [compare(s) for s in grid(kinds, o.sizes)], [], []
    for kind, recompute in product(kinds if o.budget else [], (0, 3)):
        if kind == 'full': continue       # a step of twelve such examples takes minutes
        step = TrainingStep(sizes=dict(n_genes=5000, embed_dim=256, n_heads=4, n_layers=4, attention_type=kind), recompute=recompute)
        budget.append(compare(fit_batch(step, o.budget)))
    for row in rows[:2]:
        kept.append(dict(step=row['step'], released=row['measured'], kept=measure(TrainingStep(**row['step']), release=False).peak))
    result = dict(machine=machine(), budget_gb=o.budget, runs=rows, budget=budget, freed_memory_kept=kept)
    with atomic_path(Path(o.out)/'memory.json') as path: path.write_text(json.dumps(result, indent=1))

if __name__ == '__main__': main()
