"Open screens, split them, keep them on disk."
import lazy_loader

<<<<<<< HEAD
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['screen', 'screens', 'splits', 'storage', 'leaks', 'gene_names', 'symbols', 'labels', 'embedded', 'download', 'bulks', 'values', 'fingerprint', 'guides'])
=======
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['screen', 'splits', 'storage', 'zarr_stores', 'leaks', 'gene_names', 'labels', 'embedded', 'download', 'bulks', 'values', 'fingerprint', 'guides'])
>>>>>>> part-scale
