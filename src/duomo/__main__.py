"""python -m duomo: the program `duomo`."""

import sys

from duomo import _command

if __name__ == "__main__":
    sys.exit(_command())
