"""Checks of a program that goes on after one that fails, and tells all of them."""

failed: list[str] = []
"""What failed in this process."""


def check(what: str, passed: bool, seen: object = "") -> None:
    """Print a check, and remember it if it failed."""
    print(f"{'ok    ' if passed else 'FAILED'} {what}{'' if passed else f': {seen}'}", flush=True)
    if not passed:
        failed.append(what)
