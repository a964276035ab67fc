"""Bearer tokens as the operator gives them: each a `token`, or a `name=token` whose name is the principal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

MIN_TOKEN_LENGTH = 16
"""Characters. A shorter token could be guessed."""
UNNAMED_PREFIX = "token-"
_PRINCIPAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_ALLOWED_NAMES = "64 letters, digits and ._@+- at most, beginning with a letter or digit"


def token_digest(token: str) -> bytes:
    """Return the digest by which tokens are compared and unnamed ones are called."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedToken:
    """A bearer token and the principal that it stands for. `given`: whether the operator gave the name."""

    name: str
    token: str = field(repr=False)
    given: bool

    @classmethod
    def parse(cls, entry: str) -> "NamedToken":
        """Read a token, or a name and a token: `=` is part of a token only at its end (RFC 6750).

        >>> NamedToken.parse("ann=c2VjcmV0IG9mIGFubg==").name, NamedToken.parse("c2VjcmV0IG9mIGFubg==").name
        ('ann', 'token-b001a010db9c')
        """
        name, separator, token = entry.partition("=")
        if separator and token.strip("="):
            return cls(name=name, token=token, given=True)
        return cls(name=f"{UNNAMED_PREFIX}{token_digest(entry).hex()[:12]}", token=entry, given=False)


def token_problem(entries: Sequence[str]) -> str | None:
    """Return what must be different about bearer tokens, without a word of them; None if they are fine.

    A name must not stand for two tokens, match several principals in a policy, or be taken for an unnamed token's.
    """
    parsed = [NamedToken.parse(entry) for entry in entries]
    for number, token in enumerate(parsed, start=1):
        problem = _problem_of(token, number)
        for other, earlier in enumerate(parsed[: number - 1], start=1):
            problem = problem or _clash_of(earlier, token, f"numbers {other} and {number}")
        if problem is not None:
            return problem
    return None


def _problem_of(token: NamedToken, number: int) -> str | None:
    if len(token.token) < MIN_TOKEN_LENGTH:
        return f"each token needs at least {MIN_TOKEN_LENGTH} characters; number {number} has fewer"
    if not token.given:
        return None
    if not token.name:
        return f"name=token or token; number {number} has an empty name"
    if not _PRINCIPAL_NAME.fullmatch(token.name):
        return f"names of {_ALLOWED_NAMES}, so that none is a pattern of a policy; number {number} has other characters"
    if token.name.lower().startswith(UNNAMED_PREFIX):
        return f"names that do not begin with {UNNAMED_PREFIX}, as unnamed tokens are called; number {number} does"
    return None


def _clash_of(one: NamedToken, other: NamedToken, which: str) -> str | None:
    if not (one.given or other.given):
        return None
    if one.token == other.token:
        return f"each named token once; {which} are the same"
    if one.name.lower() == other.name.lower():
        return f"a name for one token only; {which} have the same"
    return None
