"""``python -m toolkit``."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Python looks for modules in the folder in which it is started, before anywhere else. There, a file with the name
    # of a library, such as one that came with somebody's model, would run in the library's place.
    if sys.path[0] in ("", os.getcwd()) and Path(__file__).parents[1] != Path.cwd():
        del sys.path[0]

    from toolkit.cli import main

    sys.exit(main())
