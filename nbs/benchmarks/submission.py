"""A submission of full size from a simulated screen, written, checked and packed: time, size and memory. One process a measurement.

    python submission.py --cells 20000                       # both seasons at that size: about two minutes on 2 cores
    python submission.py --cells 5000 20000 80000 --full     # the sizes of the law, then 100,000 cells (2025) and 360,000 (2026)
    python submission.py --lines 40       # a run on three lines, its file for three unseen ones, and what vcc prep says of it

Writes results/submission.json beside this file; with --lines, results/submission_lines.json. The full size of 2026 needs 15 GB of disk."""
import argparse, json, os, subprocess, sys, tempfile, threading, time
from pathlib import Path

contexts = dict(A='iPSC', B='K562', C='A549')
full = {'2025': 100_000, '2026': 360_000}

def prepare(season, targets, controls, depth, folder):
    "A simulated screen with the control cells and true effects of a season, on its own number of genes."
    import anndata as ad, numpy as np, pandas as pd, scipy.sparse as sp
    from vcc_nb.data.embedded import vcc2025_genes, vcc2025_targets
    from vcc_nb.challenge.seasons import seasons
    from vcc_nb.challenge.write import expand_effects
    names = [*seasons['2025'].targets, *vcc2025_targets().target_gene[:100]]; names += [g for g in vcc2025_genes()[::100] if g not in names]
    names, kinds = names[:targets], list(contexts.values()) if season == '2026' else ['iPSC']
    from vcc_nb.simulation.cells import simulate_screen
    adata, truth = simulate_screen(n_cells=len(kinds)*(controls + 10*targets), targets=names, contexts=kinds, cells_per_target=10,
        depth=depth, seed=0)
    effects = ad.AnnData(truth.layers['delta'], obs=truth.obs[['target_gene', 'context']].astype(str), var=truth.var[[]])
    back = {v: k for k, v in contexts.items()}; adata = adata[adata.obs.target_gene == 'non-targeting'].copy()
    more = [f'SIMULATED{i}' for i in range(seasons[season].n_genes - adata.n_vars)]
    adata = ad.AnnData(sp.hstack([adata.X, sp.csr_matrix((adata.n_obs, len(more)), dtype='float32')], format='csr'),
        obs=adata.obs[['target_gene', 'context']].astype(str), var=pd.DataFrame(index=[*adata.var_names, *more]))
    for a in (adata, effects): a.obs['context'] = a.obs.context.map(back); a.obs_names = [f'row{i}' for i in range(a.n_obs)]
    expand_effects(effects, adata.var_names).write_h5ad(f'{folder}/effects.h5ad'); adata.write_h5ad(f'{folder}/controls.h5ad')

