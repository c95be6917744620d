"Semi-real screens of any size with a known truth, for tests and benchmarks."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['biology', 'counts', 'design', 'cells', 'lines'])
