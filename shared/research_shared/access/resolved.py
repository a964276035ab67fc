"""Resolves the research folders to real directories and validates them, once at startup."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from research_shared.access.names import actual
from research_shared.access.stored_names import stored_path
from research_shared.base_errors import ConfigurationError
from research_shared.root import Root

_SYSTEM_DIRECTORIES = ("/", "/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRoot:
    """A root as resolved at startup.

    `real` is its path with symlinks resolved, in the spelling that its directories store. `prefix` leads its public paths
    (empty for a single root). `nested` lists the other roots below it, each as the parts of a relative path, and
    `nested_directories` the same as paths.
    """

    root: Root
    configured: Path
    real: bytes
    prefix: str
    nested: tuple[tuple[bytes, ...], ...]
    nested_directories: tuple[bytes, ...]


def resolve_roots(roots: Sequence[Root]) -> tuple[ResolvedRoot, ...]:
    """Resolve the configured roots, in their order.

    Raises:
        ConfigurationError: a root is missing, not a directory, a system directory, or given twice.
    """
    if not roots:
        raise ConfigurationError("no research folder is configured")
    reals = [_real_directory(root) for root in roots]
    names = [root.name for root in roots]
    identities = {(status.st_dev, status.st_ino) for status in map(os.stat, reals)}
    if min(len(set(reals)), len(identities), len(set(names))) < len(roots):
        raise ConfigurationError("two research folders have the same name or are the same directory")
    return tuple(
        ResolvedRoot(
            root=root,
            configured=Path(os.path.abspath(root.directory)),  # noqa: PTH100  (resolve() follows links)
            real=real,
            prefix="" if len(roots) == 1 else root.name + "/",
            nested=tuple(
                tuple(other[len(real) + 1 :].split(b"/")) for other in reals if other.startswith(real + b"/")
            ),
            nested_directories=tuple(other for other in reals if other.startswith(real + b"/")),
        )
        for root, real in zip(roots, reals, strict=True)
    )


def _real_directory(root: Root) -> bytes:
    if not root.name or "/" in root.name or actual(root.name) != root.name.encode("utf-8", "replace"):
        raise ConfigurationError(f"{root.name!r} cannot be the name of a research folder")
    try:
        real = stored_path(os.path.realpath(os.fsencode(root.directory), strict=True))
        status = Path(os.fsdecode(real)).stat()
    except OSError as error:
        raise ConfigurationError(
            f"the research folder {root.directory} cannot be opened: {error.strerror}",
            hint="Create the directory, or set RESEARCH_ROOTS to the one that holds the documents.",
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"the research folder {root.directory} is not a directory")
    text = os.fsdecode(real)
    if any(_is_same_directory(status, system) for system in _SYSTEM_DIRECTORIES) or text.startswith(
        ("/proc/", "/sys/", "/dev/fd")
    ):
        raise ConfigurationError(f"{root.directory} is a directory of the system, not a research folder")
    return real


def _is_same_directory(status: os.stat_result, system: str) -> bool:
    try:
        return os.path.samestat(status, Path(system).stat())
    except OSError:
        return False
