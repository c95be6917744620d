"Train it: batches, the loop, the curriculum, memory."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['batches', 'loop', 'curriculum', 'checkpoints', 'memory', 'precision', 'effect_batches', 'disk_cells', 'gradients', 'ranks'])
