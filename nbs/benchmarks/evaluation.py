"""Scoring a prediction with the organisers' program and by blocks, on the same simulated cells, in turn. One process a measurement, one thread.

    python evaluation.py                                  # 2025, 100 perturbations x 5,000 genes, 100 cells each, two pairs: a few minutes
    python evaluation.py --targets 20 --genes 500         # a miniature
    python evaluation.py --season 2026 --targets 4 --genes 18080 --cells 400 --controls 6000 --pairs 1
    python evaluation.py --season 2026 --targets 8 --genes 18080 --cells 400 --controls 18400 --pairs 1 --only blocks_2026 --name full

Writes results/evaluation_<targets>x<genes>.json beside this file; of 2026 results/evaluation_2026_<name or targets x genes>.json."""
import argparse, contextlib, json, os, subprocess, sys, tempfile, time
from pathlib import Path

def simulated(folder, targets, genes, cells, controls, season='2025', seed=0):
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
    kind = 'lognorm' if season == '2025' else 'counts'
    real_cells(screen, names, kind=kind).write_h5ad(f'{folder}/real.h5ad')
    generate_cells(effects, screen, kind=kind).write_h5ad(f'{folder}/pred.h5ad')

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

def official_2026(pred, real):
    "What cell-eval2 takes for both files, with the tests of pdex."
    from vcc_nb.challenge.scores_2026 import score_2026
    yield 'score', score_2026(pred, real, threads=1)[0]

def blocks_2026(pred, real):
    "What scoring by blocks takes: once for the controls, once for the real cells, and for a prediction, every time."
    from vcc_nb.challenge.blocks_2026 import BlockScorer2026, control_counts
    def groups(cells):
        labels = cells.obs.target_gene.astype(str).to_numpy()
        return ((target, cells.X[labels == target]) for target in sorted(set(labels) - {'non-targeting'}))
    of_controls = real.X[(real.obs.target_gene == 'non-targeting').to_numpy()]
    def read(): return (of_controls[i:i + 1024] for i in range(0, of_controls.shape[0], 1024))
    controls = control_counts(read, control='non-targeting', memory_gb=1.)
    yield 'controls', None
    scorer = BlockScorer2026(groups(real), controls, real.var_names)
    yield 'real', None
    yield 'score', scorer(groups(pred))

def measure(method, folder, warm):
    "CPU and wall seconds of each stage, after a run on the miniature in `warm` that compiles the kernels; the scores."
    import anndata as ad
    from vcc_nb.core import VCCError, peak_memory_gb
    for d in (warm, folder):
        pred, real = (ad.read_h5ad(f'{d}/{n}.h5ad') for n in ('pred', 'real'))
        stages, (cpu, wall) = {}, (time.process_time(), time.perf_counter())
        with contextlib.suppress(VCCError if d == warm else ()):        # a miniature may be too weak to be scored in 2026
            for stage, table in globals()[method](pred, real):
                now = time.process_time(), time.perf_counter(); stages[stage] = dict(cpu=now[0] - cpu, wall=now[1] - wall); cpu, wall = now
    print('\n' + json.dumps(dict(method=method, stages=stages, peak_gb=peak_memory_gb(),
        scores={c: table[c].astype(float).tolist() for c in table})))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--targets', type=int, default=100); p.add_argument('--genes', type=int, default=5_000)
    p.add_argument('--cells', type=int, default=100, help='cells of each target'); p.add_argument('--controls', type=int, default=2_000)
    p.add_argument('--pairs', type=int, default=2)
    p.add_argument('--season', default='2025', choices=['2025', '2026']); p.add_argument('--only', help='one method'); p.add_argument('--name')
    p.add_argument('--out', default=str(Path(__file__).parent/'results'))
    p.add_argument('--run', nargs=3, metavar=('METHOD', 'FOLDER', 'WARM'), help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.run: return measure(*o.run)
    from vcc_nb.core import atomic_path, machine
    with tempfile.TemporaryDirectory() as d, tempfile.TemporaryDirectory() as warm:
        simulated(d, o.targets, o.genes, o.cells, o.controls, o.season); simulated(warm, 3, 50, 40, 80, o.season); rows = []
        methods = ['official', 'quick'] if o.season == '2025' else ['official_2026', 'blocks_2026']
        methods = [o.only] if o.only else methods
        one = os.environ | {v: '1' for v in ('NUMBA_NUM_THREADS', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'POLARS_MAX_THREADS')}     # waiting threads burn CPU seconds too
        for pair in range(o.pairs):
            for m in methods:
                r = subprocess.run([sys.executable, __file__, '--run', m, d, warm], capture_output=True, text=True, env=one)
                if r.returncode: raise SystemExit(r.stderr[-2000:])
                rows.append(json.loads(r.stdout.splitlines()[-1]) | dict(pair=pair, load=os.getloadavg()[0]))
                print({k: v for k, v in rows[-1].items() if k != 'scores'}, flush=True)
        gap = None if o.only else max(abs(a - b) for i in range(0, len(rows), 2) for c in rows[i]['scores']
            for a, b in zip(rows[i]['scores'][c], rows[i+1]['scores'][c]) if a == a or b == b)
        for r in rows: r['mean'] = {c: sum(v)/len(v) for c, v in r.pop('scores').items()}       # NaN: of no value
        result = dict(targets=o.targets, genes=o.genes, cells=o.cells, controls=o.controls, machine=machine(), data='simulated',
            largest_difference=gap, runs=rows)
    name = o.name or f'{o.targets}x{o.genes}'
    with atomic_path(Path(o.out)/f'evaluation_{"2026_" if o.season == "2026" else ""}{name}.json') as p: p.write_text(json.dumps(result, indent=1))

if __name__ == '__main__': main()
