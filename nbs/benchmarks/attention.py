"""Attention over genes, and training steps of whole models: time and peak memory, one process a measurement, the methods in turn.

    python attention.py              # everything: about half an hour on 2 cores
    python attention.py --quick      # a miniature
    python attention.py --only floor # sparse attention against none at all, in the step of a whole model: three minutes
    python attention.py --device cuda --out results/gpu

Each process may take so much memory (--cap); running out of it is a result. Writes attention.json, steps.json and floor.json to --out (default: results beside this file)."""
import argparse, json, math, resource, statistics, subprocess, sys, tempfile, time
from pathlib import Path

alone = dict(methods=['naive', 'full', 'gather', 'sparse', 'sparse, no order', 'local', 'linear'],
    genes=[500, 1200, 2500, 5000, 10000, 18080])
steps = [(18080, 'none', 'float32'), (18080, 'sparse', 'float32'), (18080, 'linear', 'float32'), (18080, 'local', 'float32'),
    (18080, 'full', 'float32'), (18080, 'naive', 'float32'), (18080, 'full', 'bf16'),
    (18080, 'sparse', 'bf16'), (18080, 'none', 'bf16'), (3000, 'none', 'float32'), (3000, 'full', 'float32'),
    (3000, 'sparse', 'float32'), (3000, 'sparse', 'bf16')]

def gather(q, k, v, absent, target, graph):
    "The obvious sparse attention: keys and values of the neighbours of every gene side by side, rows filled up to the longest."
    import torch
    B, H, G, D = q.shape; n = graph.indptr.diff().long()
    idx = torch.zeros(G, int(n.max()), dtype=torch.long, device=q.device); there = torch.arange(idx.shape[1], device=q.device) < n[:, None]
    idx[there] = graph.indices.long()
    side_by_side = lambda x: x.index_select(2, idx.flatten()).view(B, H, *idx.shape, D)
    s = (q[..., None, :]*side_by_side(k)).sum(-1).masked_fill(~there, float('-inf'))/math.sqrt(D)
    return (s.softmax(-1)[..., None]*side_by_side(v)).sum(-2)

def attention_of(method):
    from vcc_nb.model import attention as a
    others = dict(naive=lambda q, k, v, absent, target, graph: a.reference_attention(q, k, v), gather=gather, none=lambda q, k, v, *rest: v)
    return others.get(method) or a.get_attention(method.split(',')[0])

def graph_of(o):
    import numpy as np, scipy.sparse as sp
    from vcc_nb.model.attention import Graph
    a = np.load(o['networks'])
    edges = sp.csr_matrix((np.ones(len(a[f'indices{o["genes"]}'])), a[f'indices{o["genes"]}'], a[f'indptr{o["genes"]}']))
    return Graph(edges, None if 'no order' in o['method'] else a[f'order{o["genes"]}']).to(o['device'])

