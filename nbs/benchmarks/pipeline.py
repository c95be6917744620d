"""The whole pipeline on a simulated screen, in a process of its own: seconds of each step, and the most memory it held.

    python pipeline.py                      # 20,000 cells x 5,000 genes, progressive to 2,500 genes: minutes on 2 cores
    python pipeline.py --cells 2000 --genes 600 --target-genes 200 --epochs 4

Writes results/pipeline_<cells>x<genes>.json beside this file."""
import argparse, json, subprocess, sys, tempfile, time
from pathlib import Path
from vcc_nb.core import atomic_path, machine, peak_memory_gb

def whole(o, d):
    "Run it; what it cost and scored."
    from vcc_nb.run.pipeline import ScaledTrainingPipeline
    from vcc_nb.run.settings import create_training_config
    from vcc_nb.challenge.compare import score_table
    start = time.perf_counter()
    p = ScaledTrainingPipeline(create_training_config('progressive', target_genes=o.target_genes, data=f'{d}/screen.h5ad', epochs=o.epochs,
        per_target=8, batch_size=32, learning_rate=2e-3, embed_dim=64, memory_gb=4, device='cpu', output_dir=f'{d}/run'), progress=False)
    p.run(); seconds = time.perf_counter() - start; speed = p.history.speed_metrics
    return dict(seconds=round(seconds, 1), peak_gb=round(peak_memory_gb(), 3), predicted_gb=round(p.costs['predicted_gb'], 3),
        peak_of_training_gb=round(speed['peak_memory_gb'], 3), steps={k: round(v, 1) for k, v in p.costs['seconds'].items()},
        targets={k: len(getattr(p.split, k)) for k in ('train', 'valid', 'test')},
        phases=p.history.table().groupby('phase').agg(genes=('n_genes', 'first'), epochs=('n_genes', 'size'),
                    seconds=('seconds', 'sum')).round(1).to_dict('list'),
        epochs=len(p.history.epochs), best_epoch=p.history.best_epoch, parameters=speed['parameters'],
        scores={k: {m: round(v, 4) for m, v in s.items()} for k, s in score_table(p.scores).to_dict().items()},
        weights={k: round(v, 3) for k, v in p.result.forecast.weights.items()})

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, n in dict(cells=20_000, genes=5000, target_genes=2500, epochs=16).items():
        a.add_argument(f'--{flag.replace("_", "-")}', type=int, default=n)
    a.add_argument('--out', type=Path, default=Path(__file__).parent/'results'); a.add_argument('--run', help=argparse.SUPPRESS)
    o = a.parse_args()
    if o.run: print(json.dumps(whole(o, o.run))); return
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([sys.executable, '-c', f"from vcc_nb.simulation.cells import simulate_screen; simulate_screen(n_cells={o.cells}, "
            f"n_genes={o.genes}, path='{d}/screen.h5ad')"], check=True)
        r = subprocess.run([sys.executable, __file__, *sys.argv[1:], '--run', d], check=True, stdout=subprocess.PIPE, text=True)
    result = dict(machine=machine(), cells=o.cells, genes=o.genes, target_genes=o.target_genes) | json.loads(r.stdout.splitlines()[-1])
    print(json.dumps(result, indent=1))
    with atomic_path(o.out/f'pipeline_{o.cells}x{o.genes}.json') as p: p.write_text(json.dumps(result, indent=1))

if __name__ == '__main__': main()
