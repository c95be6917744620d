"""Whole jobs, predicted step by step and then measured, each in a process of its own.

    python plan.py                      # all jobs: about an hour on 2 cores
    python plan.py --jobs small full    # some of them

What is compared: the most memory that the process held itself in each step (RssAnon of
/proc/self/status, looked at every few milliseconds; mapped pages of files are not in it), and the
CPU seconds of each step with one thread a library, which others on the machine move less than the
time on the clock. Writes results/plan.json beside this file: what was measured, and what the plan knew
(sizes, speed of the machine, memory of the process), so that formulas that change are judged anew on
the same jobs (`planned`).

A job is planned twice: from its file, before anything is opened, and when its genes are chosen. Where
`memory_gb` asks for it, the settings are those that the plan fitted."""
import argparse, json, os, subprocess, sys, tempfile, threading, time
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from vcc_nb.core import atomic_path, machine

sparse = dict(per_target=8, batch_size=32, embed_dim=64, n_layers=2)
jobs = dict(                # name -> (cells, genes, median depth, settings; cell lines, if several)
    small=(2000, 300, 4000., dict(target_genes=200, epochs=8, **sparse)),
    full=(3000, 2000, 4000., dict(target_genes=600, epochs=4, attention_type='full', strategy='standard', **sparse)),
    linear=(6000, 4000, 4000., dict(target_genes=1500, epochs=4, attention_type='linear', backed=True, **sparse)),
    counts=(4000, 3000, 4000., dict(target_genes=800, epochs=4, season='2026', **sparse)),
    memory=(12_000, 5000, 8000., dict(target_genes=1000, epochs=4, **sparse)),
    deep=(10_000, 18_080, 20_000., dict(target_genes=1500, epochs=4, backed=True, **sparse)),
    local=(8000, 5000, 4000., dict(target_genes=2000, epochs=4, attention_type='local', backed=True, **sparse)),
    large=(20_000, 5000, 4000., dict(target_genes=2500, epochs=4, backed=True, **sparse)),
    quick=(3000, 1500, 6000., dict(target_genes=400, effort='quick')),
    normal=(6000, 3000, 8000., dict(target_genes=800, effort='normal', epochs=4)),
    standard=(2500, 800, 3000., dict(target_genes=300, epochs=6, attention_type='linear', strategy='standard',
                                     season='2026', **sparse)),
    counts_on_disk=(12_000, 8000, 6000., dict(target_genes=1000, epochs=4, season='2026', backed=True, **sparse)),
    tight=(15_000, 6000, 10_000., dict(target_genes=2000, epochs=4, memory_gb=1.1, **sparse)),
    wide=(30_000, 18_080, 6000., dict(target_genes=1000, epochs=4, backed=True, **sparse)),
    one_line=(20_000, 5000, 4000., dict(target_genes=1000, epochs=4, backed=True, **sparse)),
    two_lines=(20_000, 5000, 4000., dict(target_genes=1000, epochs=4, backed=True, hold_out='context', **sparse), 2),
    four_lines=(20_000, 5000, 4000., dict(target_genes=1000, epochs=4, backed=True, hold_out='context', **sparse), 4),
    two_whole_lines=(40_000, 5000, 4000., dict(target_genes=1000, epochs=4, backed=True, hold_out='context', **sparse), 2),
    four_whole_lines=(80_000, 5000, 4000., dict(target_genes=1000, epochs=4, backed=True, hold_out='context', **sparse), 4))
not_seen = ('counts', 'large', 'quick', 'normal', 'standard', 'counts_on_disk', 'tight', 'wide')  # when constants were set
lines = ('K562', 'A549', 'THP-1', 'CD8 T')


def own_memory_gb() -> float:
    "GiB that this process holds itself."
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('RssAnon'))/2**20


class Meter:
    "CPU seconds and the most memory of each step."
    def __init__(self):
        self.seconds, self.peak_gb, self.name = {}, {}, 'start'
        self.last = time.process_time()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        "Look at the memory, again and again."
        while True:
            self.look()
            time.sleep(.005)

    def look(self):
        "Note the memory of now."
        name, held = self.name, own_memory_gb()
        self.peak_gb[name] = max(held, self.peak_gb.get(name, 0))

    def begin(self, name):
        "From now on it is the step of that name."
        self.look()
        now = time.process_time()
        self.seconds[self.name] = self.seconds.get(self.name, 0) + now - self.last
        self.name, self.last = name, now
        self.look()


def known(job) -> dict:
    "What a plan is made of, but the settings."
    estimates = [[*key, gb] for key, gb in job.estimates.items()]
    return dict(sizes=asdict(job.sizes), rates=asdict(job.rates), base_gb=job.base_gb,
                step=asdict(job.step), estimates=estimates, loaded=sorted(job.loaded))


