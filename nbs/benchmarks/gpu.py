"""What a GPU does with this library: its kernels checked, attention and training steps measured,
a training run compared with the same run on the processor.

    python gpu.py                       # at most six minutes on an H100 or H200
    python gpu.py --device cpu --small  # the same in a miniature, on any machine
    python gpu.py --only steps          # one part, or several with commas between

It needs neither a network nor nbdev; `scripts/wheels_for_gpu.sh` gathers what it imports.
Every part has a time of its own and is cut when that is spent; what was skipped, stopped or failed
is a row of the results, with the reason. Writes gpu.json and gpu.csv to --out (default: results
beside this file); `gpu.ipynb` shows them."""
import argparse, contextlib, csv, dis, functools, gc, importlib, io, json, linecache, os, statistics
import subprocess, sys, tempfile, time, traceback
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import CodeType

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent
sys.path.insert(1, str(NOTEBOOKS.parent))       # the package beside these notebooks

# seconds of each part, in their order; what one leaves goes to the next
BUDGETS = dict(cells=90, attention=55, steps=85, pipeline=40, training=50)
GRACE = 15      # seconds that a job may take beyond the budget of its part, before it is stopped


# --- the work to do -------------------------------------------------------------------------------

def sizes_of(small):
    "What is measured: whole, or in a miniature."
    if small: return dict(genes=(130,), alone=dict(batch=1, dim=16, heads=2),
        step=dict(batch=2, dim=16, heads=2, layers=1), seconds=.02, screen=(500, 200, 12),
        run=dict(genes=100, dim=16, layers=1, batch=4, per_target=4), network='random')
    return dict(genes=(2_500, 5_000, 10_000, 18_080), alone=dict(batch=2, dim=128, heads=4),
        step=dict(batch=16, dim=128, heads=4, layers=4), seconds=.5, screen=(4_000, 5_000, 60),
        run=dict(genes=5_000, dim=64, layers=2, batch=8, per_target=32), network='pathways')

PRECISIONS = 'bf16', 'float32'
KINDS = 'sparse', 'linear', 'local', 'full'

def all_jobs(
    device,         # 'cuda' or 'cpu'
    small,          # see `sizes_of`
):                  # -> list of dicts, each with its part
    "Everything there is to do, the most important of each part first."
    genes = sizes_of(small)['genes']
    by_size = [(n, precision) for n in sorted(genes, reverse=True) for precision in PRECISIONS]
    jobs = cell_jobs(device)
    for n, precision in by_size:
        kinds = [*KINDS, 'full, flash'] if precision == 'bf16' and device == 'cuda' else KINDS
        jobs += [dict(part='attention', kind=k, genes=n, precision=precision) for k in kinds]
    for n, precision in by_size:
        kinds = 'none', *KINDS
        jobs += [dict(part='steps', kind=k, genes=n, precision=precision) for k in kinds]
    jobs += [dict(part='pipeline', what='cells a second', precision=p) for p in PRECISIONS]
    jobs += [dict(part='pipeline', what=what) for what in ('checkpoint', 'phases', 'fp16')]
    jobs += [dict(part='training', run='reference', on='cpu', precision='float32', accumulate=1)]
    for precision, accumulate in (('float32', 1), ('bf16', 1), ('float32', 2)):
        run = f'{precision}, in {accumulate} parts' if accumulate > 1 else precision
        jobs.append(dict(part='training', run=run, on=device, precision=precision,
            accumulate=accumulate))
    jobs.append(dict(part='training', run=CONTROL, on=device, precision='float32', accumulate=1,
        kind='keys learn nothing'))
    return jobs


# --- cells of notebooks ---------------------------------------------------------------------------

def code_cells(path):
    "(directives, source) of each code cell of a notebook."
    cells = []
    for cell in json.loads(Path(path).read_text())['cells']:
        if cell['cell_type'] != 'code': continue
        source = ''.join(cell['source'])
        lines = source.splitlines()
        marks = [line[2:].split() for line in lines if line.startswith('#|')]
        cells.append(([word for mark in marks for word in mark], source))
    return cells

def gpu_cells():
    "(path from the folder of notebooks, number of the cell) of every cell that needs a GPU."
    for path in sorted(NOTEBOOKS.rglob('*.ipynb')):
        if '.ipynb_checkpoints' in path.parts: continue
        for number, (directives, _) in enumerate(code_cells(path)):
            if 'gpu' in directives: yield str(path.relative_to(NOTEBOOKS)), number

# where there is no GPU
INTERPRETED = dict(part='cells', notebook='3_model/31_attention_gpu.ipynb', needs='triton',
    code='print(interpreted())')

def cell_jobs(device):
    "A job for each cell that needs a GPU; without one, the kernels in an interpreter."
    jobs = [dict(part='cells', notebook=path, cell=number) for path, number in gpu_cells()]
    if device != 'cuda': jobs.append(INTERPRETED)
    return jobs