def measure(season, cells, folder):
    "Submit, and print what it took."
    import anndata as ad
    from vcc_nb.core import peak_memory_gb
    from vcc_nb.data.screen import open_screen
    from vcc_nb.challenge.seasons import complete_season
    from vcc_nb.challenge.write import make_submission, submission_estimate
    screen, effects = open_screen(f'{folder}/controls.h5ad', backed=True, min_cells=1,
        context_key='context' if season == '2026' else False), ad.read_h5ad(f'{folder}/effects.h5ad')
    from dataclasses import replace
    if season == '2025': del effects.obs['context']
    rule = complete_season(season, controls=screen, targets=effects.obs.target_gene.unique())
    n = len(rule.targets)*len(rule.contexts or [1])
    controls = min(int(screen.is_control.sum()), cells//3) if season == '2025' else 0
    each = (cells - controls)//n; rule = replace(rule, cells_per_target=each) if season == '2026' else rule
    options = dict(season=rule, path=f'{folder}/submission.vcc', n_cells=each, n_controls=cells - each*n if season == '2025' else None)
    expected = vars(submission_estimate(effects, screen, **options)); start, cpu = time.perf_counter(), time.process_time()
    table = make_submission(effects, screen, **options)
    print(json.dumps(dict(season=season, genes=rule.n_genes, targets=len(rule.targets), expected=expected, peak_gb=peak_memory_gb(),
        wall_seconds=time.perf_counter() - start, cpu_seconds=time.process_time() - cpu, findings=table.values.tolist(),
        **{k: v for k, v in table.attrs.items() if k != 'path'})))

# three lines with screens, three with control cells only

learned, unseen = ('K562', 'A549', 'THP-1'), dict(A='iPSC', B='CD8 T', C='iPSC-neuron')

def prepare_lines(n_targets, n_controls, depth, folder):
    """Screens of three lines (18,080 genes; three of four targets, 100 cells each), a file of control cells of three others
    (18,533 genes), and the list of targets. The genes that 2025 does not have get the counts of others, a cell further on."""
    import anndata as ad, numpy as np, pandas as pd, scipy.sparse as sp
    from vcc_nb.challenge.seasons import seasons
    from vcc_nb.simulation.lines import simulate_screens
    lines = dict.fromkeys(learned, n_targets*3//4) | dict.fromkeys(unseen.values(), 0)
    screens, truth = simulate_screens(lines, targets=n_targets, n_controls=n_controls, depth=depth, path=folder)
    pd.DataFrame({'target_gene': truth.obs.target_gene.unique()}).to_csv(f'{folder}/pert_counts.csv', index=False)
    parts = []
    for name, line in unseen.items():
        cells = screens[line].to_memory()
        screens[line].file.close()
        n_more = seasons['2026'].n_genes - cells.n_vars
        more = sp.vstack([cells.X[1:, :n_more], cells.X[:1, :n_more]])
        var = pd.DataFrame(index=[*cells.var_names, *(f'SIMULATED{i}' for i in range(n_more))])
        obs = cells.obs[['target_gene']].astype(str).assign(context=name)
        parts.append(ad.AnnData(sp.hstack([cells.X, more], format='csr'), obs=obs, var=var))
    ad.concat(parts).write_h5ad(f'{folder}/controls.h5ad')
    pd.Series(var.index, name='gene_name').to_csv(f'{folder}/gene_names.csv', index=False)

def train_lines(folder):
    "A run across the lines; print what it took."
    from vcc_nb import ScaledTrainingPipeline, create_training_config
    start = time.perf_counter()
    config = create_training_config('standard', data=[f'{folder}/{line}.h5ad' for line in learned], backed=True,
        hold_out='context', season='2026', fast_scores=True, target_genes=500, epochs=3, embed_dim=16, n_layers=1,
        device='cpu', memory_gb=2, scores_gb=.5, output_dir=f'{folder}/run')
    ScaledTrainingPipeline(config, progress=False).run()
    print(json.dumps(dict(run_seconds=time.perf_counter() - start)))

def submit_lines(folder):
    "The file of that run for the other lines; print what it took."
    from vcc_nb import submit
    start = time.perf_counter()
    expected, table = submit(f'{folder}/run', '2026', f'{folder}/submission.h5ad', controls=f'{folder}/controls.h5ad',
        targets=f'{folder}/pert_counts.csv')
    made = {name: value for name, value in table.attrs.items() if name != 'path'}
    print(json.dumps(dict(expected=vars(expected), submit_seconds=time.perf_counter() - start,
        findings=table.values.tolist(), **made)))

def vcc_prep(folder):
    "What the official tool says of the file, and what it took."
    import shutil
    beside = Path(sys.executable).with_name('vcc')
    tool = beside if beside.exists() else shutil.which('vcc')
    if not tool: return dict(accepted=None, said='vcc prep is not installed here')
    start = time.perf_counter()
    tool_process = subprocess.Popen([tool, 'prep', 'submission.h5ad', '-g', 'gene_names.csv', '--perts', 'pert_counts.csv',
        '--contexts', ','.join(unseen), '-o', 'official.vcc'], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = [line for line in tool_process.stdout.read().splitlines() if line.strip()]
    _, status, usage = os.wait4(tool_process.pid, 0)
    return dict(accepted=status == 0, said=said[-3:], tool_seconds=time.perf_counter() - start, tool_peak_gb=usage.ru_maxrss/2**20)

def watched(step, folder, command, env):
    "Run a step in a process of its own: what it prints, and the most memory that it held itself and had mapped."
    from pipeline import peaks, read_samples, watch
    looks = f'{folder}/memory_{step}'
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    looking = threading.Thread(target=watch, args=(process.pid, looks, .02))
    looking.start()
    said = process.communicate()[0]
    looking.join()
    if process.returncode: sys.exit(f'{step} failed, see above')
    held = peaks(read_samples([looks]), {step: (0, float('inf'))})[step]
    return json.loads(said.splitlines()[-1]) | {f'{step}_{name}': value for name, value in held.items()}

def lines_stage(o, child, command, env):
    "The whole job of 2026 on simulated lines."
    from vcc_nb.core import atomic_path, machine
    with tempfile.TemporaryDirectory(dir=o.folder) as folder:
        child('prepare_lines', '2026', o.lines, folder)
        measured = {}
        for step in ('train_lines', 'submit_lines'):
            measured |= watched(step, folder, command(step, '2026', o.lines, folder), env)
        measured |= vcc_prep(folder)
    print({name: value for name, value in measured.items() if name.endswith('_gb') or name in ('cells', 'findings', 'accepted', 'said')})
    with atomic_path(Path(o.out)/'submission_lines.json') as path:
        path.write_text(json.dumps(dict(machine=machine(), data='simulated', depth=o.depth, targets=o.lines) | measured, indent=1))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--cells', type=int, nargs='*', default=[20_000],
        help='cells in the file (2026: the nearest below that gives all targets the same number)')
    p.add_argument('--full', action='store_true', help='the full size of each season, too')
    p.add_argument('--seasons', nargs='+', default=['2025', '2026'], choices=list(full))
    p.add_argument('--targets', type=int, nargs=2, default=[50, 300], help='targets of 2025 and 2026')
    p.add_argument('--controls', type=int, nargs=2, default=[38_176, 10_000], help='control cells of a context, 2025 and 2026')
    p.add_argument('--depth', type=float, default=4000., help='median UMIs of a simulated cell')
    p.add_argument('--folder', help='for the files, which are removed (default: the temporary folder)')
    p.add_argument('--out', default=str(Path(__file__).parent/'results'))
    p.add_argument('--lines', type=int, metavar='TARGETS', help='instead: a run on three lines, and its file for three unseen ones')
    p.add_argument('--run', nargs=4, metavar=('WHAT', 'SEASON', 'N', 'FOLDER'), help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.run:
        what, season, n, folder = o.run; i = season == '2026'
        if what == 'prepare_lines': return prepare_lines(int(n), o.controls[1], o.depth, folder)
        if what in ('train_lines', 'submit_lines'): return globals()[what](folder)
        return measure(season, int(n), folder) if what == 'measure' else prepare(season, o.targets[i], o.controls[i], o.depth, folder)
    from vcc_nb.core import atomic_path, machine
    env, runs = os.environ | dict(OMP_NUM_THREADS='1', TQDM_DISABLE='1'), []
    sizes = ['--targets', *map(str, o.targets), '--controls', *map(str, o.controls), '--depth', str(o.depth)]
    command = lambda *run: [sys.executable, __file__, *sizes, '--run', *map(str, run)]
    child = lambda *run: subprocess.run(command(*run), check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
    if o.lines: return lines_stage(o, child, command, env)
    for season in o.seasons:
        with tempfile.TemporaryDirectory(dir=o.folder) as d:
            child('prepare', season, 0, d)
            for n in [*o.cells, *([full[season]] if o.full else [])]:
                runs.append(json.loads(child('measure', season, n, d).splitlines()[-1]))
                print({k: runs[-1][k] for k in ('season', 'cells', 'wall_seconds', 'peak_gb', 'gb', 'findings')}, flush=True)
    with atomic_path(Path(o.out)/'submission.json') as p:
        p.write_text(json.dumps(dict(machine=machine(), data='simulated', depth=o.depth, runs=runs), indent=1))

if __name__ == '__main__': main()
