"""Reads a policy from a TOML file. What is wrong is named with its line and key."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from research_shared.access.globs import compile_pattern
from research_shared.base_errors import ConfigurationError
from research_shared.errors import InvalidPattern
from research_shared.policy.rules import Policy, Rule

MAX_POLICY_BYTES = 4 * 1024 * 1024
_TABLE_LINE = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY_LINE = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*[=.]""")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=1_000)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_list)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class _RuleEntry(_Entry):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
    principals: Texts = ()
    groups: Texts = ()
    claims: dict[Text, Texts] = Field(default_factory=dict)
    allow: Texts = ()
    deny: Texts = ()
    tools: Texts = ()
    deny_tools: Texts = ()

    @field_validator("allow", "deny")
    @classmethod
    def _from_the_top(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not pattern.strip(" ./"):
                raise ValueError(f"{pattern!r} names nothing: write ** for everything")
            if "/" not in pattern and pattern != "**":
                raise ValueError(
                    f"{pattern!r} has no slash: write {pattern}/** for a folder at the top, "
                    f"**/{pattern} for any depth"
                )
            try:
                compile_pattern(pattern, anchored=True)
            except InvalidPattern as error:
                raise ValueError(error.message) from error
        return patterns


class _PolicyEntry(_Entry):
    default_principal: Text | None = None
    groups_claim: Text = "groups"
    rules: Annotated[tuple[_RuleEntry, ...], Field(min_length=1)]


def load_policy(path: Path) -> Policy:
    """Read the policy in a file.

    Raises:
        ConfigurationError: the file cannot be read, or is no policy. The message is one line with the line and the key.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"RESEARCH_POLICY={path}: {error.strerror}") from error
    if len(raw) > MAX_POLICY_BYTES:
        raise ConfigurationError(f"RESEARCH_POLICY={path}: larger than {MAX_POLICY_BYTES} bytes")
    try:
        return parse_policy(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"RESEARCH_POLICY={path}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise ConfigurationError(f"RESEARCH_POLICY={path}: {error}") from error


def parse_policy(text: str) -> Policy:
    """Read a policy from the text of its file.

    >>> policy = parse_policy('''
    ... default_principal = "guest"
    ... [[rules]]
    ... name = "everybody"
    ... principals = ["*"]
    ... allow = ["public/**"]
    ... ''')
    >>> policy.rules[0].allow
    ('public/**',)

    Raises:
        ValueError: it is no policy. The message is one line that begins with the line and the key.
    """
    try:
        entry = _PolicyEntry.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_syntax_problem(str(error), text)) from None
    except RecursionError:
        raise ValueError("lists are nested too deep") from None
    except ValidationError as error:
        raise ValueError(_policy_problem(error, text)) from None
    names = [rule.name for rule in entry.rules]
    for number, rule in enumerate(entry.rules):
        at = f"line {line_of(text, ('rules', number, 'name'))}: rules.{number}.name:"
        if rule.name in names[:number]:
            raise ValueError(f"{at} two rules have the name {rule.name!r}")
        if not (rule.principals or rule.groups or rule.claims):
            raise ValueError(f"{at} {rule.name!r} applies to nobody: it needs principals, groups or claims")
    return Policy(
        default_principal=entry.default_principal,
        groups_claim=entry.groups_claim,
        rules=tuple(
            Rule(**(rule.model_dump() | {"claims": tuple(sorted(rule.claims.items()))}))
            for rule in entry.rules
        ),
    )


def _syntax_problem(message: str, text: str) -> str:
    found = re.search(r"\(at line (\d+), column \d+\)$", message)
    line = int(found[1]) if found else text.count("\n") + 1
    return f"line {line}: {re.sub(r' [(]at .*[)]$', '', message)}"


def _policy_problem(error: ValidationError, text: str) -> str:
    first = error.errors()[0]
    path = tuple(part for part in first["loc"] if part != "[key]")
    key = ".".join(str(part) for part in path) or "rules"
    what = {
        "missing": "is missing",
        "extra_forbidden": "is no key of a policy",
        "tuple_type": "must be a list",
        "dict_type": "must be a table",
        "string_type": "must be text",
        "string_too_short": "must not be empty",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"line {line_of(text, path)}: {key}: {what}"


def line_of(text: str, path: Sequence[Any]) -> int:
    r"""Return the line, from 1, of a key such as `("rules", 1, "allow")` in a TOML text: of the nearest table, at least.

    >>> line_of('[[rules]]\nname = "a"\n[[rules]]\nallow = 3', ("rules", 1, "allow"))
    4
    """
    wanted = [part for part in path if isinstance(part, str)]
    which = next((part for part in path if isinstance(part, int)), 0)
    table: list[str] = []
    rule, best, depth = -1, 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        names = table
        if header := _TABLE_LINE.match(line):
            names = table = [part.strip().strip("\"'") for part in header[1].split(".")]
            rule += line.lstrip().startswith("[[")
        elif key := _KEY_LINE.match(line):
            names = [*table, next(filter(None, key.groups()), "")]
        if rule in {-1, which} and len(names) > depth and names == wanted[: len(names)]:
            best, depth = number, len(names)
    return best