def names_of(source):
    "(names that a cell defines, names that it takes from elsewhere), as its compiled code tells."
    outermost = compile(source, 'cell', 'exec')
    defined, used, codes = set(), set(), [outermost]
    while codes:
        code = codes.pop()
        codes += [part for part in code.co_consts if isinstance(part, CodeType)]
        for instruction in dis.get_instructions(code):
            if instruction.opname in ('LOAD_NAME', 'LOAD_GLOBAL'): used.add(instruction.argval)
            is_stored = instruction.opname == 'STORE_NAME' and code is outermost
            if is_stored: defined.add(instruction.argval)
    return defined, used - defined

def needed_cells(
    cells,      # (directives, source) of each, see `code_cells`
    source,     # what is to run
    before,     # number of the first cell that comes too late
):              # -> numbers of cells, in order
    "The cells that must run first; those that are exported come with their module."
    apart = {'export', 'gpu', 'slow', 'default_exp'}
    names = [(set(), set()) if apart & set(marks) else names_of(other)
        for marks, other in cells[:before]]

    def latest(name, limit):
        "The last cell before `limit` that defines it."
        return max((n for n in range(limit) if name in names[n][0]), default=None)
    numbers, waiting = set(), [(name, before) for name in names_of(source)[1]]
    while waiting:
        name, limit = waiting.pop()
        number = latest(name, limit)
        if number is None: number = latest(name, before)    # used by a function, defined later
        if number is None or number in numbers: continue
        numbers.add(number)
        waiting += [(used, number) for used in names[number][1]]
    return sorted(numbers)

def module_of(cells):
    "What the module of a notebook holds, if it has one."
    for directives, _ in cells:
        if 'default_exp' in directives:
            name = directives[directives.index('default_exp') + 1]
            return dict(vars(importlib.import_module(f'vcc_nb.{name}')))
    return {}

class Notebook:
    "The names of a notebook, whose cells run when they are needed."
    def __init__(self, path):
        self.path, self.cells = path, code_cells(NOTEBOOKS/path)
        self.names, self.done = module_of(self.cells) | dict(__name__='__notebook__'), set()

    def run(self, source, before, label):
        "Run a source and what it needs of the cells before; what it printed."
        for number in needed_cells(self.cells, source, before):
            if number not in self.done: self.execute(self.cells[number][1], f'cell {number}')
            self.done.add(number)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed): self.execute(source, label)
        return printed.getvalue()

    def execute(self, source, label):
        "Run one source; `inspect` can find it afterwards."
        name = f'<{self.path}, {label}>'
        linecache.cache[name] = len(source), None, source.splitlines(True), name
        exec(compile(source, name, 'exec'), self.names)

open_notebook = functools.cache(Notebook)

def run_cell(job, o):
    "A cell of a notebook, and what it printed."
    notebook = open_notebook(job['notebook'])
    needs = job.get('needs')
    if needs and not find_spec(needs): return skipped(f'{needs} is not installed here')
    if 'code' in job:
        return dict(printed=notebook.run(job['code'], len(notebook.cells), 'asked for'))
    if o['device'] != 'cuda': return skipped('it needs a GPU')
    number = job['cell']
    return dict(printed=notebook.run(notebook.cells[number][1], number, f'cell {number}'))

def skipped(reason): return dict(outcome='skipped', message=reason)


# --- networks and clocks --------------------------------------------------------------------------

class Network:
    "Who reads whom: edges (genes x genes, CSR) and an order, as a `GeneNetwork` has them."
    def __init__(self, edges, order, source):
        self.edges, self.order, self.source = edges, order, source

@functools.cache
def network(genes, path):
    "The network of so many genes, from the file at `path`; None, or no such file: at random."
    import numpy as np, scipy.sparse as sp
    from vcc_nb.model.attention import random_graph
    from_file = path is not None and is_written(path)
    if not from_file:
        graph = random_graph(genes)
        rows, order = (graph.indices.numpy(), graph.indptr.numpy()), graph.order.numpy()
    else:
        arrays = np.load(path)
        rows = arrays[f'indices{genes}'], arrays[f'indptr{genes}']
        order = arrays[f'order{genes}']
    ones = np.ones(len(rows[0]), np.float32)
    edges = sp.csr_matrix((ones, *rows), shape=(genes, genes))
    return Network(edges, order, 'pathways' if from_file else 'random')

@functools.cache
def is_written(path, most=90):
    "Is the file there, after at most so many seconds in which another process is at it?"
    for _ in range(5*most):
        if Path(path).exists(): return True
        if Path(f'{path}.failed').exists(): return False
        time.sleep(.2)
    return False

def write_networks(path, genes):
    "Networks of the challenge's genes by shared pathways, as `attention.py` makes them."
    sys.path.insert(0, str(HERE))
    try:
        import attention
        attention.write_networks(f'{path}.part.npz', genes)
        os.replace(f'{path}.part.npz', path)
    except BaseException:
        Path(f'{path}.failed').touch()
        raise

def wait_for(device):
    "Until the GPU has done all it was told."
    import torch
    if device == 'cuda': torch.cuda.synchronize()

