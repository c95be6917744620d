"The Virtual Cell Challenge: cells from effects, official scores, checked submissions."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['cell_means', 'cells', 'pair', 'scorers', 'scores_2025', 'blocks_2025', 'blocks_2026', 'measured', 'panel', 'rank_sums', 'scores_2026', 'compare', 'official_score', 'seasons', 'scan', 'rules', 'doubts', 'check', 'pack', 'write'])
