"The Virtual Cell Challenge: cells from effects, official scores, checked submissions."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['cells', 'scores_2025', 'rules', 'write'])
