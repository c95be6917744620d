"""One pass over the challenge's data: every cell a sequence of all genes under full attention, beside an epoch of ours.

    python one_pass.py                      # what result files say, as a table
    python one_pass.py --measure            # time the training steps that it needs: minutes on 2 cores
    python one_pass.py --measure --genes 300 --target-genes 100 --out DIR   # a miniature

Measured: training steps of one model (--dim, --layers, those of the run that it is put beside) with
two examples, under full attention at all genes, and under sparse attention at all genes and at those of
the run; attention.py times them, a process each, in turn. Extrapolated from that: as many full steps as
the screen has cells. Not extrapolated: an epoch of the run, from results/pipeline_<cells>x<genes>.json.
Writes results/one_pass.json beside this file."""
import argparse, json, statistics, subprocess, sys, tempfile
from pathlib import Path
import pandas as pd

results = Path(__file__).parent/'results'


def measure(options) -> dict:
    "The steps, several times in turn."
    from attention import write_networks
    from vcc_nb.core import machine
    sizes = [(options.genes, 'full'), (options.genes, 'sparse'), (options.target_genes, 'sparse')]
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        write_networks(f'{folder}/networks.npz', {60, options.genes, options.target_genes})
        common = dict(what='training_step', networks=f'{folder}/networks.npz', small=60, batch=2, dim=options.dim, heads=4,
            layers=options.layers, threads=2, device='cpu', cap_gb=16., seconds=4., precision='float32')
        for number in range(options.rounds):
            for genes, method in sizes:
                step = json.dumps(common | dict(genes=genes, method=method))
                child = subprocess.run([sys.executable, Path(__file__).with_name('attention.py'), '--threads', '2', '--run', step],
                                       check=True, stdout=subprocess.PIPE, text=True)
                run = json.loads(child.stdout.splitlines()[-1]) | dict(round=number)
                del run['networks']
                runs.append(run)
                print({name: run.get(name) for name in ('method', 'genes', 'wall_seconds', 'extra_mb')}, flush=True)
    return dict(machine=machine(), runs=runs)


def median_of(runs, what:str, **which) -> float:
    "The median over rounds of what was measured of a step or a pass."
    values = [run[what] for run in runs if all(run[name] == value for name, value in which.items())]
    return statistics.median(values)


def examples_of(run:dict) -> int:
    "Pseudobulks of an epoch: so many of each training perturbation."
    from vcc_nb.run.settings import create_training_config
    per_target = run['settings'].get('per_target', create_training_config('progressive').training.per_target)
    return run['targets']['train']*per_target


def time_factors(run:dict, steps:list) -> pd.DataFrame:
    "From a pass of every cell under full attention to an epoch of the run: hours, and what each change divides by."
    n_genes, n_few = run['genes'], run['phases']['genes'][-1]
    of_one = {(method, genes): median_of(steps, 'wall_seconds', method=method, genes=genes)/steps[0]['batch']
              for method, genes in (('full', n_genes), ('sparse', n_genes), ('sparse', n_few))}
    n_examples = examples_of(run)
    rows = {f'{run["cells"]:,} cells x {n_genes:,} genes, full attention': run['cells']*of_one['full', n_genes],
            'sparse attention': run['cells']*of_one['sparse', n_genes],
            f'{n_few:,} selected genes': run['cells']*of_one['sparse', n_few],
            f'{n_examples:,} pseudobulks instead of cells': n_examples*of_one['sparse', n_few],
            'as measured in the run: an epoch of its last phase': run['phases']['seconds_an_epoch'][-1]}
    table = pd.DataFrame({'hours': pd.Series(rows)/3600})
    table['divided by'] = table.hours.shift()/table.hours
    table['in all'] = table.hours.iloc[0]/table.hours
    return table


def memory_factors(run:dict, passes:list, steps:list=()) -> pd.DataFrame:
    "MiB beyond the process of what two examples need, all genes under full attention over the run's genes under sparse."
    n_genes, n_few = run['genes'], run['phases']['genes'][-1]
    of_pass = lambda method, genes: median_of(passes, 'extra_mb', method=method, genes=genes, outcome='ran')
    of_step = lambda method, genes: median_of(steps, 'extra_mb', method=method, genes=genes)
    largest = max(p['genes'] for p in passes if p['method'] == 'naive' and p['outcome'] == 'ran')
    written_out = of_pass('naive', largest)*(n_genes/largest)**2
    rows = {'attention alone, full, scores written out (extrapolated)': (written_out, of_pass('sparse', n_few)),
            'attention alone, full, in blocks (SDPA)': (of_pass('full', n_genes), of_pass('sparse', n_few))}
    if steps:
        rows |= {'training step, full in blocks': (of_step('full', n_genes), of_step('sparse', n_few)),
                 'training step, sparse at all genes': (of_step('sparse', n_genes), of_step('sparse', n_few))}
    table = pd.DataFrame(rows, index=['all genes, MiB', 'selected genes, sparse, MiB']).T
    table['ratio'] = table.iloc[:, 0]/table.iloc[:, 1]
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--measure', action='store_true')
    for name, value in dict(genes=18_080, target_genes=5000, dim=128, layers=2, rounds=3).items():
        parser.add_argument(f'--{name.replace("_", "-")}', type=int, default=value)
    parser.add_argument('--run', type=Path, default=results/'pipeline_221273x18080.json', help='result file of the run')
    parser.add_argument('--out', type=Path, default=results)
    options = parser.parse_args()
    file = options.out/'one_pass.json'
    if options.measure: file.write_text(json.dumps(measure(options), indent=1))
    if options.run.exists() and file.exists():
        run, steps = json.loads(options.run.read_text()), json.loads(file.read_text())['runs']
        print(time_factors(run, steps).round(3).to_string())
        passes = json.loads((results/'attention.json').read_text())['runs']
        if {run['genes'], run['phases']['genes'][-1]} <= {a_pass['genes'] for a_pass in passes}:
            print(memory_factors(run, passes, steps).round(1).to_string())


if __name__ == '__main__': main()
