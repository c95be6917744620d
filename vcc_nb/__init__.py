"""Choose genes, train in little memory, predict unseen knock-downs and score them: see the notebooks in `nbs/`.

The parts are sub-packages (`vcc_nb.data`, `vcc_nb.genes`, ...). Every promised name is importable from here as well. Both are
loaded on first use, with torch, scanpy and whatever else they need, so `import vcc_nb` is quick."""
import lazy_loader

_parts = ['core', 'kernels', 'jupyter', 'data', 'genes', 'model', 'training', 'effects', 'challenge', 'run', 'simulation']
_names = {
    'core': 'VCCError',
    'data.embedded': 'list_datasets papalexi vcc_h1_sample vcc2025_genes vcc2025_targets',
    'data.download': 'download_vcc2025 download_effects',
    'data.screen': 'Screen open_screen',
    'data.screens': 'Screens open_screens',
    'data.splits': 'Split make_split leave_one_out leave_context_out',
    'data.leaks': 'check_no_leak',
    'data.symbols': 'match_symbols',
    'genes.sets': 'gene_library gene_sets',
    'genes.likeness': 'gene_features gene_kernel read_gene_table',
    'genes.selection': 'BiologicalGeneSelector GeneSelection coverage select_optimal_genes',
    'genes.network': 'GeneNetwork gene_network',
    'model.attention': 'register_attention',
    'model.state_model': 'MemoryEfficientStateModel create_memory_efficient_model',
    'model.gene_attention': 'GeneAttention reading_weights',
    'training.memory': 'ScalingOptimizations TrainingStep estimate fit_batch fit_recompute measure',
    'training.curriculum': 'ProgressiveGeneTraining run_progressive_training',
    'effects.base': 'NoChange TrainingMean make_effects',
    'effects.tables': 'read_effects',
    'effects.ridge': 'SharedResponse NearestGenes KernelRidge',
    'effects.own_transcript': 'OwnTranscript',
    'effects.transfer': 'Transfer',
    'effects.atlas': 'ResponseAtlas build_atlas',
    'effects.responses': 'ResponseRidge',
    'effects.stack': 'make_stack',
    'effects.residual': 'ResidualNetwork',
    'effects.across': 'AcrossContexts MeanOfContexts SameTarget',
    'effects.blend': 'Blend',
    'effects.bounds': 'Conformal',
    'challenge.cells': 'generate_cells',
    'challenge.compare': 'evaluate score_methods noise_ceiling bootstrap_intervals combined_score',
    'challenge.seasons': 'Season complete_season rehearsal',
    'challenge.check': 'check_submission',
    'challenge.write': 'make_submission submission_estimate',
    'run.settings': 'TrainingConfig create_training_config',
    'run.pipeline': 'ScaledTrainingPipeline',
    'run.report': 'compare',
    'run.audit': 'check_screen',
    'run.ablate': 'ablate',
    'run.submit': 'submit',
    'run.widgets': 'GeneExplorer TrainingDashboard',
    'simulation.cells': 'simulate_screen',
    'simulation.lines': 'simulate_screens simulate_season',
}

_lazy, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=_parts, submod_attrs={module: names.split() for module, names in _names.items()})

def __getattr__(name):
    if name == '__version__':
        from importlib.metadata import version
        return version('vcc-nb')
    value = _lazy(name)
    if name in _parts: return value
    from .jupyter import explained
    return explained(value)         # what a ? shows says what each parameter means
