"""Hundreds of odd and damaged screens and run directories: is each answered as its truth says, or refused in one sentence?

    python fuzz.py                                   # 345 screens and 115 runs: some minutes on one core
    python fuzz.py --screens 30 --runs 0             # a small sample
    python fuzz.py --only labels --runs 0            # one family, or one mutation by its name
    python fuzz.py --case 17                         # one case of the list, with its message

The mutations are in fuzz_screens.py and fuzz_runs.py. Each case has a random generator of its own (seed, number), so that
a case comes out alike whatever is run beside it. It is tried in a process of its own, forked from one that has imported
the library: a screen is opened, its effects measured, 50 genes chosen and a split made; of a run, the effects of three
targets are predicted and the report told, in Python and at the command line. Linux and macOS.

What may come of a case:
    same            the effects are those of the truth (which the mutation told, not the library)
    refused         in one sentence
    said            the effects are others, and a note or warning says why
    as read         a damaged file is another sound file, and the effects are what it says
    HDF5 hangs      damaged bytes send the HDF5 library round and round, inside a call of h5py (counted apart: nothing
                    above it can take back a call that never returns, and nothing is answered or lost)
and what may not: SILENT (other effects, without a word), UNSAID (repaired without a word), REPORT (another report, without a
word), TRACEBACK, CRASH, TIMEOUT, LOST (the input was changed). Writes fuzz.csv and fuzz_runs.csv to --out (default: results)."""
import os
os.environ.update({name: '1' for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS',
    'NUMBA_NUM_THREADS')})
import argparse, contextlib, faulthandler, hashlib, io, multiprocessing, pickle, re, shutil, sys, tempfile, time, traceback, warnings
from pathlib import Path
import anndata as ad, numpy as np, pandas as pd, torch
import fuzz_runs, fuzz_screens
from vcc_nb.core import VCCError
from vcc_nb.data.embedded import vcc2025_targets
from vcc_nb.data.screen import open_screen
from vcc_nb.data.splits import make_split
from vcc_nb.genes.selection import select_optimal_genes
from vcc_nb.run.cli import main as shell
from vcc_nb.run.folder import free_settings
from vcc_nb.run.pipeline import read_run, run_pipeline
from vcc_nb.run.report import sections
from vcc_nb.run.settings import create_training_config
from vcc_nb.simulation.cells import simulate_screen

failures = 'SILENT', 'UNSAID', 'REPORT', 'TRACEBACK', 'CRASH', 'TIMEOUT', 'LOST'
rounding = 1e-4     # of an effect (natural logarithm)
often = dict(bytes_changed=5, header_changed=2, block_zeroed=3,
    cut_off=2)      # of a round; others once
often_of_runs = dict(bits_flipped=4, one_number_flipped=4, cut_off=3, missing=3, of_another_run=3,
    other_type=3, key_lost=3,
    setting_edited=8, split_edited=4, cell_changed=3, weights_changed=4, predictions_changed=4,
    screen_changed=5)


# ---- a process of its own

def _child(function, arguments, answer, log, seconds):
    "Run the function with its output in a file, and leave its answer in another."
    with open(log, 'wb') as file:
        for stream in (1, 2): os.dup2(file.fileno(), stream)
    faulthandler.dump_traceback_later(seconds - 2, file=2)      # where it is, if it is late
    result = function(*arguments)
    with open(answer, 'wb') as file: pickle.dump(result, file)


def in_a_process(
    function,       # that returns a dict
    *arguments,
    folder:Path,    # where it may write
    seconds=45,     # how long it may take
) -> dict:          # what it returned; `outcome` CRASH or TIMEOUT where it did not
    "Run a function in a forked process."
    answer = Path(folder)/'answer.pickle'
    child = multiprocessing.get_context('fork').Process(target=_child,
        args=(function, arguments, answer, Path(folder)/'log.txt', seconds))
    child.start()
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
        return _late(Path(folder)/'log.txt', seconds)
    if child.exitcode or not answer.exists():
        return dict(outcome='CRASH', message=f'exit status {child.exitcode}')
    return pickle.loads(answer.read_bytes())


def _late(log, seconds) -> dict:
    "What came of a child that did not end: the innermost line of Python tells who does not return."
    lines = [line for line in log.read_text(errors='replace').splitlines() if line.startswith('  File ')]
    inside = lines[0].split('site-packages/')[-1] if lines else 'nowhere'
    hangs = inside.startswith('h5py')
    return dict(outcome='HDF5 hangs' if hangs else 'TIMEOUT', message=f'more than {seconds} s in {inside}')


