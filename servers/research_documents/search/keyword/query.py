"""The keyword query language. Every text is a valid query.

word            passages rank higher the more of the words they hold, in any English inflection
"two words"     these words in this form and order, across line and page breaks
+word -word     must be there, must not be there; NOT is the same as -
word*           any word that begins so
a AND b, a OR b, ( … )
title:word      in a heading, path:word in the document's path
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

MAX_TERMS: Final = 128
MAX_NESTING: Final = 16
MAX_QUERY_LENGTH: Final = 4_000

Field = Literal["text", "title", "path"]
Occur = Literal["should", "must", "not"]

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<open>\() | (?P<close>\))
  | (?P<sign>[+-])(?=[^\s+\-)])
  | (?P<operator>(?:AND|OR|NOT))(?=[\s(]|$)
  | (?:(?P<field>title|path):(?=\S))?
    (?: "(?P<quoted>[^"]*)"? | (?P<word>[^\s()"]+) )
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word or a quoted phrase in a field."""

    text: str
    field: Field = "text"
    quoted: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Clauses that are ranked together."""

    clauses: tuple["Clause", ...] = ()


@dataclass(frozen=True, slots=True)
class Clause:
    """A term or a group, and whether it is optional, required or excluded."""

    occur: Occur
    node: Term | Group


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; `warnings` name what was left out."""

    group: Group
    warnings: tuple[str, ...] = ()


def parse_query(text: str) -> Query:
    """Parse a query; never fails. Input beyond the limits on length, terms and nesting is dropped with a warning."""
    parser = _Parser(text[:MAX_QUERY_LENGTH])
    if len(text) > MAX_QUERY_LENGTH:
        parser.warnings[f"only the first {MAX_QUERY_LENGTH} characters of the query were used"] = None
    clauses: list[Clause] = []
    while parser.tokens:
        clauses += parser.group(0).clauses
        parser.take("close")
    return Query(Group(tuple(clauses)), tuple(parser.warnings))


def has_operators(group: Group) -> bool:
    """Return whether a query is more than words, any of which may match: it has a sign, a phrase, a prefix or a field."""
    for clause in group.clauses:
        node = clause.node
        if clause.occur != "should":
            return True
        if (
            has_operators(node)
            if isinstance(node, Group)
            else node.quoted or node.prefix or node.field != "text"
        ):
            return True
    return False


class _Parser:
    """Recursive descent parser over a reversed list of tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup not in {"space", "other"}][
            ::-1
        ]
        self.warnings: dict[str, None] = {}
        self.terms = 0

    def take(self, kind: str, *values: str) -> re.Match[str] | None:
        """Consume the next token if it is of this kind, and one of `values` if given."""
        if (
            self.tokens
            and self.tokens[-1][kind] is not None
            and (not values or self.tokens[-1][kind] in values)
        ):
            return self.tokens.pop()
        return None

    def group(self, depth: int) -> Group:
        """Parse up to the closing parenthesis of this depth."""
        clauses: list[Clause] = []
        while self.tokens and self.tokens[-1]["close"] is None:
            chain = [clause for clause in [self.operand(depth)] if clause]
            while self.take("operator", "AND"):
                chain += [clause for clause in [self.operand(depth)] if clause]
                if len(chain) > 1:
                    chain = [Clause("must" if c.occur == "should" else c.occur, c.node) for c in chain]
            self.take("operator", "OR")
            if len(chain) > 1:
                clauses.append(Clause("should", Group(tuple(chain))))
            else:
                clauses += chain
        return Group(tuple(clauses))

    def operand(self, depth: int) -> Clause | None:
        """Parse one signed term or group; None if it is empty."""
        occur: Occur = "should"
        while self.tokens:
            if sign := self.take("sign"):
                occur = "must" if sign["sign"] == "+" else "not"
            elif self.take("operator", "NOT"):
                occur = "not"
            elif not self.take("operator"):
                break
        node: Term | Group | None
        if self.take("open"):
            if depth < MAX_NESTING:
                node = self.group(depth + 1)
                self.take("close")
            else:
                self.warnings[f"parentheses deeper than {MAX_NESTING} were ignored"] = None
                return None
        else:
            node = self.term()
        if node is None or node == Group():
            return None
        return Clause(occur, node)

    def term(self) -> Term | None:
        """Parse the next word or phrase; None at the end, at a parenthesis and past the limit on terms."""
        if not self.tokens or self.tokens[-1]["close"] is not None:
            return None
        token = self.tokens.pop()
        self.terms += 1
        if self.terms > MAX_TERMS:
            self.warnings[f"only the first {MAX_TERMS} terms of the query were used"] = None
            return None
        field: Field = "text"
        if token["field"] is not None:
            field = "title" if token["field"] == "title" else "path"
        if token["quoted"] is not None:
            return Term(text=token["quoted"], field=field, quoted=True)
        word = token["word"]
        prefix = len(word) > 1 and word.endswith("*")
        return Term(text=word.rstrip("*") if prefix else word, field=field, prefix=prefix)
