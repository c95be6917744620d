"""The whole pipeline on a simulated screen, in a process of its own: what each step was planned to take, and took.

    python pipeline.py                      # 20,000 cells x 5,000 genes, progressive to 2,500 genes: minutes on 2 cores
    python pipeline.py --cells 2000 --genes 600 --target-genes 200 --epochs 4
    python pipeline.py --of RUN --cpu-seconds 5400 --memory part1.mem part2.mem     # a run made at the shell

The first two write results/pipeline_<cells>x<genes>.json beside this file. The last one reads the folder of a
run that has ended, of any size, made in one go or in parts (`vcc_nb train --resume RUN`), and writes
results/pipeline_full.json. Files of --memory have lines of seconds since 1970, RssAnon and RssFile of
/proc/PID/status in KiB, looked at while it ran."""
import argparse, json, os, resource, subprocess, sys, tempfile, time
from pathlib import Path
import pandas as pd
from vcc_nb.core import atomic_path, machine, peak_memory_gb

results = Path(__file__).parent/'results'


def steps_of(run) -> dict:
    "Step -> seconds planned and spent, of the folder of a run that has ended; training by phase."
    costs = json.loads((run/'costs.json').read_text())
    history = pd.DataFrame(json.loads((run/'training_history.json').read_text())['epochs'])
    of_phase = history.groupby('n_genes').seconds.sum()
    spent = {f'train, {n:,} genes': seconds for n, seconds in of_phase.items()} | costs['seconds']
    planned = {name: step['seconds'] for name, step in costs['plan']['steps'].items()}
    return {name: dict(planned_s=round(planned[name], 1), spent_s=round(spent.get(name, 0), 1)) for name in planned}


def settings_of(run) -> dict:
    "What a run was asked for, where it is not the default."
    from vcc_nb.run.folder import read_config
    from vcc_nb.run.settings import TrainingConfig
    asked, usual = read_config(run).flat(), TrainingConfig().flat()
    return {name: value for name, value in asked.items()
            if value != usual[name] and name not in ('data', 'output_dir')}


def report_of(run, cpu_seconds=None, memory=()) -> dict:
    "Time and memory of a run that has ended, planned and measured."
    run = Path(run)
    costs = json.loads((run/'costs.json').read_text())
    samples = [pd.read_csv(path, sep=' ', names=['time', 'own', 'mapped']) for path in memory]
    own_gb = max((table.own.max()/2**20 for table in samples), default=costs['peak_memory_gb'])
    return dict(machine=costs['machine'], data=costs['data'], settings=settings_of(run), fitted=costs.get('fitted', {}),
                steps=steps_of(run), planned_gib=round(costs['plan']['peak_gb'], 3), peak_gib=round(own_gb, 3),
                parts=max(len(samples), 1), cpu_s=cpu_seconds)


def whole(options, folder) -> dict:
    "Run it; what it cost and scored."
    from vcc_nb.run.pipeline import ScaledTrainingPipeline
    from vcc_nb.run.settings import create_training_config
    from vcc_nb.challenge.compare import score_table
    config = create_training_config(
        'progressive', target_genes=options.target_genes, data=f'{folder}/screen.h5ad', epochs=options.epochs,
        per_target=8, batch_size=32, learning_rate=2e-3, embed_dim=64, memory_gb=4, device='cpu',
        output_dir=f'{folder}/run')
    start = time.perf_counter()
    pipeline = ScaledTrainingPipeline(config, progress=False)
    pipeline.run()
    seconds, history = time.perf_counter() - start, pipeline.history
    used = resource.getrusage(resource.RUSAGE_SELF)
    phases = history.table().groupby('phase').agg(
        genes=('n_genes', 'first'), epochs=('n_genes', 'size'), seconds=('seconds', 'sum'))
    scores = score_table(pipeline.scores).round(4).to_dict()
    return report_of(pipeline.run_dir, round(used.ru_utime + used.ru_stime, 1)) | dict(
        seconds=round(seconds, 1), peak_gb=round(peak_memory_gb(), 3),
        targets={part: len(getattr(pipeline.split, part)) for part in ('train', 'valid', 'test')},
        phases=phases.round(1).to_dict('list'), epochs=len(history.epochs), best_epoch=history.best_epoch,
        parameters=history.speed_metrics['parameters'], scores=scores,
        weights={name: round(weight, 3) for name, weight in pipeline.result.forecast.weights.items()})


def in_new_process(options) -> dict:
    "Simulate the screen, run the pipeline on it, each in a process of its own."
    with tempfile.TemporaryDirectory() as folder:
        simulate = (f'from vcc_nb.simulation.cells import simulate_screen; simulate_screen(n_cells={options.cells}, '
                    f"n_genes={options.genes}, path='{folder}/screen.h5ad')")
        subprocess.run([sys.executable, '-c', simulate], check=True)
        command = [sys.executable, __file__, *sys.argv[1:], '--run', folder]
        child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    sizes = dict(cells=options.cells, genes=options.genes, target_genes=options.target_genes)
    load = dict(load=round(os.getloadavg()[2], 1))              # of the last 15 minutes: who else was at work
    return dict(machine=machine()) | sizes | load | json.loads(child.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default in dict(cells=20_000, genes=5000, target_genes=2500, epochs=16).items():
        parser.add_argument(f'--{flag.replace("_", "-")}', type=int, default=default)
    parser.add_argument('--of', metavar='RUN', help='folder of a run that has ended')
    parser.add_argument('--cpu-seconds', type=float)
    parser.add_argument('--memory', nargs='*', default=[], metavar='FILE')
    parser.add_argument('--out', type=Path, default=results)
    parser.add_argument('--run', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(whole(options, options.run)))
        return
    if options.of:
        result, name = report_of(options.of, options.cpu_seconds, options.memory), 'pipeline_full'
    else:
        result, name = in_new_process(options), f'pipeline_{options.cells}x{options.genes}'
    print(json.dumps(result, indent=1))
    with atomic_path(options.out/f'{name}.json') as path:
        path.write_text(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
