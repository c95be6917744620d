"""The whole pipeline, planned against spent: seconds and memory of every step.

    python pipeline.py                      # simulate 20,000 cells x 5,000 genes, run, write: minutes on 2 cores
    python pipeline.py --cells 2000 --genes 600 --target-genes 200 --epochs 4
    python pipeline.py --of RUN --mem FILE  # of a run that has ended, from its folder

FILE holds what was seen of the process while it ran, a line a look: seconds since 1970, RssAnon and
RssFile of /proc/PID/status in kB. RssAnon is what the process holds itself; RssFile are pages of
mapped files, those of the libraries among them. A step lies between the moments at which the files of
the folder were written. A phase of training has no file: of the looks, those count that fall into it
however the time between the phases is shared out.
Writes results/pipeline_<cells>x<genes><label>.json beside this file."""
import argparse, json, re, resource, subprocess, sys, tempfile, threading, time
from itertools import accumulate
from pathlib import Path
import anndata as ad, numpy as np, pandas as pd
import vcc_nb
from vcc_nb.core import atomic_path
from vcc_nb.run.folder import RunFolder, read_json
from vcc_nb.run.settings import create_training_config

last_file = dict(open='split.json', select='selected_genes.csv', train='training_history.json',
                 predict='predicted_effects.h5ad', score='scores.csv')


def moments(run:Path, seconds:dict) -> dict:
    "Step -> (begin, end), seconds since 1970."
    begin, times = (run/'training_config.json').stat().st_mtime, {}
    for step, file in last_file.items():
        if step == 'train':                             # the plan leaves no file of its own
            times['estimate'] = begin, begin + seconds['estimate']
            begin += seconds['estimate']
        end = (run/file).stat().st_mtime
        times[step] = begin, end
        begin = end
    return times | {'report': (begin, begin + seconds['report'])}


def phase_names(history:pd.DataFrame) -> dict:
    "Phase -> its name in a plan."
    return {phase: f'train, {n_genes:,} genes' for phase, n_genes in history.groupby('phase').n_genes.first().items()}


def phase_moments(history:pd.DataFrame, training:tuple) -> dict:
    "Name -> (begin, end) of what is in that phase for certain: no moment of it is, if the end comes first."
    begin, end = training
    seconds = history.groupby('phase').seconds.sum()
    ends = list(accumulate(seconds))
    starts = [0, *ends[:-1]]
    return {name: (end - ends[-1] + start, begin + stop)
            for name, start, stop in zip(phase_names(history).values(), starts, ends)}


def peaks(samples, times:dict) -> dict:
    "Step -> GiB held and mapped at most in its time; nothing for a step that no look falls into."
    found = {}
    for step, (begin, end) in times.items():
        looks = samples[(samples[:, 0] >= begin) & (samples[:, 0] <= end)]
        if len(looks):
            own, mapped = looks[:, 1:].max(axis=0)/2**20
            found[step] = dict(own_gb=round(own, 3), mapped_gb=round(mapped, 3))
    return found


def steps_of(costs:dict, history:pd.DataFrame, held:dict) -> list:
    "A row a step: planned, spent; the phases of training one by one, and what of it is in no epoch."
    planned, spent = costs['plan']['steps'], dict(costs['seconds'])
    of_phase = history.groupby('phase').seconds.sum()
    of_phase.index = list(phase_names(history).values())
    rest = max(0., spent.pop('train') - of_phase.sum())
    seconds = {}
    for step in ('open', 'select', 'estimate', 'train', 'predict', 'score', 'report'):
        if step == 'train': seconds |= of_phase.to_dict() | {'train, in no epoch': rest}
        else: seconds[step] = spent[step]
    rows = []
    for step, value in seconds.items():
        plan = planned.get(step, {})
        rows.append(dict(step=step, planned_seconds=plan.get('seconds'), planned_gb=plan.get('GiB held'),
                         planned_mapped_gb=plan.get('GiB mapped'), seconds=round(value, 2), **held.get(step, {})))
    return rows


def settings_of(config) -> dict:
    "Settings that are not the defaults of their strategy, places of files left out."
    usual = create_training_config(config.training.strategy).flat()
    return {name: value for name, value in config.flat().items()
            if value != usual[name] and name not in ('data', 'output_dir', 'cells_in')}


def timed(path) -> dict:
    "CPU seconds and seconds of what GNU time -v wrote."
    text = Path(path).read_text()
    user, system = (float(re.search(rf'{kind} time \(seconds\): ([\d.]+)', text)[1]) for kind in ('User', 'System'))
    elapsed = re.search(r'Elapsed .*: ([\d:.]+)\n', text)[1].split(':')
    seconds = sum(float(part)*60**place for place, part in enumerate(reversed(elapsed)))
    return dict(cpu_seconds=round(user + system, 1), process_seconds=round(seconds, 1))