def digest(path) -> str:
    "SHA-256 of all files at and below a path."
    path = Path(path)
    files = sorted(path.rglob('*')) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(str(file).encode())
        if file.is_file(): total.update(file.read_bytes())
    return total.hexdigest()


def attempted(function, *arguments) -> dict:
    "What came of a call: its answer, or how it was refused; and what was said in warnings."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try: result = function(*arguments)
        except VCCError as error:
            one = str(error).strip() and '\n' not in str(error)
            result = dict(outcome='refused' if one else 'TRACEBACK', message=str(error))
        except BaseException as error:
            ours = [place for place in traceback.extract_tb(error.__traceback__) if 'vcc_nb' in place.filename]
            where = f' ({Path(ours[-1].filename).name}:{ours[-1].lineno})' if ours else ''
            result = dict(outcome='TRACEBACK',
                message=f'{type(error).__name__}{where}: {str(error)[:300]}')
    said = [str(warning.message) for warning in caught if 'cannot be read' in str(warning.message)]
    return result | dict(warnings=said)


def without(message, folder) -> str:
    "The message without the name of the temporary folder."
    return message.replace(f'{folder}/', '').replace(str(folder), '')


# ---- screens

def simulated(seed, path=None):
    "A small screen of 12 targets; also what is true of it."
    names = vcc2025_targets().query("split == 'train'").target_gene.tolist()[:150:12][:12]
    adata, _ = simulate_screen(n_cells=600, n_genes=300, targets=names, cells_per_target=30,
        depth=200_000, seed=seed)
    adata.obs = adata.obs[['target_gene', 'guide_id', 'batch', 'context', 'true_depth',
        'simulated']].copy()
    adata.obs = adata.obs.rename(columns=dict(guide_id='guide_name'))
    labels = adata.obs.target_gene.astype(str).to_numpy(object)
    truth = fuzz_screens.Truth(fuzz_screens.normalised(adata.X.toarray(), labels), labels,
        list(adata.var_names))
    if path: adata.write_h5ad(path)
    return adata, truth


def answer_of_screen(data, options) -> dict:
    "Effects, chosen genes, split and notes of a screen."
    screen = open_screen(data, **options)
    effects = screen.effects()
    genes = select_optimal_genes(screen, target_genes=min(50, len(screen.genes)))[1]
    split = make_split(screen)
    table = pd.DataFrame(effects.X, effects.obs.target_gene.astype(str).to_numpy(),
        effects.var_names)
    return dict(outcome='answered', effects=table, genes=list(genes),
        split=(split.train, split.valid, split.test),
        notes=list(screen.notes))


def difference(effects, truth) -> str:
    "In words, how effects differ from those of the truth; '' where they do not."
    if truth is None: return 'there is no answer'
    expected = truth.effects() if isinstance(truth, fuzz_screens.Truth) else truth
    for axis, ours, theirs in (('targets', effects.index, expected.index),
        ('genes', effects.columns, expected.columns)):
        if not ours.is_unique or set(ours) != set(theirs):
            return f'other {axis}: {sorted(set(ours) ^ set(theirs))[:4]}'
    gap = np.abs(effects.to_numpy() - expected.loc[effects.index, effects.columns].to_numpy())
    return '' if gap.max() <= rounding else f'an effect is off by {gap.max():.3g}'


def judged_screen(
    answer,     # what came of the case
    case,       # `fuzz_screens.Case`
    clean,      # answer of the valid screen
    truth,      # its `Truth`
    as_read,    # truth of a damaged file, or None
) -> dict:      # outcome and message
    "What came of a screen, against its truth."
    if answer['outcome'] != 'answered': return answer
    notes = [note for note in answer['notes'] if note not in clean['notes']] + answer['warnings']
    said = next((note for note in notes if case.say and re.search(case.say, note)), '')
    own_truth = None if case.expected == 'refused' else case.truth or truth
    gap = difference(answer['effects'], own_truth)
    if not gap and case.truth is None:
        for what in ('genes', 'split'):
            if answer[what] != clean[what] and case.expected != 'as read': gap = f'another choice: {what}'
    if not gap:
        if case.say and not said: return dict(outcome='UNSAID',
            message=f'no note says {case.say!r}')
        return dict(outcome='same', message=said)
    if case.expected == 'as read' and as_read is not None and not difference(answer['effects'],
        as_read):
        return dict(outcome='as read', message=gap)
    if said: return dict(outcome='said', message=said)
    return dict(outcome='SILENT', message=f'{gap}; notes: {notes[:3]}')


