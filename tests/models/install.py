"""Install the proxy that `proxy.py` drives, in an environment of its own.

Usage: python tests/models/install.py DIRECTORY

`litellm.txt` has every package that the proxy loads to answer a request, at an exact version. `litellm[proxy]` would
bring twice as much (clients of clouds, of databases and of brokers), which nothing here uses.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.environments import install

PACKAGES = Path(__file__).with_name("litellm.txt")

if __name__ == "__main__":
    install(Path(sys.argv[1]).absolute(), "--no-deps", "--requirement", PACKAGES)