def measured(
    once,           # function: one pass
    device,
    seconds,        # to measure for, at least three passes
):                  # -> dict: ms, the median; on a GPU peak_bytes of all tensors
    "Time and memory of a pass, after two that are not counted."
    import torch
    for _ in range(2): once()
    wait_for(device)
    if device == 'cuda': torch.cuda.reset_peak_memory_stats()
    times = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 50):
        start = time.perf_counter()
        once()
        wait_for(device)
        times.append(time.perf_counter() - start)
    row = dict(ms=1e3*statistics.median(times), passes=len(times))
    if device == 'cuda': row['peak_bytes'] = torch.cuda.max_memory_allocated()
    return row

def held(device):
    "Bytes of tensors on the GPU, what nobody needs let go; 0 on a processor."
    import torch
    gc.collect()
    if device != 'cuda': return 0
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()


# --- the roofline ---------------------------------------------------------------------------------

# dense TFLOP/s in float32 and bf16, TB/s of memory: from the vendor's data sheets
DATA_SHEETS = {'H200': (67, 989, 4.8), 'H100 80GB HBM3': (67, 989, 3.35),
    'H100 NVL': (60, 835, 3.9), 'H100 PCIe': (51, 756, 2.), 'A100-SXM4-80GB': (19.5, 312, 2.039),
    'A100-SXM4-40GB': (19.5, 312, 1.555), 'A100 80GB PCIe': (19.5, 312, 1.935),
    'L40S': (91.6, 362, .864), 'L4': (30.3, 121, .3)}

def fastest(f, device, n=5):
    "Seconds of the fastest of n calls, after one that is not counted."
    f()
    times = []
    for _ in range(n):
        wait_for(device)
        start = time.perf_counter()
        f()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return min(times)

