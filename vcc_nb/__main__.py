"`python -m vcc_nb` is the command `vcc_nb`."
from vcc_nb.run.cli import main

if __name__ == '__main__': main()