def planned(result, when='opened'):
    "The `JobPlan` of a job of the results, by the formulas of now; `when`: 'unopened' or 'opened'."
    from vcc_nb.run.job_plan import Job, Rates, make_job_plan
    from vcc_nb.run.job_sizes import JobSizes
    from vcc_nb.run.settings import create_training_config
    from vcc_nb.training.memory import TrainingStep
    kept = result[when]
    estimates = {tuple(row[:-1]): row[-1] for row in kept['estimates']}
    config = create_training_config(**result['settings'] | result.get('fitted', {}))
    return make_job_plan(Job(config, JobSizes(**kept['sizes']), Rates(**kept['rates']), TrainingStep(**kept['step']),
                             kept['base_gb'], estimates, opened=when == 'opened',
                             loaded=frozenset(kept.get('loaded', ()))))


def walk(settings) -> dict:
    "Every step of a run, planned and measured."
    import torch
    from vcc_nb.run import pipeline as steps
    from vcc_nb.run.job_plan import describe_job, fit_job, make_job_plan
    from vcc_nb.run.settings import create_training_config
    from vcc_nb.training.memory import release_freed_memory
    torch.set_num_threads(1)
    release_freed_memory()
    config = create_training_config(device='cpu', **settings)
    start = time.process_time()
    unopened = describe_job(config, clock=time.process_time)
    make_job_plan(unopened)
    planning = time.process_time() - start
    meter = Meter()
    meter.begin('open')
    folder = steps.RunFolder.new(config)
    task = folder.step(steps.open_task, config, None)
    meter.begin('select')
    chosen = folder.step(steps.choose_genes, config, task)
    meter.begin('plan')
    opened = describe_job(config, task, chosen, clock=time.process_time)
    fitted = fit_job(opened)
    config = fitted.config
    names = iter(step.name for step in make_job_plan(opened).steps if step.name.startswith('train'))
    ends = set(accumulate(opened.sizes.epochs[:-1]))

    def on_epoch(record, model):
        if record['epoch'] in ends:
            meter.begin(next(names))

    meter.begin(next(names))
    closed = steps.closed_forms(config, task)
    trained = folder.step(steps.train_network, config, task, chosen, closed, on_epoch=[on_epoch], progress=False,
                          checkpoints=folder.checkpoints(task), cells_in=folder.path/'cells')
    meter.begin('predict')
    forecast = folder.step(steps.predict_held_out, config, task, closed, trained)
    meter.begin('score')
    scores = folder.step(steps.score_held_out, config, task, forecast)
    meter.begin('report')
    folder.costs |= dict(predicted_gb=0., predicted_for='cpu', predicted={})
    steps.write_report(steps.Run(config, folder.path, task, chosen, closed, trained, forecast, scores,
                                 folder.costs))
    meter.begin('end')
    return dict(planning_seconds=planning, seconds=meter.seconds, peak_gb=meter.peak_gb,
                unopened=known(unopened), opened=known(opened), fitted=fitted.changed, clock_seconds=folder.costs['seconds'])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--jobs', nargs='*', default=list(jobs), choices=list(jobs))
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'plan.json')
    parser.add_argument('--walk', help=argparse.SUPPRESS)
    parser.add_argument('--simulate', nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.simulate:
        simulate(json.loads(options.simulate[0]), options.simulate[1])
        return
    if options.walk:
        print(json.dumps(walk(json.loads(options.walk))))
        return
    environment = os.environ | {f'{name}_NUM_THREADS': '1' for name in ('OMP', 'MKL', 'OPENBLAS', 'NUMBA')}
    results = json.loads(options.out.read_text())['jobs'] if options.out.exists() else {}
    for name in options.jobs:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = one_job(name, folder, environment)
        with atomic_path(options.out) as path:
            path.write_text(json.dumps(dict(machine=machine(), jobs=results), indent=1))


def one_job(name, folder, environment) -> dict:
    "Simulate the screen, run the job in a process of its own."
    n_cells, n_genes, depth, settings, *n_lines = jobs[name]
    contexts = lines[:n_lines[0]] if n_lines else ('iPSC',)
    screen = dict(n_cells=n_cells, n_genes=n_genes, depth=depth, contexts=contexts)
    subprocess.run([sys.executable, __file__, '--simulate', json.dumps(screen), folder], check=True, env=environment)
    data = {line: f'{folder}/{line}.h5ad' for line in contexts} if n_lines else f'{folder}/iPSC.h5ad'
    settings = settings | dict(data=data, output_dir=f'{folder}/run')
    child = subprocess.run([sys.executable, __file__, '--walk', json.dumps(settings)], check=True,
                           env=environment, stdout=subprocess.PIPE, text=True)
    result = json.loads(child.stdout.splitlines()[-1])
    print(name, json.dumps(result), flush=True)
    settings = {key: value for key, value in settings.items() if key not in ('data', 'output_dir')}
    return dict(cells=n_cells, genes=n_genes, depth=depth, lines=len(contexts), settings=settings) | result


def simulate(screen, folder):
    "Write a simulated screen, a file for each of its cell lines."
    from vcc_nb.simulation.cells import simulate_screen
    if len(screen['contexts']) == 1:
        simulate_screen(**screen, path=f'{folder}/{screen["contexts"][0]}.h5ad')
        return
    cells, _ = simulate_screen(**screen)
    for line in screen['contexts']:
        cells[cells.obs['context'] == line].copy().write_h5ad(f'{folder}/{line}.h5ad')


if __name__ == '__main__':
    main()