def attention_pass(o):
    "A function that runs attention forward and backward on a batch."
    import torch
    f, graph = attention_of(o['method']), graph_of(o)
    x = torch.randn(o['batch'], o['genes'], 3, o['heads'], o['dim']//o['heads'], device=o['device'])
    def run():
        q, k, v = (t.detach().requires_grad_() for t in x.permute(2, 0, 3, 1, 4))
        out = f(q, k, v, None, None, graph); out.backward(torch.ones_like(out))
    return run

def training_step(o):
    "A function that takes one training step of a whole model, without dropout, which would only slow all of them alike."
    import torch
    from vcc_nb.model import attention as a
    from vcc_nb.training.precision import autocast
    from vcc_nb.model.state_model import create_memory_efficient_model
    a.attention_kinds[o['method']] = attention_of(o['method'])
    model = create_memory_efficient_model(o['genes'], o['dim'], o['heads'], o['method'], n_layers=o['layers'], dropout=0.,
        network=graph_of(o)).to(o['device'])
    optimizer = torch.optim.AdamW(model.parameters())
    x, y, target = ((torch.rand(o['batch'], o['genes'], device=o['device']) for _ in 'xy'),
        torch.rand(o['batch'], o['genes'], device=o['device']), torch.zeros(o['batch'], dtype=torch.long, device=o['device']))
    x = next(x)
    def run():
        with autocast(o['precision'], o['device']): loss = (model(x, target) - y).square().mean()
        optimizer.zero_grad(); loss.backward(); torch.nn.utils.clip_grad_norm_(model.parameters(), 1.); optimizer.step()
    return run

def measure(o):
    "Seconds of a pass (median of several) and peak memory above what the libraries hold: printed by a process of its own."
    import torch
    from vcc_nb.training.memory import _rss
    torch.set_num_threads(o['threads']); make = globals()[o['what']]; cuda = o['device'] != 'cpu'
    resource.setrlimit(resource.RLIMIT_DATA, (int(o['cap_gb']*2**30),)*2)
    make(o | dict(genes=o['small']))()                                  # kernels compiled, libraries ready
    before = torch.cuda.memory_allocated() if cuda else _rss('VmRSS')
    if cuda: torch.cuda.reset_peak_memory_stats()
    wall, cpu = [], []
    try:
        run = make(o)
        while not wall or (sum(wall) < o['seconds'] and len(wall) < 7):
            w, c = time.perf_counter(), time.process_time(); run()
            if cuda: torch.cuda.synchronize()
            wall.append(time.perf_counter() - w); cpu.append(time.process_time() - c)
    except (RuntimeError, MemoryError) as e:
        if 'memory' not in str(e): raise
        return print(json.dumps(o | dict(outcome='out of memory')))
    first = 1 if len(wall) > 1 else 0                                   # the first pass asks the system for its memory
    peak = (torch.cuda.max_memory_allocated() if cuda else _rss('VmHWM')) - before
    print(json.dumps(o | dict(outcome='ran', wall_seconds=statistics.median(wall[first:]), cpu_seconds=statistics.median(cpu[first:]),
        passes=len(wall), extra_mb=peak/2**20)))

def machine_limits(threads):
    "What this machine can do at best: float32 products and copies, in a process of its own."
    import torch
    torch.set_num_threads(threads); a, b = torch.randn(2048, 2048), torch.randn(2**26); best = lambda f: min(_timed(f) for _ in range(5))
    print(json.dumps(dict(gflops=2*2048**3/best(lambda: a @ a)/1e9, gb_per_s=2*b.nbytes/best(lambda: b.clone())/1e9)))

def _timed(f): start = time.perf_counter(); f(); return time.perf_counter() - start

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true'); p.add_argument('--only', choices=['attention', 'steps', 'floor'])
    p.add_argument('--rounds', type=int, default=3); p.add_argument('--threads', type=int, default=2)
    p.add_argument('--device', default='cpu')
    p.add_argument('--cap', type=float, default=16., help='GiB that a process may take')
    p.add_argument('--out', default=str(Path(__file__).parent/'results')); p.add_argument('--run', help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.run: return machine_limits(o.threads) if o.run == 'limits' else measure(json.loads(o.run))
    from vcc_nb.core import atomic_path, machine
    sizes, todo = (alone['genes'], steps) if not o.quick else ([120], [(120, 'none', 'float32'), (120, 'sparse', 'float32')])
    child = lambda spec: json.loads(subprocess.run([sys.executable, __file__, '--threads', str(o.threads), '--run', spec], check=True,
        stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    with tempfile.TemporaryDirectory() as d:
        small = 60; write_networks(f'{d}/networks.npz', {small, *sizes, *(n for n, *_ in todo)})
        common = dict(networks=f'{d}/networks.npz', small=small, batch=2, dim=128, heads=4, layers=4, threads=o.threads, device=o.device,
            cap_gb=o.cap, seconds=.2 if o.quick else 4.)
        jobs = dict(attention=[common | dict(what='attention_pass', method=m, genes=n) for n in sizes for m in alone['methods']],
                    steps=[common | dict(what='training_step', genes=n, method=m, precision=precision) for n, m, precision in todo])
        jobs['floor'] = [x | dict(seconds=3*common['seconds']) for x in jobs['steps'][:2]]*2
        for name, specs in jobs.items():
            if o.only not in (None, name): continue
            runs = []
            for r in range(1 if o.quick else o.rounds):
                for spec in specs:
                    if any(x['outcome'] != 'ran' and all(x[k] == spec[k] for k in spec) for x in runs): continue       # it would run out of memory again
                    runs.append(child(json.dumps(spec)) | dict(round=r))
                    print({k: runs[-1].get(k) for k in ('method', 'genes', 'precision', 'outcome', 'wall_seconds', 'extra_mb')}, flush=True)
            for x in runs: del x['networks']
            Path(o.out).mkdir(parents=True, exist_ok=True)
            with atomic_path(Path(o.out)/f'{name}.json') as f:
                f.write_text(json.dumps(dict(machine=machine(), limits=child('limits'), runs=runs), indent=0))

def write_networks(path, sizes):
    "Networks of the challenge's genes: pathways, 32 genes a row; fewer genes are drawn at random."
    import numpy as np
    from vcc_nb.data.embedded import vcc2025_genes
    from vcc_nb.genes.network import gene_network
    arrays = {}
    for n in sizes:
        net = gene_network(list(np.random.default_rng(0).permutation(vcc2025_genes())[:n]), sources='pathways')
        arrays |= {f'indptr{n}': net.edges.indptr, f'indices{n}': net.edges.indices, f'order{n}': net.order}
    np.savez(path, **arrays)

if __name__ == '__main__': main()
