"Choose genes by biology: names, sets, networks, likeness, selection."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['names', 'sets', 'neighbours', 'network', 'evidence', 'selection', 'likeness'])
