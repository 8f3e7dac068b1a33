"""Run as a program: segship's command line with MLflow from a folder of its own.

`python -m segship.tests.reports.mlflow_child LIBRARY ARGUMENT…`; LIBRARY comes last on the path,
so that everything else is what the other tests use.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.append(sys.argv.pop(1))
    from segship.cli import main

    main()