def measured_peaks(device):
    "FLOP/s of a matrix product in each precision, and bytes a second of a copy (read and written)."
    import torch
    n, size = (8192, 2**30) if device == 'cuda' else (1024, 2**26)
    peaks = {}
    for precision, dtype in dict(float32=torch.float32, bf16=torch.bfloat16).items():
        a, b = torch.randn(2, n, n, device=device).to(dtype)
        peaks[precision] = 2*n**3/fastest(lambda: a @ b, device)
    source = torch.randn(size//4, device=device)
    target = torch.empty_like(source)
    peaks['bytes'] = 2*size/fastest(lambda: target.copy_(source), device)
    return peaks

def device_peaks(name, measured):
    "Peaks by the name of the device, from its data sheet; else those that were measured."
    for part, (float32, bf16, bytes_) in DATA_SHEETS.items():
        if name.endswith(part):
            return dict(source=f'data sheet of {part}', float32=float32*1e12, bf16=bf16*1e12,
                bytes=bytes_*1e12)
    return dict(source='measured', **measured)

def pairs_read(
    kind, genes,
    edges,          # of the network
    width,          # of a head
):                  # -> number
    "Pairs (reader, gene read) that one head must look at; for linear attention, rows of its table."
    from vcc_nb.model.attention import window
    if kind == 'none': return 0
    if kind == 'linear': return genes*width
    if kind == 'local': return genes*min(3*window, genes)
    return edges if kind == 'sparse' else genes**2

def attention_flops(kind, genes, edges, batch, dim, heads):
    """Forward and backward: two products a pair on the way there, five on the way back (four
    without a softmax, which must compute its scores again), 2 FLOP a dimension each."""
    products = 6 if kind == 'linear' else 7
    return 2*products*pairs_read(kind, genes, edges, dim//heads)*dim*batch

def attention_bytes(kind, genes, edges, batch, dim, item):
    "q, k, v read, output written; these four and its gradient read, three gradients written."
    of_network = 3*4*edges if kind == 'sparse' else 0       # rows twice, columns once
    return 12*batch*genes*dim*item + of_network

def step_flops(kind, genes, edges, batch, dim, heads, layers):
    """A training step: products of every layer (16 dim^2 FLOP a token), of the tokens and answers
    (6 dim), twice as much on the way back, and attention; pointwise operations are not counted."""
    there = batch*genes*(16*dim**2*layers + 6*dim)
    return 3*there + layers*attention_flops(kind, genes, edges, batch, dim, heads)

def step_bytes(parts):
    """What is kept for the backward pass, written and read; weights read twice, gradients written
    and read twice, weights and both moments of AdamW read and written."""
    kept = sum(n for part, n in parts.items() if part.startswith(('activations', 'attention')))
    return 2*kept + 11*parts['parameters']

def roofline(flops, bytes_, precision, ms, peaks):
    "Milliseconds that no program of so many FLOP and bytes goes below, and its share of the time."
    of_flops, of_bytes = flops/peaks[precision], bytes_/peaks['bytes']
    floor_ms = 1e3*max(of_flops, of_bytes)
    bound_by = 'flops' if of_flops > of_bytes else 'bytes'
    return dict(gflop=flops/1e9, gbyte=bytes_/1e9, bound_by=bound_by, floor_ms=floor_ms,
        share_of_roofline=floor_ms/ms)


# --- attention alone, and a training step ---------------------------------------------------------

def attention_of(kind):
    "The function of a kind; three more than the library has."
    from vcc_nb.model import attention
    if kind == 'none': return lambda q, k, v, *rest: v
    if kind == 'keys learn nothing': return keys_learn_nothing
    if kind != 'full, flash': return attention.get_attention(kind)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    def flash(*args):
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION): return attention.full_attention(*args)
    return flash

def attention_alone(job, o):
    "Attention forward and backward; q, k and v are views of one product, as in a model."
    import torch
    from vcc_nb.core import torch_rng
    from vcc_nb.model.attention import Graph
    size, genes, device = o['alone'], job['genes'], o['device']
    net = network(genes, o['networks'])
    graph = Graph(net.edges, net.order).to(device)
    dtype = torch.bfloat16 if job['precision'] == 'bf16' else torch.float32
    shape = size['batch'], genes, 3, size['heads'], size['dim']//size['heads']
    product = torch.randn(shape, generator=torch_rng(0)).to(device, dtype)
    q, k, v = (x.detach().requires_grad_() for x in product.permute(2, 0, 3, 1, 4))
    attend, before = attention_of(job['kind']), held(device)

    def once():
        out = attend(q, k, v, None, None, graph)
        torch.autograd.grad(out, (q, k, v), torch.ones_like(out))
    row = measured(once, device, o['seconds'])
    _in_gb(row, before)
    kind, edges = job['kind'].split(',')[0], net.edges.nnz
    flops = attention_flops(kind, genes, edges, **size)
    bytes_ = attention_bytes(kind, genes, edges, size['batch'], size['dim'], product.element_size())
    row |= dict(network=net.source, **size)
    return row | roofline(flops, bytes_, job['precision'], row['ms'], o['peaks'])

def _in_gb(row, before):
    "Let the row say GiB beyond what was held before."
    if 'peak_bytes' in row: row['measured_gb'] = (row.pop('peak_bytes') - before)/2**30

def step_model(genes, dim, heads, layers, kind, networks):
    "A model of the library with the network of its genes."
    from vcc_nb.model import attention
    from vcc_nb.model.state_model import MemoryEfficientStateModel
    attention.attention_kinds.setdefault('none', attention_of('none'))
    return MemoryEfficientStateModel(genes, dim, heads, kind, n_layers=layers,
        network=network(genes, networks))

def training_step(job, o):
    "Forward, squared error, backward, clipping, AdamW; beside it what `estimate` had said."
    import torch
    from torch import nn
    from vcc_nb.training.memory import TrainingStep, estimate
    from vcc_nb.training.precision import autocast
    size, genes, device, precision = o['step'], job['genes'], o['device'], job['precision']
    batch, shape = size['batch'], {name: size[name] for name in ('dim', 'heads', 'layers')}
    make = functools.partial(step_model, genes, kind=job['kind'], networks=o['networks'], **shape)
    net = network(genes, o['networks'])                 # made before tensors lose their values
    step = TrainingStep(make, batch_size=batch, precision=precision, device=device)
    predicted = estimate(step, process_gb=0)
    before = held(device)
    model = make().to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=device != 'cpu')
    x_BG, change_BG = torch.rand(2, batch, genes, device=device)
    target_B = torch.zeros(batch, dtype=torch.long, device=device)

    def once():
        with autocast(precision, device): loss = (model(x_BG, target_B) - change_BG).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
    row = measured(once, device, o['seconds'])
    _in_gb(row, before)
    row |= dict(predicted_gb=predicted.peak_gb, examples_per_second=1e3*batch/row['ms'])
    if 'measured_gb' in row: row['error_of_estimate'] = row['predicted_gb']/row['measured_gb'] - 1
    flops = step_flops(job['kind'], genes, net.edges.nnz, batch, **shape)
    bytes_ = step_bytes(predicted.parts)
    row |= dict(network=net.source, **size)
    return row | roofline(flops, bytes_, precision, row['ms'], o['peaks'])


# --- training runs --------------------------------------------------------------------------------

@functools.cache
def task(n_cells, n_genes, n_targets):
    "(screen, split, features) of a simulated screen."
    import pandas as pd
    from vcc_nb.core import TARGET, np_rng
    from vcc_nb.data.embedded import vcc2025_targets
    from vcc_nb.data.screen import open_screen
    from vcc_nb.data.splits import make_split
    from vcc_nb.simulation.cells import simulate_screen
    targets = vcc2025_targets().query("split == 'train'")[TARGET].tolist()[:n_targets]
    screen = open_screen(simulate_screen(n_cells=n_cells, n_genes=n_genes, targets=targets)[0])
    numbers = np_rng(0, 'features').normal(size=(n_targets, 8))
    return screen, make_split(screen), pd.DataFrame(numbers, index=targets)