def try_screen(number, name, adata, truth, clean, seed) -> dict:
    "One case: mutate, open, compare."
    family, function = fuzz_screens.mutations[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        bench = fuzz_screens.Bench(adata, truth, np.random.default_rng([seed, number]), folder)
        case = function(bench)
        path = bench.folder/'screen.h5ad'
        before = digest(path) if path.exists() else ''
        start = time.perf_counter()
        answer = in_a_process(attempted, answer_of_screen, case.data, case.options, folder=folder)
        seconds = time.perf_counter() - start
        as_read = None
        if case.expected == 'as read' and answer['outcome'] == 'answered':
            (Path(folder)/'answer.pickle').unlink()
            as_read = in_a_process(fuzz_screens.plain_truth, path, folder=folder, seconds=20)
        if not isinstance(as_read,
            fuzz_screens.Truth): as_read = None      # nothing sound, or no answer
        result = judged_screen(answer, case, clean, truth, as_read)
        if before and digest(path) != before: result = dict(outcome='LOST',
            message='the file was changed')
    return dict(case=number, family=family, mutation=name, drawn=case.about, expected=case.expected,
        outcome=result['outcome'], message=without(result['message'], folder),
        seconds=round(seconds, 2))


# ---- runs

def make_run(folder, seed):
    "A screen and a finished run on it in `folder`."
    folder.mkdir()
    simulated(seed, folder/'screen.h5ad')
    config = create_training_config('standard', data='screen.h5ad', target_genes=50, epochs=2,
        batch_size=16, embed_dim=8,
        n_layers=1, n_heads=2, learning_rate=.02, device='cpu', output_dir='run', seed=seed)
    os.chdir(folder)
    run_pipeline(config, progress=False)


def fresh_copy(made) -> Path:
    "The first run and its screen as they were made, at the place that the run's settings name."
    folder = made/'first'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made/'kept', folder)
    return folder


def told_of(report) -> str:
    "A report without the settings that say where files are and how they are read; these may be edited."
    names = '|'.join(free_settings)
    return re.sub(rf'\b({names})=[^,\n]+', r'\1', report)


def answer_of_run(folder) -> dict:
    "What a run says of three targets, its report, and what the command line does."
    os.chdir(folder)
    run = read_run('run')
    targets = ['ACAT2', 'STX4', 'TP53']
    tables = [run.predict_effects(targets, method=method) for method in ('blend', 'network')]
    effects = pd.concat([table.to_df().add_suffix(f' {n}', axis=0) for n,
        table in enumerate(tables)])
    notes = [note for table in tables for note in table.uns.get('notes', [])]
    return dict(outcome='answered', effects=effects, report='\n\n'.join(sections(run)), notes=notes)


def answer_of_shell(folder) -> dict:
    "What `vcc_nb predict` does."
    os.chdir(folder)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told): shell(['predict', 'run', '--targets',
            'ACAT2,STX4,TP53', '--out', 'out.csv'])
    except SystemExit as end:
        if end.code == 2: raise VCCError(told.getvalue().strip().splitlines()[-1]) from None
        raise
    effects = pd.read_csv('out.csv', index_col=0)
    Path('out.csv').unlink()
    return dict(outcome='answered', effects=effects.add_suffix(' 0', axis=0), notes=[])


def judged_run(answer, clean, expected) -> dict:
    "What came of a run, against the answer of the untouched one."
    if answer['outcome'] != 'answered': return answer
    notes = answer['notes'] + answer['warnings']
    rows = clean['effects'].loc[answer['effects'].index] if set(answer['effects'].index) <= set(clean['effects'].index) else None
    gap = difference(answer['effects'], rows)
    reports = [told_of(report) for report in (answer.get('report', clean['report']), clean['report'])]
    if not gap and reports[0] != reports[1]:
        lines = zip(*[report.splitlines() for report in reports])
        other = next((ours for ours, theirs in lines if ours != theirs), 'shorter or longer')
        return dict(outcome='said' if notes else 'REPORT',
            message=f'the report says: {other[:200]}')
    if not gap and expected == 'refused': gap = 'it should have been refused'
    if not gap: return dict(outcome='same', message='; '.join(notes))
    if notes: return dict(outcome='said', message=notes[0])
    return dict(outcome='SILENT', message=gap)


