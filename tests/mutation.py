"""Mutation testing of the critical modules: each small change of the code must make a test fail.

`python tests/mutation.py --sample 60 --seed 7` tries 60 mutants, `--all` tries every one, `--only TEXT…` those whose line
of `--list` holds one of the texts. Each mutant is tried in a copy of the tree against the tests that its module names in
`TESTS`. A process that has imported everything is forked for each mutant, and its function gets the new code there
(`mutation_forks.py`); what has run at import already is tried in a new interpreter. In a fork, only tests that run the
changed lines are run. Before all that, the tests must pass without any mutant and fail with one that matters.

A mutant is killed by time when a test computes for several times as long as it takes without one. That is measured in
time of the processor, so that a busy machine kills none. A test that only waits is given up after 20 seconds and ten times
its own time more.

What survives and is not in `mutation_survivors.txt` is new. Exit status 1 means that less than `--at-least` percent of
the mutants were killed or known to survive.

Not mutated: strings, annotations, log lines, and numbers outside functions (sizes and times that an operator may tune).
"""

import argparse
import ast
import hashlib
import itertools
import math
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mutation_forks import Channel

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("shared", "servers", "gateway")

SURVIVORS = Path(__file__).with_name("mutation_survivors.txt")
"""Mutants that no test notices yet, by id. `--record` brings the list up to date with what a run has tried."""

AUDIT = (
    "audit/test_format.py",
    "audit/test_tampering.py",
    "audit/test_edges.py",
    "audit/test_cli.py",
    "audit/test_records.py",
    "audit/test_verdicts.py",
)
ROOTS = (
    "library/test_roots.py",
    "library/test_arguments.py",
    "library/test_listings.py",
    "library/test_root_faults.py",
    "library/test_stored_names.py",
    "library/test_views.py",
)
TESTS: dict[str, tuple[str, ...]] = {
    "gateway/research_gateway/audit/log/chain.py": AUDIT,
    "gateway/research_gateway/audit/log/format.py": AUDIT,
    "gateway/research_gateway/audit/log/head.py": AUDIT,
    "gateway/research_gateway/audit/check/verify.py": AUDIT,
    "gateway/research_gateway/audit/check/chain_verifier.py": AUDIT,
    "gateway/research_gateway/guards/*.py": ("gateway/test_guards.py",),
    "gateway/research_gateway/retry.py": ("gateway/test_retry_upstream.py",),
    "gateway/research_gateway/scope/*.py": ("gateway/test_scope.py", "gateway/test_policy.py"),
    "servers/research_reasoning/evidence/answers.py": (
        "reasoning/test_answer_shapes.py",
        "reasoning/test_answers.py",
        "reasoning/test_folder.py",
        "reasoning/test_reading.py",
    ),
    "servers/research_reasoning/evidence/ranking.py": ("reasoning/test_ranking.py",),
    "shared/research_shared/access/beneath.py": ROOTS,
    "shared/research_shared/access/changes.py": (*ROOTS, "search/test_freshness.py"),
    "shared/research_shared/access/opener.py": ROOTS,
    "shared/research_shared/access/listing.py": ROOTS,
    "shared/research_shared/access/roots.py": ROOTS,
    "shared/research_shared/access/scope.py": (
        "library/test_views.py",
        "library/test_roots.py",
        "gateway/test_scope.py",
        "gateway/test_policy.py",
    ),
    "shared/research_shared/middleware/boundary.py": ("library/test_boundary.py",),
    "shared/research_shared/retry.py": ("reasoning/test_retry.py",),
    "shared/research_shared/text/passages.py": ("search/test_passages.py", "reasoning/test_ranking.py"),
    "shared/research_shared/text/quotes.py": (
        "reasoning/test_quote_places.py",
        "reasoning/test_perturbed_quotes.py",
        "reasoning/test_quotes.py",
    ),
    "shared/research_shared/text/wording.py": (
        "reasoning/test_wording.py",
        "reasoning/test_perturbed_quotes.py",
        "reasoning/test_quotes.py",
    ),
}
"""The tests of each module."""