def run_of(
    genes,          # how many of the screen's
    o,
    *,
    batch=None,     # pseudobulks in a batch; None: that of the runs
    per_target=4,   # pseudobulks of a target in an epoch
    model=None,     # to go on with; None: a new one, the same every time
    kind='sparse', dropout=0.,
    judged=True,    # by validation perturbations, so that the best weights are kept
    **options,      # of `train`: device, precision, epochs ...
):                  # -> (model, History)
    "Train on a simulated screen; the same batches every time."
    from vcc_nb.model import attention
    from vcc_nb.model.state_model import create_memory_efficient_model
    from vcc_nb.training.batches import PseudobulkBatches
    from vcc_nb.training.loop import train
    size, (screen, split, features) = o['run'], task(*o['screen'])
    if kind not in attention.attention_kinds: attention.register_attention(kind, attention_of(kind), network=True)
    batches = PseudobulkBatches(screen, split.train, list(screen.genes[:genes]), features,
        per_target=per_target, batch_size=batch or size['batch'])
    model = model or create_memory_efficient_model(genes, size['dim'], 4, kind, dropout=dropout,
        n_layers=size['layers'], n_features=features.shape[1])
    valid = validation_of(genes, o) if judged else None
    return model, train(model, batches, valid, progress=False, **dict(epochs=2) | options)

def validation_of(genes, o):
    "The measured effects of the validation perturbations, as a batch."
    from vcc_nb.training.loop import validation_batch
    screen, split, features = task(*o['screen'])
    return validation_batch(screen, split.valid, list(screen.genes[:genes]), features)

def refused_here(precision, device):
    "Why a precision is not used on this device; empty: it is."
    from vcc_nb.training.precision import why_not
    return why_not(precision, device)

def pipeline(job, o):
    "Parts of a run that move between processor and GPU."
    if reason := refused_here(job.get('precision', 'float32'), o['device']): return skipped(reason)
    return dict(checkpoint=written_and_read, phases=two_phases, fp16=in_fp16,
        **{'cells a second': cells_a_second})[job['what']](job, o)

def cells_a_second(job, o):
    "The loop from cells in memory to weights: its second epoch; the first compiled what there is."
    genes, batch = o['run']['genes'], 2*o['run']['batch']
    _, history = run_of(genes, o, device=o['device'], precision=job['precision'], batch=batch,
        per_target=o['run']['per_target'], dropout=.1)
    last = history.epochs[-1]
    row = dict(genes=genes, batch=batch, cells_per_second=last['cells_per_second'],
        pseudobulks=last['pseudobulks'])
    if 'gpu_memory_gb' in last: row['gpu_memory_gb'] = last['gpu_memory_gb']
    return row

def written_and_read(job, o):
    "Trained there, written, read on the processor, gone on with: the same answers and losses."
    import torch
    from vcc_nb.training.checkpoints import load_checkpoint, save_checkpoint
    genes, states, device = 60, [], o['device']
    symbols = list(task(*o['screen'])[0].genes[:genes])
    with tempfile.TemporaryDirectory() as folder:
        def save(model, state):
            path = f'{folder}/checkpoint_epoch_{state["epoch"]:04}.pt'
            save_checkpoint(path, model, genes=symbols, training=state)
            states.append(path)
        model, whole = run_of(genes, o, device=device, epochs=3, ema=.9, save=save)
        first, about = load_checkpoint(states[0])
        _, resumed = run_of(genes, o, device=device, epochs=3, ema=.9, model=first,
            resume=about['training'])
        last, _ = load_checkpoint(states[-1])
    x_BG = torch.rand(4, genes)
    with torch.no_grad():
        on_device = last.to(device)(x_BG.to(device)).cpu()
        difference = (last.cpu()(x_BG) - on_device).abs().max().item()
    losses = [[record['train_loss'] for record in h.epochs] for h in (whole, resumed)]
    apart = max(abs(a/b - 1) for a, b in zip(*losses))
    return checked(dict(largest_difference=difference, losses_apart=apart), dict(
        largest_difference=1e-4, losses_apart=1e-4))

def checked(row, bounds):
    "The row; it failed if a value is above its bound."
    above = [f'{name} is {row[name]:.2g}, above {bound:g}' for name, bound in bounds.items()
        if not row[name] <= bound]
    return row | (dict(outcome='failed', message='; '.join(above)) if above else {})

def two_phases(job, o):
    "A curriculum of two panels: weights and moments are carried, effects predicted for all genes."
    import numpy as np, pandas as pd
    from vcc_nb.effects.network import NetworkEffects
    from vcc_nb.genes.selection import GeneSelection
    from vcc_nb.training.curriculum import train_in_phases
    screen, split, features = task(*o['screen'])
    sizes = dict(embed_dim=16, n_heads=2, n_layers=1, attention_type='sparse')
    ranked = pd.DataFrame(dict(reasons='', phase=0), index=screen.genes[:80])
    selection = GeneSelection(ranked, {})
    model, history = train_in_phases(screen, split, selection, features, phases=[40, 80],
        epochs=[1, 1], model_sizes=sizes, batch_options=dict(batch_size=8, per_target=2),
        device=o['device'], progress=False)
    effects = screen.effects(split.rows(screen, 'train', 'valid'))
    method = NetworkEffects(model, selection.genes, features)
    predicted = method.fit(effects, split, screen.control_mean()).predict(split.test)
    if not np.isfinite(predicted.X).all(): raise ValueError('a predicted effect is no number')
    return dict(genes=predicted.n_vars, epochs=len(history.epochs))

