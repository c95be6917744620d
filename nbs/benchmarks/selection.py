"""Gene selection on a simulated screen of the challenge's shape, against scanpy answering the same questions in memory. One process a measurement.

    python selection.py --by-column              # 20,000 cells, two pairs: about a minute on 2 cores
    python selection.py --cells 221273           # the size of the real challenge: about five minutes, 5 GB of disk, 8 GB of memory for scanpy

Writes results/selection_<cells>.json beside this file."""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path

def ours(path, genes):
    "Open and check the file on disk, then rank its genes with biology, response and variability."
    from vcc_nb.data.screen import open_screen
    from vcc_nb.genes.selection import BiologicalGeneSelector
    yield 'imported'
    BiologicalGeneSelector(genes).select(open_screen(path, backed=True))

def scanpy(path, genes):
    "Variable genes (seurat_v3), normalise, log, and a t-test of every target against control, in memory."
    import anndata, scanpy as sc
    yield 'imported'
    a = anndata.read_h5ad(path)
    yield 'loaded'
    sc.pp.highly_variable_genes(a, n_top_genes=genes, flavor='seurat_v3')
    sc.pp.normalize_total(a); sc.pp.log1p(a)
    sc.tl.rank_genes_groups(a, 'target_gene', reference='non-targeting', method='t-test')

def turned(path, by_column):
    "The same screen stored by column, written by a process of its own."
    turn = "import sys, anndata as ad; a = ad.read_h5ad(sys.argv[1]); a.X = a.X.tocsc(); a.write_h5ad(sys.argv[2])"
    subprocess.run([sys.executable, '-c', turn, path, by_column], check=True); return by_column

def measure(method, path, genes):
    "CPU seconds of each stage, wall seconds, peak memory: printed by a process of its own."
    from vcc_nb.core import peak_memory_gb
    marks, start = {'start': time.process_time()}, time.perf_counter()
    for stage in globals()[method](path, genes): marks[stage] = time.process_time()
    marks['done'] = time.process_time()
    cpu = dict(zip(list(marks)[1:], (b - a for a, b in zip(marks.values(), list(marks.values())[1:]))))
    print(json.dumps(dict(method=method, cpu_seconds=cpu, wall_seconds=time.perf_counter() - start, peak_gb=peak_memory_gb())))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--cells', type=int, default=20_000); p.add_argument('--genes', type=int, default=5_000, help='genes to select')
    p.add_argument('--pairs', type=int, default=2)
    p.add_argument('--by-column', action='store_true',
        help='also measure ours on the same matrix stored by column, which is turned in memory first')
    p.add_argument('--out', default=str(Path(__file__).parent/'results'))
    p.add_argument('--run', nargs=2, metavar=('METHOD', 'FILE'), help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.run: return measure(*o.run, o.genes)
    from vcc_nb.core import atomic_path, machine
    from vcc_nb.simulation.cells import simulate_screen
    with tempfile.TemporaryDirectory() as d:
        path = f'{d}/simulated.h5ad'; simulate_screen(n_cells=o.cells, path=path, seed=0); rows = []
        small = f'{d}/warm.h5ad'; simulate_screen(n_cells=2_000, targets=['TP53', 'MYC'], path=small, seed=0)
        files = dict(ours=path, scanpy=path) | ({'ours by column': turned(path, f'{d}/by_column.h5ad')} if o.by_column else {})
        one = os.environ | dict(NUMBA_NUM_THREADS='1', OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')     # waiting threads burn CPU seconds too, the more the busier the machine
        child = lambda method, file: json.loads(subprocess.run([sys.executable, __file__, '--genes', str(o.genes), '--run', method, file],
            check=True, capture_output=True, text=True, env=one).stdout.splitlines()[-1])
        for m in ('ours', 'scanpy'): child(m, small)      # kernels compiled, not counted
        for pair in range(o.pairs):
            for m, file in files.items(): rows.append(child(m.split()[0], file) | dict(method=m, pair=pair)); print(rows[-1], flush=True)
        result = dict(cells=o.cells, file_gb=Path(path).stat().st_size/2**30, machine=machine(), data='simulated', genes=18080,
            selected=o.genes, runs=rows)
    with atomic_path(Path(o.out)/f'selection_{o.cells}.json') as p: p.write_text(json.dumps(result, indent=1))

if __name__ == '__main__': main()
