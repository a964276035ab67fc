"""Rules of a policy, the callers they apply to, and what they give.

All rules that apply to a caller count together: what one of them allows is allowed, unless one of them denies it. A caller
to whom no rule applies sees nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from research_shared.access.scope import Scope, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request: the name of a token or the subject of a JWT, its groups, and all its claims.

    `name` is None for a caller without authentication, until the policy gives it its default principal.
    """

    name: str | None = None
    groups: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_claims(cls, name: str, claims: Mapping[str, Any], groups_claim: str) -> "Caller":
        """Return the caller with these claims; the one called `groups_claim` lists its groups."""
        return cls(name=name, groups=values_of(claims, groups_claim), claims=claims)


def values_of(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the values of a claim as text: one, or those of a list. Dots lead into objects (`realm_access.roles`).

    >>> values_of({"realm_access": {"roles": ["partner", 7]}}, "realm_access.roles")
    ('partner', '7')
    """
    value: Any = claims.get(name)
    if value is None and "." in name:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(_claim_text(each) for each in values if isinstance(each, str | int | float))


def _claim_text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule: to whom it applies, and what it allows and denies.

    It applies to a caller whose name matches one of `principals` (`*` for everybody), who is in one of `groups`, or who has
    one of the `claims`. `allow` and `deny` are patterns of document paths, `tools` and `deny_tools` of names of tools (`*` for
    all). What is not allowed is denied.
    """

    name: str
    principals: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    deny_tools: tuple[str, ...] = ()

    def reason_for(self, caller: Caller) -> str | None:
        """Return why the rule applies to a caller, in words; None if it does not."""
        if caller.name is not None:
            for pattern in self.principals:
                if fnmatchcase(caller.name, pattern):
                    return f"principal {pattern}"
        for group in self.groups:
            if group in caller.groups:
                return f"group {group}"
        for claim, wanted in self.claims:
            for value in values_of(caller.claims, claim):
                if value in wanted:
                    return f"claim {claim} = {value}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a caller may see: the rules that apply, with the reasons why, the scope and the tools that they give."""

    rules: tuple[Rule, ...]
    reasons: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Return the names of the rules."""
        return [rule.name for rule in self.rules]

    @property
    def scope(self) -> Scope:
        """Return the documents that the caller may see."""
        allow = _united(rule.allow for rule in self.rules)
        return Scope(views=(View(allow=allow, deny=_united(rule.deny for rule in self.rules)),))

    def may_call(self, tool: str) -> bool:
        """Return whether the caller may call a tool."""
        allowed = any(fnmatchcase(tool, pattern) for rule in self.rules for pattern in rule.tools)
        return allowed and not any(
            fnmatchcase(tool, pattern) for rule in self.rules for pattern in rule.deny_tools
        )

    def verdicts(self, path: str) -> Iterator[tuple[str, str, str]]:
        """Yield (rule, `allows` or `denies`, pattern) for each pattern that matches a document path."""
        for rule in self.rules:
            for word, patterns in (("allows", rule.allow), ("denies", rule.deny)):
                for pattern in patterns:
                    view = (
                        View(allow=(pattern,)) if word == "allows" else View(allow=("**",), deny=(pattern,))
                    )
                    if view.admits(path) == (word == "allows"):
                        yield rule.name, word, pattern


def _united(patterns: Iterator[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted({pattern for some in patterns for pattern in some}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's rules. Callers without authentication, and those over stdio, are the `default_principal`."""

    rules: tuple[Rule, ...]
    default_principal: str | None = None
    groups_claim: str = "groups"

    def access_of(self, caller: Caller) -> Access:
        """Return what a caller may see.

        >>> rule = Rule(name="tax", groups=("tax",), allow=("clients/**",), deny=("clients/acme/**",))
        >>> access = Policy(rules=(rule,)).access_of(Caller(name="alice", groups=("tax",)))
        >>> access.names, access.scope.admits("clients/x/a.md"), access.scope.admits("clients/acme/a.md")
        (['tax'], True, False)
        """
        if caller.name is None and self.default_principal is not None:
            caller = Caller(name=self.default_principal)
        found = [(rule, reason) for rule in self.rules if (reason := rule.reason_for(caller)) is not None]
        return Access(rules=tuple(rule for rule, _ in found), reasons=tuple(reason for _, reason in found))