def in_fp16(job, o):
    "The loss scaled, as 16 bits without the range of float32 need it."
    if reason := refused_here('fp16', o['device']): return skipped(reason)
    _, history = run_of(60, o, device=o['device'], precision='fp16')
    last = history.epochs[-1]
    return dict(train_loss=last['train_loss'], skipped_steps=last['skipped_steps'])

# how far from the processor's float32 (relative): losses at every step, answers when all is done
TOLERANCES = dict(float32=dict(losses_apart=1e-3, answers_apart=1e-3),
    bf16=dict(losses_apart=.01, answers_apart=.05))

def training(job, o):
    "Losses and last answers of a run of few steps; against the reference, if there is one already."
    import torch
    from vcc_nb.training.gradients import predicted_change
    device, precision, kind = job['on'], job['precision'], job.get('kind', 'sparse')
    if reason := refused_here(precision, device): return skipped(reason)
    losses, noted = noted_losses()
    model, history = run_of(o['run']['genes'], o, device=device, precision=precision, kind=kind,
        accumulate=job['accumulate'], loss=noted, per_target=2, epochs=4, learning_rate=3e-3,
        judged=False)
    valid = validation_of(o['run']['genes'], o).to(device)
    with torch.no_grad(): answers = predicted_change(model.eval(), valid).cpu()
    losses = by_step(losses, job['accumulate'])
    seconds = history.speed_metrics['seconds']
    row = dict(genes=o['run']['genes'], losses=losses, loop_seconds=seconds)
    if job['run'] == 'reference':
        reference.update(losses=losses, answers=answers)
        return row
    return against_reference(row, answers, job)

def noted_losses():
    "(list, loss function that notes in it each loss and of how many examples it is)"
    from vcc_nb.model.losses import mean_squared
    losses = []
    def noted(predicted_BG, batch):
        loss = mean_squared(predicted_BG, batch)
        losses.append((loss.item(), len(batch.targets)))
        return loss
    return losses, noted

def by_step(losses, parts):
    "Mean losses of whole batches, from (loss, examples) of their parts."
    steps = [losses[i:i + parts] for i in range(0, len(losses), parts)]
    return [sum(loss*n for loss, n in step)/sum(n for _, n in step) for step in steps]

reference = {}          # losses and answers of the processor's run, in this process

def against_reference(row, answers, job):
    "How far from the reference; a control, which learns wrongly, must be farther than is allowed."
    if not reference: return row | failed('there is no run of the processor to compare with')
    pairs = zip(row['losses'], reference['losses'], strict=True)
    row['losses_apart'] = max(abs(a/b - 1) for a, b in pairs)
    expected = reference['answers']
    row['answers_apart'] = float((answers - expected).norm()/expected.norm())
    compared = checked(row, TOLERANCES[job['precision']])
    if job['run'] != CONTROL: return compared
    if 'outcome' not in compared: return row | failed('keys that learn nothing were not noticed')
    return row | dict(message=f"found, as it should be: {compared['message']}")

CONTROL = 'control: keys learn nothing'

def keys_learn_nothing(q, k, v, *rest):
    "Sparse attention with a wrong gradient."
    from vcc_nb.model.attention import sparse_attention
    return sparse_attention(q, k.detach(), v, *rest)


# --- the process that works -----------------------------------------------------------------------

PART_OF = dict(cells=run_cell, attention=attention_alone, steps=training_step, pipeline=pipeline,
    training=training)

def work(spec):
    "Do the jobs that are left, one line of JSON at the beginning and the end of each."
    import torch                                    # before the clock of the first job runs
    o, spent = spec['options'], spec['spent']
    with open(spec['progress'], 'a', buffering=1) as progress:
        def say(**line): print(json.dumps(line), file=progress)
        if 'peaks' not in o:
            o |= about_device(o['device'])
            say(about={name: o[name] for name in ('name', 'peaks', 'measured_peaks')})
        for number in spec['left']:
            job = spec['jobs'][number]
            say(begin=number)
            start = time.perf_counter()
            reason = no_time(job['part'], spent, spec)
            row = skipped(reason) if reason else attempt(job, o)
            row['took'] = time.perf_counter() - start
            spent[job['part']] += row['took']
            say(end=number, row=row)
            if row.get('lost'): return              # another process goes on without this GPU state

def about_device(device):
    "Its name, its peaks, and what was measured of them."
    import torch
    from vcc_nb.core import machine
    name = torch.cuda.get_device_name() if device == 'cuda' else machine().split(',')[0]
    peaks = measured_peaks(device)
    return dict(name=name, measured_peaks=peaks, peaks=device_peaks(name, peaks))

