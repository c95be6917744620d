"""Scoring a prediction for 2025 with cell-eval and with QuickScorer, on the same simulated cells, in turn. One process a measurement, one thread.

    python evaluation.py                                  # 100 perturbations x 5,000 genes, 100 cells each, two pairs: a few minutes
    python evaluation.py --targets 20 --genes 500         # a miniature

Writes results/evaluation_<targets>x<genes>.json beside this file."""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path

def simulated(folder, targets, genes, cells, controls, seed=0):
    "Write the measured cells and cells predicted for them (the true effects of other cells of the same targets, half as large)."
    from vcc_nb.data.embedded import vcc2025_targets
    from vcc_nb.challenge.scorers import real_cells
    from vcc_nb.challenge.cells import generate_cells
    from vcc_nb.data.screen import open_screen
    from vcc_nb.simulation.cells import simulate_screen
    names = vcc2025_targets().query("split == 'train'").target_gene.tolist()[:targets]
    screen = open_screen(simulate_screen(n_cells=controls + cells*targets, n_genes=genes, targets=names, cells_per_target=cells, seed=seed,
        depth=20_000)[0])
    effects = screen.effects(); effects.X = effects.X*.5
    for name, a in (('real', real_cells(screen, names)), ('pred', generate_cells(effects, screen))): a.write_h5ad(f'{folder}/{name}.h5ad')

def official(pred, real):
    "What cell-eval takes for both files; and again, given its tests of the real cells."
    from cell_eval import MetricsEvaluator
    tests = None
    for stage in ('score', 'again'):
        with tempfile.TemporaryDirectory() as d:
            scorer = MetricsEvaluator(pred, real, control_pert='non-targeting', pert_col='target_gene', num_threads=1,
                outdir=d, de_real=tests)
            table, _ = scorer.compute(profile='vcc', write_csv=False, break_on_error=True)
        tests = scorer.de_comparison.real.data
        yield stage, table.to_pandas().set_index('perturbation')[['overlap_at_N', 'discrimination_score_l1',
            'mae']].sort_index().set_axis(['DES', 'PDS', 'MAE'], axis=1)

def quick(pred, real):
    "What QuickScorer takes for the real cells, once, and for a prediction, every time."
    from vcc_nb.challenge.scores_2025 import QuickScorer
    scorer = QuickScorer(real, threads=1)
    yield 'prepare', None
    yield 'again', scorer(pred)

def measure(method, folder, warm):
    "CPU and wall seconds of each stage, after a run on the miniature in `warm` that compiles the kernels; the scores."
    import anndata as ad
    for d in (warm, folder):
        pred, real = (ad.read_h5ad(f'{d}/{n}.h5ad') for n in ('pred', 'real'))
        stages, (cpu, wall) = {}, (time.process_time(), time.perf_counter())
        for stage, table in globals()[method](pred, real):
            now = time.process_time(), time.perf_counter(); stages[stage] = dict(cpu=now[0] - cpu, wall=now[1] - wall); cpu, wall = now
    from vcc_nb.core import peak_memory_gb
    print('\n' + json.dumps(dict(method=method, stages=stages, peak_gb=peak_memory_gb(),
        scores={c: table[c].astype(float).tolist() for c in table})))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--targets', type=int, default=100); p.add_argument('--genes', type=int, default=5_000)
    p.add_argument('--cells', type=int, default=100, help='cells of each target'); p.add_argument('--controls', type=int, default=2_000)
    p.add_argument('--pairs', type=int, default=2)
    p.add_argument('--out', default=str(Path(__file__).parent/'results'))
    p.add_argument('--run', nargs=3, metavar=('METHOD', 'FOLDER', 'WARM'), help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.run: return measure(*o.run)
    from vcc_nb.core import atomic_path, machine
    with tempfile.TemporaryDirectory() as d, tempfile.TemporaryDirectory() as warm:
        simulated(d, o.targets, o.genes, o.cells, o.controls); simulated(warm, 3, 50, 10, 50); rows = []
        one = os.environ | {v: '1' for v in ('NUMBA_NUM_THREADS', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'POLARS_MAX_THREADS')}     # waiting threads burn CPU seconds too
        for pair in range(o.pairs):
            for m in ('official', 'quick'):
                r = subprocess.run([sys.executable, __file__, '--run', m, d, warm], capture_output=True, text=True, env=one)
                if r.returncode: raise SystemExit(r.stderr[-2000:])
                rows.append(json.loads(r.stdout.splitlines()[-1]) | dict(pair=pair, load=os.getloadavg()[0]))
                print({k: v for k, v in rows[-1].items() if k != 'scores'}, flush=True)
        gap = max(abs(a - b) for i in range(0, len(rows), 2) for c in rows[i]['scores']
            for a, b in zip(rows[i]['scores'][c], rows[i+1]['scores'][c]))
        for r in rows: r['mean'] = {c: sum(v)/len(v) for c, v in r.pop('scores').items()}
        result = dict(targets=o.targets, genes=o.genes, cells=o.cells, controls=o.controls, machine=machine(), data='simulated',
            largest_difference=gap, runs=rows)
    with atomic_path(Path(o.out)/f'evaluation_{o.targets}x{o.genes}.json') as p: p.write_text(json.dumps(result, indent=1))

if __name__ == '__main__': main()
