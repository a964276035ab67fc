"""Make the secrets of the containers in compose.yaml, each a file. One that is there already is kept.

    python deploy/compose/make_secrets.py [DIRECTORY]

DIRECTORY is deploy/compose/secrets by default; name another one in RESEARCH_SECRETS when starting the containers. It has the
secrets of the fleet, and `DIRECTORY/alone` those of one gateway or documents server, which sees that directory and nothing
else: put more of its secrets there, readable for all. `auth-tokens` has one token, of the client `fleet` or `alone`: add yours.
"""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

ALONE = "alone"


def new_secrets() -> Mapping[str, str]:
    """Return the content of each file by its name. The password of Valkey is in two of them."""
    password = secrets.token_urlsafe(32)
    return {
        **_of_any_server("fleet"),
        **{f"{ALONE}/{name}": text for name, text in _of_any_server(ALONE).items()},
        "tasks-url": f"redis://:{password}@valkey:6379/0",
        "valkey-conf": f"requirepass {password}",
    }


def _of_any_server(client: str) -> Mapping[str, str]:
    return {
        "audit-key": secrets.token_urlsafe(48),
        "auth-tokens": f"{client}={secrets.token_urlsafe(32)}",
        "state-keys": secrets.token_urlsafe(48),
    }


def write_secrets(directory: Path) -> list[str]:
    """Write the files that are not there, and return their names.

    Only their owner can enter the directory. What is in it can be read by all: a container reads, as another user, the files or
    the directory that are mounted in it, and sees no others.

    Raises:
        FileExistsError: one of the two files with the password of Valkey is there and the other is not.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    (directory / ALONE).mkdir(exist_ok=True)
    (directory / ALONE).chmod(0o755)
    missing = {name: text for name, text in new_secrets().items() if not (directory / name).exists()}
    if len({"tasks-url", "valkey-conf"} & missing.keys()) == 1:
        raise FileExistsError("tasks-url and valkey-conf hold the same password: remove the one that is left")
    for name, text in missing.items():
        (directory / name).write_text(text + "\n", encoding="utf-8")
        (directory / name).chmod(0o444)
    return sorted(missing)


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("secrets")
    try:
        made = write_secrets(place)
    except (FileExistsError, PermissionError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{place}: {', '.join(made) or 'nothing'} made\n")