def no_time(part, spent, spec):
    "Why there is no time for a job of this part; empty: there is."
    if time_left(part, spent, spec['budgets']) <= 0: return 'the time of this part was spent'
    return 'the time of all parts was spent' if time.time() > spec['ends'] else ''

def time_left(part, spent, budgets):
    "Seconds until this part must end: its own, and what the parts before it left."
    until = list(budgets)[:list(budgets).index(part) + 1]
    return sum(budgets[p] - spent[p] for p in until)

# after these nothing more runs in that process
LOST = 'CUDA error', 'Triton Error [CUDA]', 'AcceleratorError'

def attempt(job, o):
    "The row of a job, whatever happens."
    import torch
    try: row = PART_OF[job['part']](job, o)
    except Exception as error:
        text = f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ""}'
        is_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        row = dict(outcome='out of memory' if is_memory else 'failed', message=text[:300],
            traceback=traceback.format_exc()[-2000:], lost=any(word in text for word in LOST))
    return dict(outcome='ran') | row


# --- the process that watches ---------------------------------------------------------------------

class Watcher:
    "Gives the jobs to a process, and to another one if that dies or takes too long."
    def __init__(self,
        jobs,           # see `all_jobs`
        options,        # what the jobs are told: sizes, device, networks
        budgets,        # seconds of each part
        folder,         # for what the processes say
        seconds,        # for everything, with the start of processes
        grace=GRACE,    # seconds beyond these, before a process is stopped
    ):
        self.jobs, self.options, self.budgets, self.grace = jobs, options, budgets, grace
        self.rows, self.spent = {}, dict.fromkeys(budgets, 0.)
        self.progress, self.log = Path(folder)/'progress', Path(folder)/'log'
        self.ends = time.time() + seconds
        self.at, self.began, self.read = None, 0., 0    # job at work, since when; bytes read

    def run(self):
        "All rows, in the order of the jobs."
        while left := [n for n in range(len(self.jobs)) if n not in self.rows]:
            before = len(self.rows)
            why = self.one_process(left)
            if len(self.rows) > before: continue
            row = skipped(why) if why else failed(f'no process could begin: {self.last_words()}')
            for n in left: self.note(n, row)
        return [self.jobs[n] | self.rows[n] for n in range(len(self.jobs))]

    def one_process(self, left):
        "Until it has done what is left, or died, or had to be stopped: the reason, if so."
        spec = dict(jobs=self.jobs, left=left, options=self.options, budgets=self.budgets,
            spent=self.spent, ends=self.ends, progress=str(self.progress))
        with open(self.log, 'w') as log:
            worker = subprocess.Popen([sys.executable, __file__, '--work', json.dumps(spec)],
                stdout=log, stderr=log, env=environment())
            why = None
            while worker.poll() is None and not why:
                time.sleep(.1)
                self.look()
                why = self.too_long()
            if why: worker.kill()
            status = worker.wait()
        self.look()
        if self.at is not None:         # it began something that it did not end
            self.note(self.at, dict(outcome='stopped', message=why) if why else
                failed(f'the process ended with status {status}: {self.last_words()}'))
        return why

    def look(self):
        "Read what the process has said since."
        if not self.progress.exists(): return
        with open(self.progress) as file:
            file.seek(self.read)
            while (text := file.readline()).endswith('\n'):
                self.read = file.tell()
                line = json.loads(text)
                if 'begin' in line: self.at, self.began = line['begin'], time.time()
                elif 'end' in line: self.note(line['end'], line['row'])
                else: self.options |= line['about']

    def too_long(self):
        "Why the process must be stopped; empty: it need not."
        now = time.time()
        if now > self.ends + self.grace: return 'the time of all parts was spent'
        if self.at is None: return ''
        part, took = self.jobs[self.at]['part'], now - self.began
        allowed = max(time_left(part, self.spent, self.budgets), 0) + self.grace
        return f'stopped after {took:.0f} s, more than its part had left' if took > allowed else ''

    def note(self, number, row):
        "Keep a row and show it."
        part = self.jobs[number]['part']
        took = time.time() - self.began if self.at == number else 0.
        row = dict(took=took) | row
        self.rows[number], self.at = row, None
        self.spent[part] += row['took']
        print(in_a_line(self.jobs[number] | row), flush=True)

    def last_words(self):
        lines = self.log.read_text(errors='replace').strip().splitlines()
        return lines[-1][:200] if lines else 'it said nothing'

def failed(message): return dict(outcome='failed', message=message)

def environment():
    "That of a process that works: this package, pictures without a screen."
    path = os.pathsep.join([str(NOTEBOOKS.parent), *(p for p in sys.path if p)])
    return os.environ | dict(PYTHONPATH=path, MPLBACKEND='Agg', PYTHONUNBUFFERED='1')

