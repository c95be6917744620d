"A model that reads thousands of genes: attention, the state model, its losses."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['attention', 'attention_cpu', 'attention_gpu', 'state_model', 'losses', 'gene_attention', 'own_model'])
