"Reads settings.ini (version, requirements, extras, scripts); everything else is in pyproject.toml."
from configparser import ConfigParser
from setuptools import find_packages, setup

cfg = ConfigParser(delimiters=['='])
cfg.read('settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
extras = {name.removesuffix('_requirements'): cfg[name].split() for name in cfg if name.endswith('_requirements')}
extras['all'] = sorted({need for name in ('eval', 'submit', 'notebook') for need in extras[name]})    # of those who use it
setup(version=cfg['version'], install_requires=cfg['requirements'].split(), extras_require=extras, packages=find_packages(include=['vcc_nb', 'vcc_nb.*']),
      package_dir={'': '.'},      # an editable install is a path then, and a folder that is called vcc_nb as well does not hide the package
      package_data={'vcc_nb': ['files/*', 'py.typed']}, include_package_data=False,
      entry_points={'console_scripts': cfg['console_scripts'].split('\n'), 'nbdev': ['vcc_nb = vcc_nb._modidx:d']})
