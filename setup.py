"Reads settings.ini (version, requirements, extras, scripts); everything else is in pyproject.toml."
from configparser import ConfigParser
from setuptools import setup

cfg = ConfigParser(delimiters=['='])
cfg.read('settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
extras = {name.removesuffix('_requirements'): cfg[name].split() for name in cfg if name.endswith('_requirements')}
setup(version=cfg['version'], install_requires=cfg['requirements'].split(), extras_require=extras, packages=['vcc_nb'],
      package_data={'vcc_nb': ['data/*']}, include_package_data=False,
      entry_points={'console_scripts': cfg['console_scripts'].split('\n'), 'nbdev': ['vcc_nb = vcc_nb._modidx:d']})
