"Effects of knock-downs that nobody measured: baselines, closed forms, the network, bounds."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['base', 'held_out', 'factors', 'ridge', 'across', 'few_shot', 'levels', 'lines', 'transfer', 'blend', 'own_method', 'bounds', 'network', 'atlas', 'tables', 'amplitude', 'residual', 'responses', 'stack', 'own_transcript'])