def in_a_line(row):
    "A row for the reader at the shell."
    shown = dict(kind='', genes='{:,} genes', precision='', notebook='', cell='cell {}', code='',
        what='', run='', ms='{:.3g} ms', measured_gb='{:.3g} GiB',
        share_of_roofline='{:.0%} of the roofline', cells_per_second='{:,.0f} cells/s',
        losses_apart='losses {:.2g} apart', answers_apart='answers {:.2g} apart', message='')
    words = [(form or '{}').format(row[name]) for name, form in shown.items() if name in row]
    words = [word.splitlines()[0] for word in words if word]
    line = f"{row['part']:10} {row['outcome']:13} {', '.join(words)}"
    return '\n'.join([line, *row.get('printed', '').splitlines()])


# --- the command ----------------------------------------------------------------------------------

def options(arguments=None):
    p = argparse.ArgumentParser(description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--device', choices=['cuda', 'cpu'], help='default: the GPU, if there is one')
    p.add_argument('--small', action='store_true', help='tiny sizes, to try the script itself')
    p.add_argument('--only', default=','.join(BUDGETS), help='parts, with commas between')
    p.add_argument('--minutes', type=float, default=6., help='for everything (default: 6)')
    p.add_argument('--out', type=Path, default=HERE/'results', help='folder of the results')
    p.add_argument('--work', help=argparse.SUPPRESS)
    o = p.parse_args(arguments)
    o.only = o.only.split(',')
    for part in o.only:
        if part not in BUDGETS:
            p.error(f'--only {part}: no such part; choose from {", ".join(BUDGETS)}')
    return o

def write(out, result):
    "gpu.json with everything, gpu.csv with a line a row."
    from vcc_nb.core import atomic_path
    rows = result['rows']
    names = list(dict.fromkeys(name for row in rows for name in row))
    left_out = {'traceback', 'printed', 'losses', 'lost'}
    names = [name for name in names if name not in left_out]
    with atomic_path(out/'gpu.json') as path: path.write_text(json.dumps(result, indent=1))
    with atomic_path(out/'gpu.csv') as path, open(path, 'w', newline='') as file:
        table = csv.DictWriter(file, names, extrasaction='ignore')
        table.writeheader()
        table.writerows(rows)

def device_for(asked):
    "The device asked for, or the best there is. Ends the run if there is no such device."
    if asked == 'cpu': return asked
    import torch
    if torch.cuda.is_available(): return 'cuda'
    if asked is None: return 'cpu'
    sys.exit('torch sees no GPU here; pass --device cpu --small to try the script without one')

def refuse_to_replace(out, device):
    "End the run if results of a GPU would be replaced by those of a processor."
    path = out/'gpu.json'
    if device == 'cuda' or not path.exists(): return
    if json.loads(path.read_text())['about']['device'] == 'cuda':
        sys.exit(f'{path} holds what a GPU measured; pass --out FOLDER to keep it')

def main(arguments=None):
    start, o = time.time(), options(arguments)
    if o.work: return work(json.loads(o.work))
    device = device_for(o.device)
    refuse_to_replace(o.out, device)
    from vcc_nb.core import machine
    sizes, share = sizes_of(o.small), (60*o.minutes - 30)/sum(BUDGETS.values())
    budgets = {part: share*seconds for part, seconds in BUDGETS.items()}
    jobs = [job for job in all_jobs(device, o.small) if job['part'] in o.only]
    with tempfile.TemporaryDirectory() as folder, networks(folder, sizes, jobs) as path:
        watcher = Watcher(jobs, sizes | dict(device=device, networks=path), budgets, folder,
            seconds=60*o.minutes - 30)
        rows = watcher.run()
        about = {name: watcher.options.get(name) for name in ('name', 'peaks', 'measured_peaks')}
    about |= dict(device=device, machine=machine(), small=o.small, started=int(start), sizes=sizes,
        triton=version('triton'), seconds=time.time() - start, budgets=budgets,
        tolerances=TOLERANCES)
    write(o.out, dict(about=about, rows=rows))
    counts = Counter(row['outcome'] for row in rows)
    summary = ', '.join(f'{n} {outcome}' for outcome, n in counts.most_common())
    print(f"{about['seconds']:.0f} s on {about['name']}; {summary}")
    print(f'written: {o.out/"gpu.json"}')

@contextlib.contextmanager
def networks(folder, sizes, jobs):
    "The file in which another process writes the networks meanwhile; None: drawn at random."
    if sizes['network'] == 'random' or not {'attention', 'steps'} & {job['part'] for job in jobs}:
        yield None
        return
    path = f'{folder}/networks.npz'
    code = f'import gpu; gpu.write_networks({path!r}, {sizes["genes"]!r})'
    maker = subprocess.Popen([sys.executable, '-c', code], cwd=HERE, env=environment())
    try: yield path
    finally:
        maker.kill()
        maker.wait()

def version(package):
    "Of an installed package; None if there is none."
    from importlib.metadata import PackageNotFoundError, version
    try: return version(package)
    except PackageNotFoundError: return None

if __name__ == '__main__': main()
