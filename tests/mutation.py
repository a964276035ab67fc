"""Mutation testing of the critical modules: each small change of the code must make a test fail.

`python tests/mutation.py --sample 60 --seed 7` tries 60 mutants, `--all` tries every one, `--only TEXT` those whose line
of `--list` holds the text. Each mutant runs in a copy of the tree against the tests that its module
names in `TESTS`. Exit status 1 means that fewer than `--at-least` percent were killed.

Not mutated: strings, annotations, log lines, and numbers outside functions (sizes and times that an operator may tune).
"""

import argparse
import ast
import hashlib
import itertools
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("shared", "servers", "gateway")

AUDIT = ("audit/test_tampering.py", "audit/test_edges.py", "audit/test_cli.py")
ROOTS = ("library/test_roots.py", "library/test_arguments.py")
TESTS: dict[str, tuple[str, ...]] = {
    "gateway/research_gateway/audit/log/chain.py": AUDIT,
    "gateway/research_gateway/audit/log/format.py": AUDIT,
    "gateway/research_gateway/audit/log/head.py": AUDIT,
    "gateway/research_gateway/audit/check/verify.py": AUDIT,
    "gateway/research_gateway/audit/check/chain_verifier.py": AUDIT,
    "gateway/research_gateway/guards/*.py": ("gateway/test_guards.py",),
    "gateway/research_gateway/retry.py": ("gateway/test_retry_upstream.py",),
    "gateway/research_gateway/scope/*.py": ("gateway/test_scope.py",),
    "servers/research_reasoning/evidence/answers.py": ("reasoning/test_answers.py",),
    "servers/research_reasoning/evidence/ranking.py": ("reasoning/test_ranking.py",),
    "shared/research_shared/access/beneath.py": ROOTS,
    "shared/research_shared/access/changes.py": (*ROOTS, "search/test_freshness.py"),
    "shared/research_shared/access/opener.py": ROOTS,
    "shared/research_shared/access/listing.py": ROOTS,
    "shared/research_shared/access/roots.py": ROOTS,
    "shared/research_shared/access/scope.py": ("library/test_roots.py", "gateway/test_scope.py"),
    "shared/research_shared/middleware/boundary.py": ("library/test_boundary.py",),
    "shared/research_shared/retry.py": ("reasoning/test_retry.py",),
    "shared/research_shared/text/passages.py": ("search/test_passages.py", "reasoning/test_ranking.py"),
    "shared/research_shared/text/quotes.py": (
        "reasoning/test_perturbed_quotes.py",
        "reasoning/test_quotes.py",
    ),
    "shared/research_shared/text/wording.py": (
        "reasoning/test_perturbed_quotes.py",
        "reasoning/test_quotes.py",
    ),
}
"""The tests of each module, those first that fail soonest."""

EQUIVALENT: dict[str, str] = {
    "beneath-09298889": "descriptors and -1 fit the default type as well",
    "head-c0e829e6": "counts are only compared with each other",
    "ranking-a1713b76": "a factor of every score: the order is the same",
    "ranking-67eb514f": "a factor of every score: the order is the same",
    "ranking-b678baf1": "a factor of every score: the order is the same",
    "ranking-eab092bb": "a factor of every score: the order is the same",
    "scope-429e92a6": "only saves a loop: an empty prefix admits everything there too",
}
"""Mutants that no test can tell from the original, by id, each with the reason."""

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
SWAPPED_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change: the bytes `begin:end` of a file (relative to the project) become `replacement`."""

    id: str
    file: str
    line: int
    begin: int
    end: int
    original: str
    replacement: str
    tests: tuple[str, ...]

    def applied(self, source: bytes) -> bytes:
        """The source with the change in it."""
        return source[: self.begin] + self.replacement.encode() + source[self.end :]

    def __str__(self) -> str:
        return (
            f"{self.id}  {self.file}:{self.line}: {one_line(self.original)}  ->  {one_line(self.replacement)}"
        )


def one_line(text: str) -> str:
    """Code as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:87] + "…"


