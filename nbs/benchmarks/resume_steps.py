"""One run killed in every step of it, each time resumed, beside a run that nobody killed.

    python resume_steps.py                  # 20,000 cells x 5,000 genes: minutes on 2 cores
    python resume_steps.py --cells 2000 --genes 300 --target-genes 200 --epochs 8

SIGKILL comes at a random moment of the middle of each step: opening, selecting, planning, every phase of
training, predicting, scoring, the report. What a step is doing is told from the files of the run; how
long it lasts, from the run that was left alone. Each part is a process of its own, `resume_run` goes on.
The screen stays on disk, so that cells of batches wait there, too. Compared are the files that both runs
leave, byte by byte, and if they differ, by how much their numbers do.
Writes results/resume_<cells>x<genes>.json beside this file."""
import argparse, json, os, signal, subprocess, sys, tempfile, time
from itertools import accumulate
from pathlib import Path
import anndata as ad, numpy as np, pandas as pd
from pipeline import commit, phase_names
from vcc_nb.core import atomic_path, machine

tables = ('gene_coverage.csv', 'recovered.csv', 'bounds.csv', 'scores.csv')


def go(run, settings):
    "Begin the run, or go on with it."
    from vcc_nb.run.pipeline import resume_run, run_pipeline
    from vcc_nb.run.settings import create_training_config
    if Path(run, 'training_config.json').exists(): resume_run(run, progress=False)
    else: run_pipeline(create_training_config('progressive', **settings), path=run, progress=False)


def start(run, settings):
    "A process that begins the run, or goes on with it."
    return subprocess.Popen([sys.executable, __file__, '--go', str(run), json.dumps(settings)])


def epochs_done(run) -> int:
    "The epoch of the newest checkpoint; 0: none."
    return max((int(file.stem.split('_')[-1]) for file in run.glob('checkpoint_epoch_*.pt')), default=0)


def is_planned(run) -> bool:
    "Has the run a plan?"
    costs = run/'costs.json'
    return costs.exists() and 'plan' in json.loads(costs.read_text())


def steps_of(history:pd.DataFrame, seconds:dict) -> dict:
    "Step -> (function of the run: has it begun?, seconds that it lasts)."
    exists = lambda name: lambda run: (run/name).exists()
    after = lambda epoch: lambda run: epochs_done(run) >= epoch
    of_phase = history.groupby('phase').seconds.sum()
    begins = [is_planned, *map(after, accumulate(history.groupby('phase').size().iloc[:-1]))]
    steps = {'open': (exists('training_config.json'), seconds['open']), 'select': (exists('split.json'), seconds['select']),
             'estimate': (exists('selected_genes.csv'), seconds['estimate'])}
    steps |= {name: pair for name, pair in zip(phase_names(history).values(), zip(begins, of_phase))}
    return steps | {'predict': (exists('training_history.json'), seconds['predict']),
                    'score': (exists('predicted_effects.h5ad'), seconds['score']),
                    'report': (exists('scores.csv'), seconds['report'])}


def kill_in(step, has_begun, has_ended, seconds:float, run, settings) -> dict:
    "Go on until that many seconds of a step have passed, and kill it."
    child, begin = start(run, settings), time.time()
    while not has_begun(run) and child.poll() is None: time.sleep(.005)
    time.sleep(seconds)
    if child.poll() is None: os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kill = dict(step=step, killed=child.returncode == -signal.SIGKILL and not has_ended(run),
                seconds_into_step=round(seconds, 2), epochs_done=epochs_done(run), seconds=round(time.time() - begin, 1))
    print(kill, flush=True)
    return kill


