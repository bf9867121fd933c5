"""`reid ship`, from this checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed

from reid.commands import main

if __name__ == "__main__":
    main(["ship", *sys.argv[1:]])