EQUIVALENT: dict[str, str] = {
    "answers-4e1794f9": "what is no list is an object here, and none of its names is a finding",
    "answers-68a12c7a": "the first of one is the last of it",
    "answers-84829beb": "the first of one is the last of it",
    "beneath-09298889": "descriptors and -1 fit the default type as well",
    "beneath-22235622": "what is no link cannot be read as one either, and is refused as before",
    "beneath-311ebbf1": "a file that is opened here never has descriptor 0",
    "beneath-3f8a8e32": "what is passed has these types already",
    "beneath-534f4dfe": "a file that is opened here never has descriptor 0",
    "beneath-55b474ec": "the first link is one too many either way",
    "beneath-5a150210": "the path is absolute, so that no directory is asked for",
    "beneath-9ff03770": "the path is absolute, so that no directory is asked for",
    "beneath-fab50b20": "the path is absolute, so that no directory is asked for",
    "boundary-1d54e2d2": "only the place and the message of a problem are used",
    "boundary-350d0736": "only the place and the message of a problem are used",
    "boundary-e1b75977": "only the place and the message of a problem are used",
    "chain_verifier-b781e764": "a clock that is set back by nothing is not set back",
    "changes-9e02c73e": "all of them are in one directory",
    "check-2e3d714b": "both are of one length",
    "head-02de7e16": "counts are only compared with each other",
    "head-5589ba9c": "the file has two slots, and there is nothing behind them",
    "head-834f6125": "a file that is opened here never has descriptor 0",
    "head-c0e829e6": "counts are only compared with each other",
    "head-cf164215": "the file has two slots, and there is nothing behind them",
    "head-e8d6b873": "every negative number says that the file is closed",
    "head-edb7f337": "a file that is opened here never has descriptor 0",
    "listing-13ffd901": "only saves work: what a listing gave is stored so",
    "listing-64393b90": "what counts is only whether there was any",
    "listing-70296ba7": "only what has a type is looked at there",
    "listing-88aef839": "what is the directory itself begins with it as well",
    "listing-943fbfc7": "only saves work: what has no type is passed over below as well",
    "listing-9b104331": "what counts is only whether there was any",
    "listing-9e1e11e9": "only what is no link gets there",
    "listing-b7443cca": "nothing follows in the loop",
    "listing-cc03328b": "a directory has no type, and is passed over next",
    "middleware-00ccc190": "the framework gives every request a context; only its type allows none",
    "middleware-41fdc7a1": "the framework gives every request a context; only its type allows none",
    "middleware-4dbab48a": "only asked of a client that has declared roots, which is within a request",
    "middleware-cb0e440e": "the framework gives every request a context; only its type allows none",
    "opener-2fc909d9": "only saves work: a path without links leads to itself",
    "opener-386f78b5": "walking without links refuses a link as well",
    "opener-3e4f423d": "the first link is one too many either way",
    "opener-6b9b17ac": "the first of one is the last of it",
    "opener-95643c9d": "walking refuses the name as well",
    "opener-9b255627": "only saves work: what a listing gave is stored so",
    "passages-27dace23": "an empty passage is left out",
    "passages-2a099b2d": "an empty passage is left out",
    "passages-4c0a5e5e": "whether a heading is there is looked at again where it begins a section",
    "passages-88c23062": "a block before the beginning begins with it",
    "passages-def70bbc": "only saves work: pieces of blank lines are left out",
    "passages-e52d41b4": "a body that was seen stays between the title and what comes next",
    "passages-f1a49c37": "what comes before a cut is a line break, and what comes before the end of the text is none",
    "quotes-09bad0ef": "blanks in a row are shown as one",
    "quotes-0b0c1c0f": "an abbreviation ends with a full stop",
    "quotes-0d99ad6a": "what begins the next line is compared next anyway",
    "quotes-15d81230": "a search from a place before the beginning starts at the beginning",
    "quotes-186307ee": "heads behind a stretch change nothing of it",
    "quotes-1e46a961": "set anew before each quote",
    "quotes-2dc957f1": "there is no line before the first",
    "quotes-3146f612": "what is asked is only whether there is any place",
    "quotes-3bfa78b9": "blanks in a row are shown as one",
    "quotes-4e67c637": "blanks in a row are shown as one",
    "quotes-4f32c2bd": "an abbreviation ends at the mark, wherever the search for it begins",
    "quotes-5ce14916": "set anew before each quote",
    "quotes-5ee5a4a5": "only saves work: what is as long and differs stays so",
    "quotes-6c0232e8": "what is asked is only whether there is any place",
    "quotes-720c8f19": "blanks in a row are shown as one",
    "quotes-763f957f": "heads behind a stretch change nothing of it",
    "quotes-8047c644": "a line before the stretch has no characters in it",
    "quotes-82e6e9f0": "heads behind a stretch change nothing of it",
    "quotes-8318da44": "a document without pages has none to count either way",
    "quotes-845ce9f1": "heads behind a stretch change nothing of it",
    "quotes-8ee092a9": "a quote has four characters at least, and no mark or abbreviation that ends behind them begins with the first of the text",
    "quotes-9261f8c3": "the first token of a stretch is no hyphen at the end of a line",
    "quotes-945d9391": "nothing that may be left out begins at a line break",
    "quotes-9e14bfe2": "what is asked is only whether there is any place",
    "quotes-a2a1a0a3": "a line break is no token, and nothing that may be left out begins at one",
    "quotes-a9ea48a5": "heads behind a stretch change nothing of it",
    "quotes-ba6e2f97": "blanks in a row are shown as one",
    "quotes-bc4c8a43": "set anew before each quote",
    "quotes-c0009db7": "blanks in a row are shown as one",
    "quotes-cafcea91": "heads behind a stretch change nothing of it",
    "quotes-d1a3677d": "behind a group that ends the text there is nothing to compare",
    "quotes-e301f104": "blanks in a row are shown as one",
    "quotes-e6db0b27": "blanks in a row are shown as one",
    "quotes-f0cfdf14": "only saves work: what is longer is never the same",
    "quotes-f2432da2": "blanks in a row are shown as one",
    "quotes-fbc5cb3f": "only the first two tokens behind a quote are looked at",
    "ranking-00cc9a45": "only saves work: the first none of a list is none",
    "ranking-00d637a0": "a factor of every score: the order is the same",
    "ranking-3fee8c6b": "a factor of every score: the order is the same",
    "ranking-4ca114a9": "only a document without any term has none, and then there is nothing to score",
    "ranking-506590f7": "a factor of every score: the order is the same",
    "ranking-8219b923": "only saves work: without words nothing matches",
    "ranking-bce2c39f": "both are of one length",
    "ranking-bedc47e6": "a factor of every score: the order is the same",
    "ranking-cd79a066": "without a term there is nothing to score",
    "retry-0eb06162": "a back-off is never negative, so that no lower bound below 0 matters",
    "retry-1fb8534d": "the number of the attempt is set before it is read",
    "retry-69eaaaeb": "a back-off is never negative, so that no lower bound below 0 matters",
    "retry-e7607980": "the number of the attempt is set before it is read",
    "rounds-015346bb": "only looked at while the scope is not known",
    "scope-2c94e786": "whether it is a pattern does not depend on the case",
    "scope-72a92063": "only saves work: the empty prefix holds everything one by one as well",
    "scope-9dfb86c6": "a pattern that matches the empty path matches every path",
    "scope-ae9af268": "whether it is a pattern does not depend on the case",
    "scope-f85ad1be": "what is cut behind the last part is the whole",
    "wording-34a3a729": "a letter that is written as itself and a mark is one with nothing before it",
    "wording-59d19915": "the loop steps over the first character as well",
    "wording-66cc96fd": "no character of ASCII is a mark",
    "wording-81ad9c05": "the loop steps over the first dash as well",
    "wording-b58ad9b7": "both ways replace the same characters",
    "wording-d7e62b33": "a soft hyphen alone is no character",
    "wording-de557b06": "a search from a place before the beginning starts at the beginning",
}
"""Mutants that no test can tell from the original, by id, each with the reason."""

