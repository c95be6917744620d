"The main job, from settings to a report, from Python and from a shell."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['settings', 'task', 'train', 'forecast', 'resources', 'folder', 'pipeline', 'plots', 'report', 'ablate', 'submit', 'widgets', 'cli', 'foresight', 'dry_run', 'signal', 'audit'])
