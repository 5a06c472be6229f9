"""`python -m anomvae` and the console script: one process, one exit code."""

import os
import sys


def run() -> None:
    """Run the command line and leave with its exit code."""
    # Small matrices run faster on one thread, and numpy reads this once, when it is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from anomvae.cli import main

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