KNOWN_BAD = ("shared/research_shared/text/passages.py", "_passage", "return None")
"""File, function and change of a mutant that no test can miss: it is tried first, to see that any is noticed."""

START_S = 300.0
"""How long importing everything and collecting the tests may take."""

LOGGERS = frozenset({"log", "logger"})
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
SYMMETRIC = frozenset({"_same", "compare_digest", "samestat", "suppress"})
"""Calls that mean the same with their arguments exchanged."""
CACHES = frozenset({"cache", "lru_cache"})
SWAPPED_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change: the bytes `begin:end` of a file (relative to the project) become `replacement`."""

    id: str
    file: str
    function: str
    line: int
    last_line: int
    begin: int
    end: int
    original: str
    replacement: str
    tests: tuple[str, ...]
    cached: bool
    """Whether it is within a function that runs once, whichever test comes first."""

    @property
    def lines(self) -> frozenset[int]:
        """The lines of what is changed."""
        return frozenset(range(self.line, self.last_line + 1))

    def applied(self, source: bytes) -> bytes:
        """The source with the change in it."""
        return source[: self.begin] + self.replacement.encode() + source[self.end :]

    @property
    def change(self) -> str:
        """The code before and after."""
        return f"{one_line(self.original)}  ->  {one_line(self.replacement)}"

    def __str__(self) -> str:
        return f"{self.id}  {self.file}:{self.line}: {self.change}"


def one_line(text: str) -> str:
    """Code as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:87] + "…"


