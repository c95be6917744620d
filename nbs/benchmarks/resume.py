"""Kill a run at random moments, resume it, and compare its final weights with those of the run that nobody killed.

    python resume.py                 # 30 kills: some minutes on 2 cores
    python resume.py --kills 3

The run: the pipeline's training, progressive, on papalexi, with dropout; a checkpoint after each of its 24 epochs in four phases. SIGKILL comes at a moment drawn evenly from the time that the whole run took; one run in four
is up to be killed a second time while it goes on. Every part is a process of its own, forked from one that has the screen open; one thread each. Linux and macOS.
Writes resume.json to --out (default: results beside this file)."""
import os
os.environ['OMP_NUM_THREADS'] = '1'
import argparse, hashlib, json, multiprocessing, signal, tempfile, time
from pathlib import Path
import numpy as np, torch
from vcc_nb.core import machine
from vcc_nb.run.pipeline import ScaledTrainingPipeline
from vcc_nb.run.settings import create_training_config

settings = dict(strategy='progressive', data='papalexi', target_genes=100, epochs=24, batch_size=64, learning_rate=2e-3, embed_dim=16,
    n_layers=1, device='cpu')

def digest(model): return hashlib.sha256(b''.join(k.encode() + v.numpy().tobytes() for k, v in model.state_dict().items())).hexdigest()

def prepared():
    "A pipeline with its screen open and its genes chosen: what all processes share."
    with tempfile.TemporaryDirectory() as d:
        pipe = ScaledTrainingPipeline(create_training_config(**settings, output_dir=d), progress=False)
        for step in (pipe.open, pipe.select, pipe.train): step()
        return pipe

def go(pipe, run_dir, answer):
    "Begin training, or go on with it; put the digest of the final weights, and the epoch it went on from."
    pipe.run_dir, pipe.loaded, latest, after = Path(run_dir), True, pipe.latest, []
    pipe.latest = lambda: (found := latest(), after.append(found[1]['epoch'] if found else 0))[0]
    pipe.train()
    answer.put(dict(weights=digest(pipe.model), best_epoch=pipe.history.best_epoch, losses=[e['train_loss'] for e in pipe.history.epochs],
        went_on_after=after[0]))

def process(pipe, run_dir, kill_after=None):
    "What `go` answers, or None if it was killed before its end."
    context = multiprocessing.get_context('fork'); answer = context.Queue()
    p = context.Process(target=go, args=(pipe, run_dir, answer)); p.start()
    if kill_after is not None:
        p.join(kill_after)
        if p.is_alive(): os.kill(p.pid, signal.SIGKILL); p.join(); return None
    said = answer.get(timeout=600); p.join(); return said

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--kills', type=int, default=30); a.add_argument('--seed', type=int, default=0)
    a.add_argument('--out', type=Path, default=Path(__file__).parent/'results'); a = a.parse_args()
    torch.set_num_threads(1); rng, runs, pipe = np.random.default_rng(a.seed), [], prepared()
    with tempfile.TemporaryDirectory() as d:
        start = time.perf_counter(); whole = process(pipe, f'{d}/whole'); seconds = time.perf_counter() - start
        assert whole['weights'] == process(pipe, f'{d}/again')['weights'], 'two runs without a kill differ'
        while len(runs) < a.kills:
            run, at = f'{d}/{len(runs)}_{time.time_ns()}', rng.uniform(0, seconds)
            if process(pipe, run, at) is not None: continue           # it had ended: no kill
            end = process(pipe, run, rng.uniform(0, seconds) if rng.random() < .25 else None); twice = end is None
            if twice: end = process(pipe, run)
            same = {k: end[k] == whole[k] for k in ('weights', 'best_epoch', 'losses')}
            runs.append(dict(killed_at_seconds=round(at, 3), killed_twice=twice, went_on_after_epoch=end['went_on_after'],
                **{f'same_{k}': v for k, v in same.items()}))
            print(runs[-1], flush=True)
    a.out.mkdir(exist_ok=True, parents=True)
    result = dict(machine=machine(), settings=settings, seconds_of_a_whole_run=round(seconds, 2), kills=len(runs),
        resumed_to_equal_weights=sum(r['same_weights'] for r in runs), runs=runs)
    (a.out/'resume.json').write_text(json.dumps(result, indent=1))
    print(f'{result["resumed_to_equal_weights"]} of {len(runs)} end with the weights of the run that nobody killed')

if __name__ == '__main__': main()
