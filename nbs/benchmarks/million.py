"""A screen of a million cells in several files, opened, its genes selected, a network trained, in 4 GiB.

    python million.py                       # 4 files of 250,000 cells x 18,080 genes: about an hour on 2 cores
    python million.py --cells 4000 --genes 1000 --target-genes 300 --files 2
    python million.py --folder DIR          # work there, and use the parts that lie there already

Each file is a simulated cell line with all targets of 2025 and controls of its own, and of a depth at
which 12% of its values are not zero. Parts are simulated one after another, each by a process of its
own. They stay on disk (`backed`), as do the cells of batches; targets are held out in all lines. Full
size takes about 13 GB for the screens (counts as uint16) and about 6 GB while it trains; less than
25 GB free is refused. Settings not given by the options are the defaults, with memory_gb=4.

Memory is what the process holds itself (RssAnon, looked at from outside every tenth of a second);
pages of mapped files are counted apart (RssFile, the libraries' among them).
Writes results/million.json, of other sizes results/million_<cells>x<genes>.json."""
import argparse, json, shutil, subprocess, sys, tempfile, threading, time
from itertools import accumulate
from pathlib import Path
from pipeline import commit, peaks, read_samples, settings_of, watch
from vcc_nb.core import atomic_path, machine

lines = ('K562', 'A549', 'THP-1', 'CD8 T', 'iPSC', 'iPSC-neuron')
bytes_needed = 25e9/(1_000_000*18_080*.12)      # on disk, of a stored value


def depth_of(fill:float, line:str) -> float:
    "Median UMIs of a cell at which that share of the values is not zero, to a hundredth."
    from vcc_nb.simulation.counts import expected_fill
    low, high = 10., 1e6
    while high/low > 1.001:
        middle = (low*high)**.5
        low, high = (middle, high) if expected_fill(middle, context=line) < fill else (low, middle)
    return round((low*high)**.5, -1)


def simulate(folder, options) -> dict:
    "Line -> file; the files that are not there are made."
    files = {line: Path(folder)/f'{line.replace(" ", "_")}.h5ad' for line in lines[:options.files]}
    for line, file in files.items():
        if file.exists(): continue
        screen = dict(n_cells=options.cells//options.files, n_genes=options.genes, contexts=[line],
                      depth=depth_of(options.fill, line), path=str(file), dtype='uint16')
        print(f'simulating {screen}', flush=True)
        code = 'import json, sys; from vcc_nb.simulation.cells import simulate_screen as s; s(**json.loads(sys.argv[1]))'
        subprocess.run([sys.executable, '-c', code, json.dumps(screen)], check=True)
    return {line: str(file) for line, file in files.items()}


class Clock:
    "When each step began and ended, and its CPU seconds."
    def __init__(self):
        self.steps, self.name, self.cpu = {}, None, 0.

    def begin(self, name=None):
        "From now on it is the step of that name; None: the last has ended."
        now, cpu = time.time(), time.process_time()
        if self.name: self.steps[self.name].update(end=now, cpu_seconds=cpu - self.cpu)
        self.name, self.cpu = name, cpu
        if name:
            self.steps[name] = dict(begin=now)
            print(name, flush=True)


def walk(settings) -> dict:
    "Open, select, plan, train: as a run does it. What comes after is not planned either."
    from vcc_nb.run import pipeline as run
    from vcc_nb.run.job_plan import fitted_job, formulas
    from vcc_nb.run.job_sizes import stored_values
    from vcc_nb.run.settings import create_training_config
    run.release_freed_memory()
    clock, config, on_disk = Clock(), create_training_config(**settings), []
    clock.begin('open')
    folder = run.RunFolder.new(config)
    task = folder.step(run.open_task, config, None)
    clock.begin('select')
    chosen = folder.step(run.choose_genes, config, task)
    clock.begin('estimate')
    fitted = fitted_job(config, task, chosen, formulas={step: formulas[step] for step in ('open', 'select', 'train')})
    names = iter(step.name for step in fitted.plan.steps if step.name.startswith('train'))
    ends = set(accumulate(fitted.plan.sizes.epochs[:-1]))

    def on_epoch(record, model):
        on_disk.append(sum(file.stat().st_size for file in (folder.path/'cells').rglob('*') if file.is_file()))
        if record['epoch'] in ends: clock.begin(next(names))

    clock.begin(next(names))
    trained = folder.step(run.train_network, fitted.config, task, chosen, run.closed_forms(fitted.config, task),
                          on_epoch=[on_epoch], checkpoints=folder.checkpoints(task), cells_in=folder.path/'cells',
                          progress=sys.stderr.isatty())
    clock.begin()
    epochs = trained.history.epochs
    return dict(steps=clock.steps, **fitted.plan.costs(), fitted=fitted.changed, fitted_because=list(fitted.sentences),
        settings=settings_of(config), values=stored_values(task.screen.X), shape=list(task.screen.adata.shape),
        pairs={part: task.size(part) for part in ('train', 'valid', 'test')}, cells_on_disk=max(on_disk),
        epochs=[{name: epoch[name] for name in ('phase', 'n_genes', 'seconds', 'train_loss')} for epoch in epochs])