class Mutator(ast.NodeVisitor):
    """Collects the changes of one file as pairs of a node and what takes its place."""

    def __init__(self) -> None:
        self.found: list[tuple[str, ast.expr | ast.stmt, str, bool]] = []
        self._scopes: list[str] = []
        self._cached = False

    def _change(self, node: ast.expr | ast.stmt, replacement: ast.expr | str) -> None:
        text = replacement if isinstance(replacement, str) else f"({ast.unparse(replacement)})"
        self.found.append((".".join(self._scopes), node, text, self._cached))

    def _visit_all(self, nodes: Sequence[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer = self._cached
        self._cached |= any(ast.unparse(it).partition("(")[0] in CACHES for it in node.decorator_list)
        self._scopes.append(node.name)
        self._visit_all([*node.args.defaults, *node.args.kw_defaults, *node.body])
        self._scopes.pop()
        self._cached = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scopes.append(node.name)
        self._visit_all([part for part in node.body if not isinstance(part, ast.AnnAssign | ast.Assign)])
        self._scopes.pop()

    def visit_Module(self, node: ast.Module) -> None:
        self._visit_all(
            [n for n in node.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
        )

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave text alone: what is inside has no reliable position before Python 3.12."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit_all([node.value])

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if not isinstance(value, ast.Call) or _is_log_call(value):
            if isinstance(value, ast.Yield | ast.YieldFrom):
                self.generic_visit(node)
            return
        self._change(node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        (target, *_) = node.targets
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        if all(isinstance(part, ast.Attribute | ast.Subscript) for part in parts):
            self._change(node, "pass")
        self._visit_all([node.value])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._change(node, "pass")
        self._visit_all([node.value])

    def visit_Raise(self, node: ast.Raise) -> None:
        if "AssertionError" not in ast.unparse(node):
            self._change(node, "pass")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._change(node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self._change(node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not isinstance(node.value, ast.Constant):
            self._change(node, "return None")
        self.generic_visit(node)

    def _condition(self, test: ast.expr) -> None:
        if not isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant | ast.NamedExpr):
            self._change(test, ast.UnaryOp(ast.Not(), test))

    def visit_If(self, node: ast.If) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        """Leave patterns alone: they are no expressions."""
        self._visit_all([node.guard, *node.body])

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._change(test, ast.Constant(value=True))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for index, operator in enumerate(node.ops):
            other = COMPARED[type(operator)]()
            ops = [*node.ops[:index], other, *node.ops[index + 1 :]]
            self._change(node, ast.Compare(node.left, ops, node.comparators))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._change(node, ast.BoolOp(other, node.values))
        for index in range(len(node.values)):
            rest = [*node.values[:index], *node.values[index + 1 :]]
            if not isinstance(node.values[index], ast.NamedExpr):
                self._change(node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._change(node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        texts = any(isinstance(side, ast.JoinedStr) or _is_text(side) for side in (node.left, node.right))
        if not texts and (other := CALCULATED.get(type(node.op))):
            self._change(node, ast.BinOp(node.left, other(), node.right))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._change(node, ast.Constant(value=not node.value))
        elif isinstance(node.value, int | float):
            for step in (1, -1):
                self._change(node, ast.Constant(value=node.value + step))

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in SWAPPED_NAMES:
            name = ast.Name(SWAPPED_NAMES[node.func.id])
            self._change(node, ast.Call(name, node.args, node.keywords))
        elif ast.unparse(node.func).rpartition(".")[2] in SYMMETRIC:
            pass
        elif len(node.args) > 1 and not any(isinstance(arg, ast.Starred) for arg in node.args[:2]):
            args = [node.args[1], node.args[0], *node.args[2:]]
            if ast.dump(args[0]) != ast.dump(args[1]):
                self._change(node, ast.Call(node.func, args, node.keywords))
        self.generic_visit(node)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _is_log_call(call: ast.Call) -> bool:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in LOGGERS


def mutants_of(file: str, tests: tuple[str, ...]) -> Iterator[Mutant]:
    """All mutants of one file. An id is made of the function, its line of code and the change, not of line numbers."""
    source = (PROJECT / file).read_bytes()
    lines = source.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, lines))]
    mutator = Mutator()
    mutator.visit(ast.parse(source))
    seen: Counter[str] = Counter()
    for scope, node, replacement, cached in mutator.found:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        original = source[begin:end].decode()
        what = "\0".join([scope, lines[node.lineno - 1].decode().strip(), original, replacement])
        seen[what] += 1
        digest = hashlib.sha256(f"{what}\0{seen[what]}".encode()).hexdigest()
        yield Mutant(
            id=f"{Path(file).stem}-{digest[:8]}",
            file=file,
            function=scope,
            line=node.lineno,
            last_line=node.end_lineno,
            begin=begin,
            end=end,
            original=original,
            replacement=replacement,
            tests=tests,
            cached=cached,
        )


def all_mutants() -> list[Mutant]:
    """The mutants of all modules of the table that some test can tell from the original."""
    found = every_mutant()
    if unknown := EQUIVALENT.keys() - {mutant.id for mutant in found}:
        print(
            f"no mutant any more, to be taken from EQUIVALENT: {' '.join(sorted(unknown))}", file=sys.stderr
        )
    return [mutant for mutant in found if mutant.id not in EQUIVALENT]


def every_mutant() -> list[Mutant]:
    """The mutants of all modules of the table.

    Raises:
        SystemExit: the table names a file that does not exist.
    """
    found: list[Mutant] = []
    for pattern, tests in TESTS.items():
        files = sorted(PROJECT.glob(pattern))
        missing = [test for test in tests if not (PROJECT / "tests" / test).is_file()]
        if not files or missing:
            raise SystemExit(f"the table names files that do not exist: {missing or pattern}")
        for file in files:
            found += mutants_of(file.relative_to(PROJECT).as_posix(), tests)
    return found


def is_known_bad(mutant: Mutant) -> bool:
    """Whether it is the one that no test can miss."""
    return (mutant.file, mutant.function, mutant.replacement) == KNOWN_BAD


def known_survivors() -> frozenset[str]:
    """The ids in the list of survivors."""
    lines = SURVIVORS.read_text(encoding="utf-8").splitlines()
    return frozenset(line.split()[0] for line in lines if line.strip() and not line.startswith("#"))


class Outcome(Enum):
    """What the tests say about a mutant."""

    KILLED = "killed"
    TIMED_OUT = "killed by time"
    SURVIVED = "SURVIVED"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one test does with the code as it is: how long it takes, and which lines of which files it runs."""

    seconds: float
    lines: frozenset[tuple[str, int]]


class Workshop:
    """A copy of the tree in which one mutant at a time is tried: in a new interpreter, or in a fork of a warm one."""

    def __init__(self, directory: Path, files: Sequence[str], tests: Sequence[str]) -> None:
        self.directory = directory
        ignored = shutil.ignore_patterns(
            "__pycache__", ".git", ".hypothesis", ".venv", "*_cache", "node_modules"
        )
        shutil.copytree(PROJECT, directory, ignore=ignored, symlinks=True)
        directory.chmod(0o755)  # some tests act as an ordinary user
        temporary = directory.with_name(f"{directory.name}-tmp")
        temporary.mkdir()
        temporary.chmod(0o1777)
        paths = os.pathsep.join(str(directory / package) for package in PACKAGES)
        self.environ = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(temporary)}
        # Compiled files are otherwise told by the second in which a source was changed.
        compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash"]
        subprocess.run([*compiling, *PACKAGES], cwd=directory, check=True)
        self.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        self.environ["RESEARCH_TEST_BYTECODE"] = "0"

        origin = [sys.executable, "-c", "import research_shared; print(research_shared.__file__)"]
        found = subprocess.run(
            origin, cwd=directory, env=self.environ, capture_output=True, check=True, text=True
        )
        if not found.stdout.startswith(str(directory)):
            raise SystemExit(f"the tests would import the packages from {found.stdout}")
        self._files, self._tests = files, tests
        self._start()

    def _start(self) -> None:
        """Start the interpreter that imports everything, collects the tests and is forked for each mutant."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._warm = subprocess.Popen(
                [sys.executable, "tests/mutation_forks.py", str(theirs.fileno())],
                cwd=self.directory,
                env=self.environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._channel = Channel(ours)
        self._channel.send(
            files=[str(self.directory / file) for file in self._files],
            tests=[f"tests/{test}" for test in self._tests],
        )
        ready = self._channel.receive(START_S)
        if not ready or ready["errors"]:
            raise SystemExit(f"the tests cannot be collected: {' '.join(self._tests)}")
        self.collected: list[str] = ready["collected"]
        self.imported = {self._relative(file): frozenset(lines) for file, lines in ready["imported"].items()}

    def close(self) -> None:
        """End the warm interpreter."""
        with suppress(ProcessLookupError):
            os.killpg(self._warm.pid, signal.SIGKILL)
        self._warm.wait()
        self._channel.connection.close()

    def _relative(self, file: str) -> str:
        return Path(file).relative_to(self.directory).as_posix()

    def _forked(
        self, request: Mapping[str, Any], limit_s: Callable[[str], float]
    ) -> tuple[Outcome, list[dict[str, Any]]]:
        """One run in a fork: what it says, and the messages that it sent. `limit_s` of a test: its time."""
        self._channel.send(**request)
        process, limit, timed_out = 0, START_S, False
        messages: list[dict[str, Any]] = []
        while True:
            try:
                message = self._channel.receive(limit)
            except TimeoutError:
                timed_out = True
                with suppress(ProcessLookupError):
                    os.killpg(process or self._warm.pid, signal.SIGKILL)
                continue
            if not message or "ended" in message:
                break
            message["at"] = time.monotonic()
            messages.append(message)
            process = message.get("process", process)
            limit = limit_s(message["started"]) if "started" in message else limit
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # what its tests have left behind
        if not message:
            self.close()
            self._start()
        elif timed_out:
            return Outcome.TIMED_OUT, messages
        elif any("impossible" in it for it in messages):
            return Outcome.UNCLEAR, messages
        elif message["ended"] == 0:
            return Outcome.SURVIVED, messages
        elif message["ended"] == 1:
            return Outcome.KILLED, messages
        elif message["ended"] == -signal.SIGPROF:
            return Outcome.TIMED_OUT, messages
        return Outcome.UNCLEAR, messages

    def measure(self, tests: Sequence[str]) -> dict[str, Measured]:
        """Run the tests in a fork with the code as it is.

        Raises:
            SystemExit: one fails without any mutant.
        """
        for _ in range(3):  # a busy machine may delay what has a time limit of its own
            outcome, messages = self._forked({"tests": list(tests)}, lambda _: 300.0)
            if outcome is Outcome.SURVIVED:
                break
        else:
            last = [it["started"] for it in messages if "started" in it][-1:]
            raise SystemExit(f"a test fails without any mutant: {last} ({outcome.value})")
        lines: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for message in messages:
            for line, names in message.get("lines", {}).items():
                for name in names:
                    lines[name].add((self._relative(message["file"]), int(line)))
        starts = [(it["started"], it["at"]) for it in messages if "started" in it]
        ends = [at for _, at in starts[1:]] + [time.monotonic()]
        return {
            name: Measured(seconds=end - start, lines=frozenset(lines[name]))
            for (name, start), end in zip(starts, ends, strict=True)
        }

    @contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """The file of the mutant with the change in it."""
        path = self.directory / mutant.file
        source = path.read_bytes()
        path.write_bytes(mutant.applied(source))
        try:
            yield
        finally:
            path.write_bytes(source)

    def warm(
        self, mutant: Mutant, tests: Sequence[str], measured: Mapping[str, Measured]
    ) -> tuple[Outcome, str]:
        """Try the mutant in a fork: the outcome, and the name of the test that kills it or is too slow."""
        if self.imported[mutant.file] & mutant.lines:
            return Outcome.UNCLEAR, ""  # importing has run it already
        request = {
            "tests": list(tests),
            "file": str(self.directory / mutant.file),
            "line": mutant.line,
            "cpu_s": {name: 3 + 5 * measured[name].seconds for name in tests},
        }
        with self.changed(mutant):
            outcome, messages = self._forked(request, lambda name: 20 + 10 * measured[name].seconds)
        names = [it.get("failed") or it.get("started") for it in messages]
        return outcome, next((name for name in reversed(names) if name), "")

    def passes(self, tests: Sequence[str], limit_s: float) -> Outcome:
        """Run the tests in a new interpreter."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--no-header"]
        process = subprocess.Popen(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=self.directory,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return Outcome.KILLED if process.wait(limit_s) else Outcome.SURVIVED
        except subprocess.TimeoutExpired:
            return Outcome.TIMED_OUT
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def cold(self, mutant: Mutant, limit_s: float) -> Outcome:
        """Try the mutant in a new interpreter."""
        with self.changed(mutant):
            return self.passes(mutant.tests, limit_s)


class Trials:
    """Tries mutants in as many workshops as may be used at once."""

    def __init__(
        self, base: Path, chosen: Sequence[Mutant], workers: int, *, only_cold: bool, slowest_s: float
    ) -> None:
        base.chmod(0o755)
        self._only_cold = only_cold
        self._slowest_s = slowest_s
        self._chosen = chosen
        self._free: queue.SimpleQueue[Workshop] = queue.SimpleQueue()
        self._measured: dict[str, Measured] = {}
        self._kills: Counter[tuple[str, str]] = Counter()
        self._cold_limits: dict[tuple[str, ...], float] = {}
        files = sorted({mutant.file for mutant in chosen})
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        with ThreadPoolExecutor(workers) as pool:
            for workshop in pool.map(
                lambda number: Workshop(base / str(number), files, tests), range(workers)
            ):
                self._free.put(workshop)
                collected = workshop.collected
        self._names: dict[str, list[str]] = defaultdict(list)
        for name in collected:
            self._names[name.partition("::")[0].removeprefix("tests/")].append(name)

    def close(self) -> None:
        """End the workshops."""
        while not self._free.empty():
            self._free.get().close()

    @contextmanager
    def _taken(self) -> Iterator[Workshop]:
        workshop = self._free.get()
        try:
            yield workshop
        finally:
            self._free.put(workshop)

    def _measure(self, test: str) -> None:
        with self._taken() as workshop:
            measured = workshop.measure(self._names[test])
        self._measured |= measured
        print(f"{sum(it.seconds for it in measured.values()):6.1f} s  {test}", flush=True)

    def _ordered(self, mutant: Mutant) -> list[str]:
        """The tests that run the lines of a mutant, the quick ones that often kill first.

        All tests of its module when none is seen to run them: it may happen in another process, or be cached.
        """
        names = [name for test in mutant.tests for name in self._names[test]]
        spot = {(mutant.file, line) for line in mutant.lines}

        def cost(name: str) -> float:
            return self._measured[name].seconds / (1 + self._kills[mutant.file, name])

        if not mutant.cached:
            names = [name for name in names if self._measured[name].lines & spot] or names
        quick = [name for name in names if self._measured[name].seconds <= self._slowest_s]
        return sorted(quick or names, key=cost)

    def _cold(self, workshop: Workshop, mutant: Mutant) -> Outcome:
        """The outcome in a new interpreter.

        Raises:
            SystemExit: a test fails there without any mutant.
        """
        if mutant.tests not in self._cold_limits:
            began = time.monotonic()
            if workshop.passes(mutant.tests, 900) is not Outcome.SURVIVED:
                raise SystemExit(f"a test fails without any mutant: {' '.join(mutant.tests)}")
            self._cold_limits[mutant.tests] = 30 + 4 * (time.monotonic() - began)
        return workshop.cold(mutant, self._cold_limits[mutant.tests])

    def _try(self, mutant: Mutant) -> Outcome:
        """The outcome for one mutant. What cannot be tried in a fork gets a new interpreter."""
        began = time.monotonic()
        with self._taken() as workshop:
            outcome, by = Outcome.UNCLEAR, "a new interpreter"
            if not self._only_cold:
                outcome, by = workshop.warm(mutant, self._ordered(mutant), self._measured)
                self._kills[mutant.file, by] += outcome is not Outcome.SURVIVED
            if outcome is Outcome.UNCLEAR:
                outcome, by = self._cold(workshop, mutant), "a new interpreter"
        note = "" if outcome is Outcome.SURVIVED else f"  by {by}"
        print(f"{outcome.value:8} {time.monotonic() - began:5.1f} s  {mutant}{note}", flush=True)
        return outcome

    def _check_itself(self) -> None:
        """Try what no test can miss, both ways.

        Raises:
            SystemExit: it is not noticed.
        """
        (mutant,) = filter(is_known_bad, self._chosen)
        with self._taken() as workshop:
            outcomes = [
                workshop.warm(mutant, self._ordered(mutant), self._measured)[0],
                self._cold(workshop, mutant),
            ]
        if outcomes != [Outcome.KILLED, Outcome.KILLED]:
            raise SystemExit(f"the tests do not notice {mutant}: {outcomes}")

    def run(self) -> dict[Mutant, Outcome]:
        """Try the mutants.

        Raises:
            SystemExit: a test fails without any mutant, or what cannot be missed is not noticed.
        """
        with ThreadPoolExecutor(self._free.qsize()) as pool:
            list(pool.map(self._measure, sorted(self._names, key=len)))
            self._check_itself()
            return dict(zip(self._chosen, pool.map(self._try, self._chosen), strict=True))


def record(outcomes: Mapping[Mutant, Outcome]) -> None:
    """Put what survived into the list of survivors, and take out what was killed or is no mutant any more."""
    known = known_survivors()
    untried = {mutant for mutant in all_mutants() if mutant.id in known and mutant not in outcomes}
    survived = {mutant for mutant, outcome in outcomes.items() if outcome is Outcome.SURVIVED}
    comments = [line for line in SURVIVORS.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    lines = sorted(f"{mutant.id}  {mutant.file}: {mutant.change}" for mutant in untried | survived)
    SURVIVORS.write_text("\n".join([*comments, *lines, ""]), encoding="utf-8")


def table(outcomes: Mapping[Mutant, Outcome]) -> str:
    """What was tried of each module, and how many of its mutants nothing can tell from the code."""
    equivalent = Counter(mutant.file for mutant in every_mutant() if mutant.id in EQUIVALENT)
    survived = Counter(mutant.file for mutant, outcome in outcomes.items() if outcome is Outcome.SURVIVED)
    lines = [f"{'':60} {'tried':>8} {'killed':>8} {'survived':>8} {'equivalent':>10}"]
    for file, count in sorted(Counter(mutant.file for mutant in outcomes).items()):
        killed = count - survived[file]
        lines.append(f"{file:60} {count:8} {killed:8} {survived[file]:8} {equivalent[file]:10}")
    return "\n".join(lines)


def tried(
    chosen: Sequence[Mutant], workers: int, *, only_cold: bool, slowest_s: float
) -> dict[Mutant, Outcome]:
    """What becomes of the mutants, after the check that the tests pass without and fail with one that matters."""
    (known,) = filter(is_known_bad, all_mutants())
    needed = list(dict.fromkeys([known, *chosen]))
    with tempfile.TemporaryDirectory(prefix="mutation-") as base:
        trials = Trials(Path(base), needed, workers, only_cold=only_cold, slowest_s=slowest_s)
        try:
            outcomes = trials.run()
        finally:
            trials.close()
    return {mutant: outcomes[mutant] for mutant in chosen}


def main() -> int:
    """Choose mutants, try them and tell the rate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=60, metavar="N", help="how many to try")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--all", action="store_true", help="try every one")
    parser.add_argument(
        "--only",
        default=[""],
        nargs="+",
        metavar="TEXT",
        help="those whose line of --list holds one of the texts",
    )
    parser.add_argument("--list", action="store_true", help="print them and end")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--record", action="store_true", help=f"bring {SURVIVORS.name} up to date")
    parser.add_argument("--cold", action="store_true", help="try each in a new interpreter, which is slow")
    parser.add_argument(
        "--slowest",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="leave out single tests that take longer, for a first look: what only they kill survives then",
    )
    parser.add_argument(
        "--at-least", type=float, default=97.0, metavar="PERCENT", help="the lowest rate that passes"
    )
    options = parser.parse_args()
    mutants = [mutant for mutant in all_mutants() if any(text in str(mutant) for text in options.only)]
    count = len(mutants) if options.all else min(options.sample, len(mutants))
    chosen = random.Random(options.seed).sample(mutants, count)
    if options.list:
        print(*chosen, sep="\n")
        return 0
    began = time.monotonic()
    print(f"{len(chosen)} of {len(mutants)} mutants, seed {options.seed}", flush=True)
    outcomes = tried(chosen, options.workers, only_cold=options.cold, slowest_s=options.slowest)
    counted = Counter(outcomes.values())
    known = known_survivors()
    survived = [mutant for mutant, outcome in outcomes.items() if outcome is Outcome.SURVIVED]
    fresh = [mutant for mutant in survived if mutant.id not in known]
    for mutant in survived:
        print(f"{'survived' if mutant in fresh else 'survived as before'}: {mutant}")
    for mutant in outcomes.keys() - set(survived):
        if mutant.id in known:
            print(f"killed now, to be taken from {SURVIVORS.name}: {mutant}")
    if options.record:
        record(outcomes)
    print(table(outcomes))
    rate = 100 * (1 - len(fresh) / len(chosen)) if chosen else 100.0
    print(
        f"{len(chosen) - len(survived)} of {len(chosen)} killed ({counted[Outcome.TIMED_OUT]} by time),"
        f" {len(survived) - len(fresh)} survived as before, {len(fresh)} are new: {rate:.1f} %"
        f" in {time.monotonic() - began:.0f} s"
    )
    return int(rate < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