def of_run(run, samples=None) -> dict:
    "What a run that has ended planned, spent and scored; `samples`: (looks, 3) of time, own and mapped kB."
    from vcc_nb.challenge.compare import score_table
    run, folder = Path(run), RunFolder.read(run)
    if not folder.finished:
        sys.exit(f'the run in {str(run)!r} has not ended; go on with it: vcc_nb train --resume {run}')
    costs, kept = folder.costs, read_json(run/'training_history.json')
    history = pd.DataFrame(kept['epochs'])
    held, times = {}, moments(run, costs['seconds'])
    if samples is not None:
        held = peaks(samples, times | phase_moments(history, times['train']))
    scores = score_table(pd.read_csv(run/'scores.csv'))
    weights = ad.read_h5ad(run/'predicted_effects.h5ad', backed='r').uns['weights']
    split, plan = read_json(run/'split.json'), costs['plan']
    phases = history.groupby('phase').agg(genes=('n_genes', 'first'), epochs=('n_genes', 'size'),
                                          seconds=('seconds', 'sum'), seconds_an_epoch=('seconds', 'mean'),
                                          gb_so_far=('peak_memory_gb', 'max'))
    return dict(machine=costs['machine'], version=costs['version'], cells=len(folder.mark.labels),
        genes=len(folder.mark.genes), target_genes=int(history.n_genes.iloc[-1]), settings=settings_of(folder.config),
        fitted=costs['fitted'], fitted_because=costs['fitted_because'],
        targets={part: len(split[part]) for part in ('train', 'valid', 'test')},
        seconds=round(sum(costs['seconds'].values()), 1), peak_gb=round(costs['peak_memory_gb'], 3),
        planned={name: round(plan[name], 3) for name in ('seconds', 'peak_gb', 'planning')},
        steps=steps_of(costs, history, held), held_in_training=held.get('train'),
        phases=phases.round(2).to_dict('list'), epochs=len(history), best_epoch=kept['best_epoch'],
        parameters=kept['speed_metrics']['parameters'], scores=scores.round(4).to_dict(),
        weights={name: round(float(weight), 3) for name, weight in weights.items()})


def steps_table(result:dict) -> pd.DataFrame:
    "A row a step of a result, whether or not its run kept a plan of every step."
    steps = result['steps']
    if isinstance(steps, dict):
        return pd.DataFrame({'seconds': steps}).rename_axis('step')
    return pd.DataFrame(steps).set_index('step')


def read_samples(paths) -> np.ndarray:
    "Looks at memory, of one file or several (a run that went on has several); lines cut short are left out."
    lines = [line.split() for path in paths for line in Path(path).read_text().splitlines()]
    return np.array([line for line in lines if len(line) == 3], float)


def watch(pid:int, path, every:float=.1):
    "Look at the memory of a process until it ends, a line a look."
    with open(path, 'w') as file:
        while True:
            try: status = Path(f'/proc/{pid}/status').read_text()
            except OSError: return
            sizes = dict(re.findall(r'(RssAnon|RssFile):\s+(\d+)', status))
            if not sizes: return                        # it has ended
            print(time.time(), sizes['RssAnon'], sizes['RssFile'], file=file, flush=True)
            time.sleep(every)


def simulate_and_run(options, folder) -> dict:
    "A screen, and a run of it, each by a process of its own."
    screen = f"n_cells={options.cells}, n_genes={options.genes}, path='{folder}/screen.h5ad'"
    subprocess.run([sys.executable, '-c', f'from vcc_nb.simulation.cells import simulate_screen as s; s({screen})'], check=True)
    arguments = dict(target_genes=options.target_genes, data=f'{folder}/screen.h5ad', epochs=options.epochs, per_target=8,
        batch_size=32, learning_rate=2e-3, embed_dim=64, memory_gb=4, device='cpu', output_dir=f'{folder}/run')
    code = ("import json, sys; from vcc_nb.run.pipeline import run_pipeline; from vcc_nb.run.settings import "
            "create_training_config; run_pipeline(create_training_config('progressive', **json.loads(sys.argv[1])), progress=False)")
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    child = subprocess.Popen([sys.executable, '-c', code, json.dumps(arguments)])
    looking = threading.Thread(target=watch, args=(child.pid, f'{folder}/memory'))
    looking.start()
    if child.wait(): sys.exit('the run failed, see above')
    looking.join()
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    of_process = dict(cpu_seconds=round(cpu, 1), process_seconds=round(seconds, 1))
    return of_run(f'{folder}/run', read_samples([f'{folder}/memory'])) | of_process


def commit() -> str:
    "Of the code that is imported, or None."
    git = subprocess.run(['git', '-C', Path(vcc_nb.__file__).parent, 'rev-parse', '--short=10', 'HEAD'],
                         capture_output=True, text=True)
    return git.stdout.strip() or None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(cells=20_000, genes=5000, target_genes=2500, epochs=16).items():
        parser.add_argument(f'--{name.replace("_", "-")}', type=int, default=value)
    parser.add_argument('--of', metavar='RUN', help='folder of a run that has ended')
    parser.add_argument('--mem', metavar='FILE', nargs='+', help='looks at its memory')
    parser.add_argument('--time', metavar='FILE', help='what GNU time -v wrote of it')
    parser.add_argument('--commit', help='of the code that ran; default: of the code that this script imports')
    parser.add_argument('--label', default='', help='put behind the name of the file, such as _quick')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results')
    options = parser.parse_args()
    if options.of:
        result = of_run(options.of, read_samples(options.mem) if options.mem else None)
        result |= timed(options.time) if options.time else {}
    else:
        with tempfile.TemporaryDirectory() as folder: result = simulate_and_run(options, folder)
    result = dict(label=options.label.strip('_'), commit=options.commit or commit()) | result
    print(json.dumps(result, indent=1))
    with atomic_path(options.out/f'pipeline_{result["cells"]}x{result["genes"]}{options.label}.json') as path:
        path.write_text(json.dumps(result, indent=1))


if __name__ == '__main__': main()
