"The main job, from settings to a report, from Python and from a shell."
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['settings', 'own_parts', 'task', 'several', 'train', 'forecast', 'foresight', 'job_plan', 'job_sizes', 'resources', 'folder', 'lines', 'pipeline', 'advice', 'agreement', 'card', 'dry_run', 'plots', 'verdict', 'web_page', 'report', 'ablate', 'submit', 'widgets', 'cli', 'audit', 'signal'])
