"""Choose genes, train in little memory, predict unseen knock-downs and score them: see the notebooks in `nbs/`.

Every promised name is importable from here; its module (and torch, scanpy...) is loaded on first use, so `import vcc_nb` is quick."""
import importlib

_rooms = {
    'core': 'VCCError',
    'datasets': 'list_datasets papalexi vcc_h1_sample vcc2025_genes vcc2025_targets download_vcc2025',
    'simulate': 'simulate_screen',
    'screen': 'Screen open_screen',
    'splits': 'Split make_split leave_one_out check_no_leak',
    'gene_sets': 'match_symbols gene_features',
    'gene_selection': 'BiologicalGeneSelector GeneSelection coverage select_optimal_genes',
    'networks': 'GeneNetwork gene_network',
    'memory': 'ScalingOptimizations TrainingStep estimate fit_batch fit_recompute measure',
    'model': 'MemoryEfficientStateModel create_memory_efficient_model',
    'curriculum': 'ProgressiveGeneTraining run_progressive_training',
    'gene_kernels': 'gene_kernel read_gene_table',
    'effects': 'read_effects make_effects NoChange TrainingMean',
    'effect_models': 'SharedResponse NearestGenes KernelRidge Transfer Blend OwnTranscript',
    'confidence': 'Conformal',
    'generate': 'generate_cells',
    'evaluation': 'evaluate score_methods noise_ceiling bootstrap_intervals combined_score',
    'preflight': 'Season complete_season check_submission',
    'submission': 'make_submission submission_estimate',
    'widgets': 'GeneExplorer TrainingDashboard',
    'report': 'compare',
    'pipeline': 'TrainingConfig create_training_config ScaledTrainingPipeline',
    'ablations': 'ablate',
    'submit': 'submit',
}
_room_of = {name: room for room, names in _rooms.items() for name in names.split()}
__all__ = list(_room_of)


def __getattr__(name):
    if name == '__version__':
        from importlib.metadata import version
        return version('vcc-nb')
    if name not in _room_of: raise AttributeError(f"module 'vcc_nb' has no attribute {name!r}")
    value = getattr(importlib.import_module(f'vcc_nb.{_room_of[name]}'), name)
    globals()[name] = value
    return value


def __dir__(): return sorted([*globals(), *__all__])
