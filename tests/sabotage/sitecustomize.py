"""Put on PYTHONPATH by tests: installs the fault of ANOMVAE_TEST_FAULT in every Python process that starts."""

import os
import sys

if os.environ.get("ANOMVAE_TEST_FAULT"):
    sys.path.insert(0, os.environ["ANOMVAE_TEST_ROOT"])
    from tests.faults import install

    install(os.environ["ANOMVAE_TEST_FAULT"])