def numbers_of(run) -> dict:
    "What a run made, by name: arrays of numbers."
    from vcc_nb.training.checkpoints import load_checkpoint
    history = json.loads((run/'training_history.json').read_text())
    model, _ = load_checkpoint(run/f'checkpoint_epoch_{history["best_epoch"]:04}.pt')
    effects = ad.read_h5ad(run/'predicted_effects.h5ad')
    numbers = dict(weights=np.concatenate([tensor.numpy().ravel() for tensor in model.state_dict().values()]))
    for loss in ('train_loss', 'valid_loss'):
        numbers[f'{loss} of every epoch'] = np.array([epoch[loss] for epoch in history['epochs']])
    numbers |= {f'effects, {name}': np.asarray(values) for name, values in effects.layers.items()}
    for file in tables:
        numbers[file] = pd.read_csv(run/file, float_precision='round_trip').select_dtypes('number').to_numpy()
    return numbers


def compared(run, other) -> list:
    "A row a result: are all bits equal, and what is the largest difference?"
    rows, numbers = [], numbers_of(other)
    for name, ours in numbers_of(run).items():
        theirs = numbers[name]
        same_shape = ours.shape == theirs.shape
        largest = float(np.nanmax(np.abs(ours - theirs), initial=0)) if same_shape else None
        rows.append(dict(what=name, numbers=ours.size, equal=np.array_equal(ours, theirs, equal_nan=True),
                         largest_difference=largest))
    for file in ('split.json', 'selected_genes.csv', *tables):
        rows.append(dict(what=f'{file}, every byte', equal=(run/file).read_bytes() == (other/file).read_bytes()))
    return rows


def measure(options, folder:Path) -> dict:
    "A run left alone, a run killed in every step, and what differs."
    screen = f"n_cells={options.cells}, n_genes={options.genes}, path='{folder}/screen.h5ad'"
    subprocess.run([sys.executable, '-c', f'from vcc_nb.simulation.cells import simulate_screen as s; s({screen})'], check=True)
    settings = dict(data=f'{folder}/screen.h5ad', backed=True, target_genes=options.target_genes, epochs=options.epochs,
                    per_target=8, batch_size=32, embed_dim=64, device='cpu')
    alone, run, begin = folder/'alone', folder/'killed', time.time()
    if start(alone, settings).wait(): sys.exit('the run failed, see above')
    seconds = time.time() - begin
    history = pd.DataFrame(json.loads((alone/'training_history.json').read_text())['epochs'])
    costs = json.loads((alone/'costs.json').read_text())
    steps, rng, kills = steps_of(history, costs['seconds']), np.random.default_rng(options.seed), []
    ends = [has_begun for has_begun, _ in steps.values()][1:] + [lambda run: (run/'training_report.md').exists()]
    for (step, (has_begun, lasts)), has_ended in zip(steps.items(), ends):
        kills.append(kill_in(step, has_begun, has_ended, lasts*rng.uniform(.2, .7), run, settings))
    begin = time.time()
    if not (run/'training_report.md').exists() and start(run, settings).wait(): sys.exit('it does not go on, see above')
    parts = [kill['seconds'] for kill in kills] + [round(time.time() - begin, 1)]
    return dict(settings={name: value for name, value in settings.items() if name != 'data'}, seconds_alone=round(seconds, 1),
        seconds_of_steps={step: round(lasts, 2) for step, (_, lasts) in steps.items()}, kills=kills,
        seconds_of_all_parts=round(sum(parts), 1), compared=compared(run, alone))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(cells=20_000, genes=5000, target_genes=2500, epochs=16, seed=0).items():
        parser.add_argument(f'--{name.replace("_", "-")}', type=int, default=value)
    parser.add_argument('--folder', help='an empty one, in which screen and runs stay; default: a temporary one')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results')
    parser.add_argument('--go', nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.go:
        go(options.go[0], json.loads(options.go[1]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        measured = measure(options, Path(options.folder or temporary))
    result = dict(machine=machine(), commit=commit(), cells=options.cells, genes=options.genes) | measured
    print(json.dumps(result, indent=1))
    with atomic_path(options.out/f'resume_{options.cells}x{options.genes}.json') as path:
        path.write_text(json.dumps(result, indent=1))


if __name__ == '__main__': main()