class Mutator(ast.NodeVisitor):
    """Collects the changes of one file as pairs of a node and what takes its place."""

    def __init__(self) -> None:
        self.found: list[tuple[str, ast.expr | ast.stmt, str]] = []
        self._scopes: list[str] = []

    def _change(self, node: ast.expr | ast.stmt, replacement: ast.expr | str) -> None:
        text = replacement if isinstance(replacement, str) else f"({ast.unparse(replacement)})"
        self.found.append((".".join(self._scopes), node, text))

    def _visit_all(self, nodes: Sequence[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._scopes.append(node.name)
        self._visit_all([*node.args.defaults, *node.args.kw_defaults, *node.body])
        self._scopes.pop()

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
        elif len(node.args) > 1 and not any(isinstance(arg, ast.Starred) for arg in node.args[:2]):
            args = [node.args[1], node.args[0], *node.args[2:]]
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
    for scope, node, replacement in mutator.found:
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
            line=node.lineno,
            begin=begin,
            end=end,
            original=original,
            replacement=replacement,
            tests=tests,
        )


def all_mutants() -> list[Mutant]:
    """The mutants of all modules of the table that some test can tell from the original.

    Raises:
        SystemExit: the table names a file, or `EQUIVALENT` a mutant, that does not exist.
    """
    found: list[Mutant] = []
    for pattern, tests in TESTS.items():
        files = sorted(PROJECT.glob(pattern))
        missing = [test for test in tests if not (PROJECT / "tests" / test).is_file()]
        if not files or missing:
            raise SystemExit(f"the table names files that do not exist: {missing or pattern}")
        for file in files:
            found += mutants_of(file.relative_to(PROJECT).as_posix(), tests)
    if unknown := EQUIVALENT.keys() - {mutant.id for mutant in found}:
        raise SystemExit("EQUIVALENT names mutants that do not exist:\n  " + "\n  ".join(sorted(unknown)))
    return [mutant for mutant in found if mutant.id not in EQUIVALENT]


class Workshop:
    """A copy of the tree in which one mutant at a time is tried."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        ignored = shutil.ignore_patterns(
            "__pycache__", ".git", ".hypothesis", ".venv", "*_cache", "node_modules"
        )
        shutil.copytree(PROJECT, directory, ignore=ignored, symlinks=True)
        directory.chmod(0o755)  # some tests act as an ordinary user
        paths = os.pathsep.join(str(directory / package) for package in PACKAGES)
        # without compiled files, because those are told by the second in which a source was changed
        self.environ = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}

        origin = [sys.executable, "-c", "import research_shared; print(research_shared.__file__)"]
        found = subprocess.run(
            origin, cwd=directory, env=self.environ, capture_output=True, check=True, text=True
        )
        if not found.stdout.startswith(str(directory)):
            raise SystemExit(f"the tests would import the packages from {found.stdout}")

    def passes(self, tests: tuple[str, ...], limit_s: float) -> bool:
        """Whether the tests pass within their time."""
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
            return process.wait(limit_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def survives(self, mutant: Mutant, limit_s: float) -> bool:
        """Whether no test notices the mutant."""
        path = self.directory / mutant.file
        source = path.read_bytes()
        path.write_bytes(mutant.applied(source))
        try:
            return self.passes(mutant.tests, limit_s)
        finally:
            path.write_bytes(source)


class Workshops:
    """As many copies of the tree as mutants are tried at once."""

    def __init__(self, base: Path, count: int) -> None:
        base.chmod(0o755)
        self._free: queue.SimpleQueue[Workshop] = queue.SimpleQueue()
        self._count = count
        self._limits: dict[tuple[str, ...], float] = {}
        for number in range(count):
            self._free.put(Workshop(base / str(number)))

    @contextmanager
    def taken(self) -> Iterator[Workshop]:
        """One that nobody else uses."""
        workshop = self._free.get()
        try:
            yield workshop
        finally:
            self._free.put(workshop)

    def measure(self, tests: tuple[str, ...]) -> None:
        """Set how long these tests may take: well beyond what they take with the code as it is.

        Raises:
            SystemExit: one fails without any mutant.
        """
        began = time.monotonic()
        with self.taken() as workshop:
            if not workshop.passes(tests, 900):
                raise SystemExit(f"these tests fail without any mutant: {' '.join(tests)}")
        took = time.monotonic() - began
        self._limits[tests] = 30 + 4 * took
        print(f"{took:6.1f} s  {' '.join(tests)}", flush=True)

    def survives(self, mutant: Mutant) -> bool:
        """Whether no test notices the mutant."""
        began = time.monotonic()
        with self.taken() as workshop:
            survived = workshop.survives(mutant, self._limits[mutant.tests])
        print(
            f"{'SURVIVED' if survived else 'killed':8} {time.monotonic() - began:5.1f} s  {mutant}",
            flush=True,
        )
        return survived

    def run(self, chosen: Sequence[Mutant]) -> list[Mutant]:
        """Try the mutants and return those that survive."""
        with ThreadPoolExecutor(self._count) as pool:
            list(pool.map(self.measure, sorted({mutant.tests for mutant in chosen})))
            survived = list(pool.map(self.survives, chosen))
        return list(itertools.compress(chosen, survived))


def main() -> int:
    """Choose mutants, try them and tell the rate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=60, metavar="N", help="how many to try")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--all", action="store_true", help="try every one")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="those whose line of --list holds the text"
    )
    parser.add_argument("--list", action="store_true", help="print them and end")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument(
        "--at-least", type=float, default=95.0, metavar="PERCENT", help="the lowest rate that passes"
    )
    options = parser.parse_args()
    mutants = [mutant for mutant in all_mutants() if options.only in str(mutant)]
    chosen = mutants
    if not options.all and options.sample < len(mutants):
        chosen = random.Random(options.seed).sample(mutants, options.sample)
    if options.list:
        print(*chosen, sep="\n")
        return 0
    began = time.monotonic()
    print(f"{len(chosen)} of {len(mutants)} mutants, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutation-") as base:
        survivors = Workshops(Path(base), options.workers).run(chosen)
    rate = 100 * (1 - len(survivors) / len(chosen)) if chosen else 100.0
    for mutant in survivors:
        print(f"survived: {mutant}")
    killed = len(chosen) - len(survivors)
    print(f"{killed} of {len(chosen)} killed: {rate:.1f} % in {time.monotonic() - began:.0f} s")
    return int(rate < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