def rows_of(plan, steps, held) -> list:
    "A row a step: planned and spent."
    rows = []
    for step, spent in steps.items():
        planned = plan['steps'].get(step, {})
        rows.append(dict(step=step, planned_seconds=planned.get('seconds'), planned_gb=planned.get('GiB held'),
            planned_mapped_gb=planned.get('GiB mapped'), seconds=round(spent['end'] - spent['begin'], 2),
            cpu_seconds=round(spent['cpu_seconds'], 2), **held.get(step, {})))
    return rows


def measure(options, folder) -> dict:
    "Simulate, walk in a process of its own, look at its memory."
    files, start = simulate(folder, options), time.perf_counter()
    settings = dict(data=files, backed=True, hold_out='targets', strategy='progressive', memory_gb=options.memory_gb,
                    target_genes=options.target_genes, epochs=options.epochs, **options.settings,
                    output_dir=f'{folder}/run_{int(time.time())}')
    out = Path(folder)/'walked.json'
    child = subprocess.Popen([sys.executable, __file__, '--walk', json.dumps(settings), str(out)])
    looking = threading.Thread(target=watch, args=(child.pid, f'{folder}/memory'))
    looking.start()
    if child.wait(): sys.exit('it failed, see above')
    looking.join()
    seconds, samples, walked = time.perf_counter() - start, read_samples([f'{folder}/memory']), json.loads(out.read_text())
    held = peaks(samples, {step: (spent['begin'], spent['end']) for step, spent in walked['steps'].items()})
    cells, genes = walked.pop('shape')
    plan, steps = walked.pop('plan'), walked.pop('steps')
    whole = peaks(samples, dict(all=(0, float('inf'))))['all']
    return dict(cells=cells, genes=genes, files=len(files), fill=walked['values']/(cells*genes),
        screens_on_disk=sum(Path(file).stat().st_size for file in files.values()), memory_gb=options.memory_gb,
        seconds=round(seconds, 1), planned_seconds=plan['seconds'], **whole, steps=rows_of(plan, steps, held)) | walked


def require_room(folder, options):
    "Leave with a sentence if the disk has no place."
    needed = bytes_needed*options.cells*options.genes*options.fill
    free = shutil.disk_usage(folder).free
    if free < needed: sys.exit(f'{folder} has {free/1e9:.0f} GB free, and this needs {needed/1e9:.0f}; name another --folder')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(cells=1_000_000, genes=18_080, target_genes=5000, files=4, epochs=4).items():
        parser.add_argument(f'--{name.replace("_", "-")}', type=int, default=value)
    parser.add_argument('--fill', type=float, default=.12, help='share of values that are not zero')
    parser.add_argument('--memory-gb', type=float, default=4., help='GiB that the process may hold itself')
    parser.add_argument('--settings', type=json.loads, default={}, help='more of them, as {"per_target": 8}')
    parser.add_argument('--folder', help='where to work, and what stays; default: a temporary one')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results')
    parser.add_argument('--walk', nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.walk:
        Path(options.walk[1]).write_text(json.dumps(walk(json.loads(options.walk[0]))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        require_room(folder, options)
        result = dict(machine=machine(), commit=commit()) | measure(options, folder)
    print(json.dumps(result, indent=1))
    name = 'million' if result['cells'] == 1_000_000 else f'million_{result["cells"]}x{result["genes"]}'
    with atomic_path(options.out/f'{name}.json') as path: path.write_text(json.dumps(result, indent=1))


if __name__ == '__main__': main()
