"Open screens, split them, keep them on disk."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['common', 'screen', 'screens', 'splits', 'containers', 'storage', 'zarr_stores', 'leaks', 'gene_names', 'labels', 'symbols', 'embedded', 'download', 'bulks', 'map_reduce', 'values', 'fingerprint', 'guides'])
