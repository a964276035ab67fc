"""Install the proxy that `proxy.py` drives, in an environment of its own.

Usage: python tests/models/install.py DIRECTORY

`litellm.txt` has every package that the proxy loads to answer a request, at an exact version. `litellm[proxy]` would
bring twice as much (clients of clouds, of databases and of brokers), which nothing here uses.
"""

import subprocess
import sys
import venv
from pathlib import Path
from time import monotonic

ATTEMPTS = 3
INSTALLING_S = 200
PACKAGES = Path(__file__).with_name("litellm.txt")


def install(directory: Path) -> None:
    """Make the environment; what fails is tried again, because a registry may be out of reach for a moment."""
    venv.create(directory, clear=True)
    # Compiling all of it would take longer than to compile what is loaded, once.
    pip = [sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python"), "install", "--quiet"]
    command = [*pip, "--no-compile", "--no-deps", "--requirement", str(PACKAGES)]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            subprocess.run(command, check=True, timeout=INSTALLING_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"attempt {attempt} of {ATTEMPTS} failed: {error}", file=sys.stderr)
            if attempt == ATTEMPTS:
                raise
        else:
            return


if __name__ == "__main__":
    started = monotonic()
    install(Path(sys.argv[1]).absolute())
    print(f"installed in {monotonic() - started:.0f} s")