def try_run(number, name, made, clean, seed) -> dict:
    "One case: copy, mutate, predict in Python and at the command line, compare."
    family, function = fuzz_runs.mutations[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        inside = fresh_copy(made)
        bench = fuzz_runs.RunBench(inside, made/'second'/'run',
            np.random.default_rng([seed, 1, number]))
        change = function(bench)
        before, start = digest(inside), time.perf_counter()
        results = []
        for ask in (answer_of_run, answer_of_shell):
            if results and number % 5: break        # they share all but the words
            answer = in_a_process(attempted, ask, inside, folder=Path(folder))
            (Path(folder)/'answer.pickle').unlink(missing_ok=True)
            results.append(judged_run(answer, clean, change.expected))
        seconds = time.perf_counter() - start
        result = next((result for result in results if result['outcome'] in failures), results[0])
        if digest(inside) != before: result = dict(outcome='LOST',
            message='files of the run were changed')
    return dict(case=number, family=family, mutation=name, drawn=change.about,
        expected=change.expected,
        outcome=result['outcome'], shell=results[1]['outcome'] if len(results) > 1 else '',
        message=without(result['message'], inside), seconds=round(seconds, 2))


# ---- all of it

def listed(mutations, often, n, only):
    "[(number, name)] of `n` cases, in rounds over all mutations; `only` keeps a family or a mutation."
    one_round = [name for name in mutations for _ in range(often.get(name, 1))]
    names = [one_round[i % len(one_round)] for i in range(n)]
    return [(number, name) for number, name in enumerate(names) if only in (None, name,
        mutations[name][0])]


def counts(table) -> pd.DataFrame:
    "family x outcome: numbers of cases, with their sums."
    order = ['same', 'refused', 'said', 'as read', 'HDF5 hangs', *failures]
    table = pd.crosstab(table.family, table.outcome, margins=True, margins_name='all')
    return table.reindex(columns=[*[name for name in order if name in table], 'all'])


def finish(rows, path):
    "Print the counts and failures, and write the table."
    if not rows: return
    table = pd.DataFrame(rows)
    if path: table.to_csv(path, index=False)
    print('\n' + counts(table).to_string())
    failed = table[table.outcome.isin(failures)]
    print(f'\n{len(table)} cases, {len(failed)} failures')
    for row in failed.itertuples():
        print(f'{row.case:4} {row.outcome:9} {row.mutation} [{row.drawn}]: {row.message[:200]}')


def told(results):
    "The results as a list, each printed when it is there; after Ctrl-C, those that are there."
    rows = []
    with contextlib.suppress(KeyboardInterrupt):
        for row in results:
            rows.append(row)
            words = row['case'], row['outcome'], row['mutation'], f"[{row['drawn']}]", row['seconds']
            print(*words, row['message'][:150] if row['outcome'] in failures else '', flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--screens', type=int, default=390)
    parser.add_argument('--runs', type=int, default=130)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', metavar='NAME', help='a family or a mutation; nothing is written')
    parser.add_argument('--case', type=int, metavar='N',
        help='one number of the list; nothing is written')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results')
    parser.add_argument('--made', type=Path,
        help='folder for the two runs that are made first, used again if they are there')
    options = parser.parse_args()
    torch.set_num_threads(1)
    part = options.only is not None or options.case is not None
    chosen = lambda cases: [case for case in cases if options.case in (None, case[0])]
    options.out.mkdir(exist_ok=True, parents=True)

    adata, truth = simulated(options.seed)
    clean = answer_of_screen(adata, {})
    assert not difference(clean['effects'], truth), 'the clean answer is not the truth'
    cases = chosen(listed(fuzz_screens.mutations, often, options.screens, options.only))
    rows = told(try_screen(*case, adata, truth, clean, options.seed) for case in cases)
    finish(rows, None if part else options.out/'fuzz.csv')

    cases = chosen(listed(fuzz_runs.mutations, often_of_runs, options.runs, options.only))
    if not cases: return
    with tempfile.TemporaryDirectory() as folder:
        made = options.made or Path(folder)/'made'
        made.mkdir(exist_ok=True)
        if not (made/'second'/'run'/'training_report.md').exists():
            for name, seed in (('first', 0), ('second', 1)):
                in_a_process(make_run, made/name, seed, folder=made, seconds=600)
            (made/'first').rename(made/'kept')
        here = os.getcwd()
        clean = answer_of_run(fresh_copy(made))
        os.chdir(here)
        rows = told(try_run(*case, made, clean, options.seed) for case in cases)
    finish(rows, None if part else options.out/'fuzz_runs.csv')


if __name__ == '__main__':
    main()
