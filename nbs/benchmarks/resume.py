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
from vcc_nb.run.folder import Checkpoints
from vcc_nb.run.settings import create_training_config
from vcc_nb.run.task import choose_genes, open_task
from vcc_nb.run.train import closed_forms, train_network

config = create_training_config('progressive', data='papalexi', target_genes=100, epochs=24, batch_size=64, learning_rate=2e-3,
                                embed_dim=16, n_layers=1, device='cpu')


def digest(model):
    "SHA-256 of all weights."
    tensors = [name.encode() + tensor.numpy().tobytes() for name, tensor in model.state_dict().items()]
    return hashlib.sha256(b''.join(tensors)).hexdigest()


def prepared():
    "What all processes share: the screen opened, its genes chosen, the closed forms fitted once."
    task = open_task(config)
    chosen, closed = choose_genes(config, task), closed_forms(config, task)
    train_network(config.but(epochs=4), task, chosen, closed, progress=False)
    return task, chosen, closed


class RecordedCheckpoints(Checkpoints):
    "Checkpoints that remember after which epoch a run went on; 0: from the start."
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.went_on_after = []

    def latest(self):
        newest = super().latest()
        self.went_on_after.append(newest[1]['epoch'] if newest else 0)
        return newest


def go(shared, run_dir, answer):
    "Begin training, or go on with it; put the digest of the final weights, and the epoch it went on from."
    task, chosen, closed = shared
    checkpoints = RecordedCheckpoints(Path(run_dir), config, task.split, fresh=False)
    trained = train_network(config, task, chosen, closed, checkpoints=checkpoints, progress=False)
    losses = [epoch['train_loss'] for epoch in trained.history.epochs]
    answer.put(dict(weights=digest(trained.model), best_epoch=trained.history.best_epoch, losses=losses,
                    went_on_after=checkpoints.went_on_after[0]))


def process(shared, run_dir, kill_after=None):
    "What `go` answers, or None if it was killed before its end."
    context = multiprocessing.get_context('fork')
    answer = context.Queue()
    child = context.Process(target=go, args=(shared, run_dir, answer))
    child.start()
    if kill_after is not None:
        child.join(kill_after)
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            return None
    result = answer.get(timeout=600)
    child.join()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=30)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results')
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, runs, shared = np.random.default_rng(options.seed), [], prepared()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        whole = process(shared, f'{folder}/whole')
        seconds = time.perf_counter() - start
        assert whole['weights'] == process(shared, f'{folder}/again')['weights'], 'two runs without a kill differ'
        while len(runs) < options.kills:
            run, killed_at = f'{folder}/{len(runs)}_{time.time_ns()}', rng.uniform(0, seconds)
            if process(shared, run, killed_at) is not None:
                continue                                            # it had ended: no kill
            end = process(shared, run, rng.uniform(0, seconds) if rng.random() < .25 else None)
            twice = end is None
            if twice:
                end = process(shared, run)
            same = {f'same_{what}': end[what] == whole[what] for what in ('weights', 'best_epoch', 'losses')}
            runs.append(dict(killed_at_seconds=round(killed_at, 3), killed_twice=twice,
                             went_on_after_epoch=end['went_on_after'], **same))
            print(runs[-1], flush=True)
    equal = sum(run['same_weights'] for run in runs)
    result = dict(machine=machine(), settings=config.flat(), seconds_of_a_whole_run=round(seconds, 2), kills=len(runs),
                  resumed_to_equal_weights=equal, runs=runs)
    options.out.mkdir(exist_ok=True, parents=True)
    (options.out/'resume.json').write_text(json.dumps(result, indent=1))
    print(f'{equal} of {len(runs)} end with the weights of the run that nobody killed')


if __name__ == '__main__':
    main()
