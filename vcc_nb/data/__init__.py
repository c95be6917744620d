"Open screens, split them, keep them on disk."
import lazy_loader

<<<<<<< HEAD
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['screen', 'splits', 'storage', 'leaks', 'labels', 'embedded', 'download', 'bulks', 'values', 'fingerprint', 'guides'])
=======
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['screen', 'splits', 'storage', 'leaks', 'labels', 'gene_names', 'embedded', 'download', 'bulks', 'values', 'guides'])
>>>>>>> part-combos
