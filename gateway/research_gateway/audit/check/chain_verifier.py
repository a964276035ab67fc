"""Verifies a chain record by record, up to the first bad one."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from research_gateway.audit.log.chain import CLOCK_TOLERANCE_S, seconds_of
from research_gateway.audit.log.format import NO_HASH, ChainPosition, Record, key_id, sign
from research_gateway.audit.log.head import Head
from research_shared.text.sizes import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The first bad or missing record. `code` is stable, `message` is for people, `line` counts from 1."""

    code: str
    message: str
    file: str
    line: int | None = None
    sequence: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        record = "" if self.sequence is None else f" record {self.sequence}:"
        return f"{place}:{record} {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """Verification options.

    `key`: require valid signatures. `head`: path of the head file, where it is not beside the log. `copied_head`: path
    of an earlier copy of it, whose record the log must still hold; it stands for a head file that is gone.
    `partial`: accept that the oldest files are missing. `acknowledged`: ids of chains whose restart was investigated
    and accepted.
    """

    key: bytes | None = None
    head: Path | None = None
    copied_head: Path | None = None
    partial: bool = False
    acknowledged: frozenset[str] = frozenset()


class VerificationError(Exception):
    """The first bad record. The caller adds file and line."""

    def __init__(self, code: str, message: str, *, sequence: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.sequence = sequence


@dataclass
class ChainVerifier:
    """Verifies the records of one log in order.

    `whole`: the log is verified from its first to its last file. `earlier` is an earlier state of its head. `at` is the
    position of the last good record.
    """

    expected: Expectations
    head: Head | None
    whole: bool
    earlier: Head | None = None
    at: ChainPosition | None = None
    records: int = 0
    calls: int = 0
    lost: int = 0
    unsigned: int = 0
    every: int | None = None
    signed_to: int = -1
    open_calls: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    latest: str = ""
    set_backs: int = 0
    first_set_back: tuple[int, float] | None = None
    """(record, seconds) of the first of the `set_backs` of the clock."""

    def check(self, record: Record, number: int | None, *, first_of_file: bool) -> None:
        """Check one record against the records before it. `number` is that of its file, None for the file in use.

        Raises:
            VerificationError: the record is not what was written, or one before it is missing.
        """
        if first_of_file:
            self._open(record, number)
        elif record.event in {"genesis", "continued"}:
            raise VerificationError(
                "moved", "begins a file, but stands within one", sequence=record.position.sequence
            )
        if self.at is not None:
            self._follow(self.at, record)
        self.at = record.position
        self.records += 1
        self._signature(record)
        at = record.position
        for known in self._known:
            if (known.chain, known.sequence) == (at.chain, at.sequence) and known.digest != at.digest:
                first = self.signed_to + 1
                raise VerificationError(
                    "rewritten",
                    f"it or one from {first} on was rewritten: the head file knows another",
                    sequence=first,
                )
        self._count(record)
        self._compare_time(record)

    @cached_property
    def _known(self) -> list[ChainPosition]:
        """What the heads know: the log has these records."""
        return [head.position for head in (self.head, self.earlier) if head is not None]

    def _compare_time(self, record: Record) -> None:
        """Notice when the clock was set back. Nothing is wrong with the log then."""
        time = record.fields.get("time")
        if not isinstance(time, str):
            return
        if time >= self.latest:
            self.latest = time
            return
        with suppress(ValueError):
            seconds = seconds_of(self.latest) - seconds_of(time)
            if seconds > CLOCK_TOLERANCE_S:
                self.latest = time
                self.set_backs += 1
                if self.first_set_back is None:
                    self.first_set_back = (record.position.sequence, seconds)

    def _open(self, record: Record, number: int | None) -> None:
        at = record.position
        if number is not None and record.fields.get("segment") not in {number, None}:
            raise VerificationError(
                "moved",
                f"the file holds part {record.fields.get('segment')} of the log",
                sequence=at.sequence,
            )
        if record.event == "genesis":
            self._begin(record)
        elif record.event == "continued":
            if self.at is None:
                if self.whole and not self.expected.partial:
                    raise VerificationError(
                        "head_truncated",
                        f"{counted(at.sequence, 'record is', 'records are')} missing before it",
                        sequence=0,
                    )
                self.notes.append(
                    f"begins with record {at.sequence}: earlier files are not part of this check"
                )
        else:
            missing = 0 if self.at is None else self.at.sequence + 1
            raise VerificationError(
                "head_truncated",
                f"records {missing} to {at.sequence - 1} are missing before it",
                sequence=missing,
            )

    def _begin(self, record: Record) -> None:
        at, supersedes = record.position, record.fields.get("supersedes")
        if at.sequence != 0 or record.previous != NO_HASH:
            raise VerificationError("moved", "a chain begins with record 0", sequence=at.sequence)
        if at.chain in self.expected.acknowledged:
            self.notes.append(
                f"begins with chain {at.chain}, which replaces one that was lost (acknowledged)"
            )
        elif supersedes is not None or self.at is not None:
            reason = supersedes.get("reason") if isinstance(supersedes, dict) else "unknown"
            advice = f"investigate, then accept it with --acknowledge {at.chain}"
            raise VerificationError(
                "restarted",
                f"chain {at.chain} is a new start (reason: {reason}): {advice}",
                sequence=0,
            )
        self.every = record.fields.get("checkpoint_every")

    def _follow(self, at: ChainPosition, record: Record) -> None:
        here = record.position
        if here.chain != at.chain:
            raise VerificationError(
                "replaced", f"belongs to another chain, {here.chain}", sequence=here.sequence
            )
        if here.sequence > at.sequence + 1:
            missing = f"records {at.sequence + 1} to {here.sequence - 1} are missing before it"
            raise VerificationError("missing", missing, sequence=at.sequence + 1)
        if here.sequence <= at.sequence:
            raise VerificationError(
                "repeated",
                f"stands a second time or in the wrong place, after {at.sequence}",
                sequence=here.sequence,
            )
        if record.previous != at.digest:
            raise VerificationError(
                "changed",
                "does not follow from the record before it: one of the two was changed",
                sequence=here.sequence,
            )

    def _signature(self, record: Record) -> None:
        key, at = self.expected.key, record.position
        self.unsigned += 1
        if key is None:
            return
        if record.event == "genesis":
            wanted = sign(key, "genesis", at.chain)
        elif record.event == "checkpoint":
            wanted = sign(key, "checkpoint", at.chain, at.sequence - 1, record.previous)
        elif self.every is not None and self.unsigned > self.every:
            raise VerificationError(
                "not_signed", "a signed checkpoint should have come before it", sequence=at.sequence
            )
        else:
            return
        if record.fields.get("key_id") != key_id(key) or record.fields.get("mac") != wanted:
            raise VerificationError(
                "not_signed", f"the signature of this {record.event} is not the key's", sequence=at.sequence
            )
        self.unsigned, self.signed_to = 0, at.sequence

    def _count(self, record: Record) -> None:
        match record.event:
            case "start":
                self.calls += 1
                self.open_calls.add(str(record.fields.get("call_id")))
            case "end":
                self.open_calls.discard(str(record.fields.get("call_id")))
            case "gap":
                self.lost += int(record.fields.get("lost", 0))

    def finish(self, limit: int) -> None:
        """Check that the log reaches its head and does not exceed sequence number `limit`.

        Raises:
            VerificationError: the head is missing or invalid, or the end of the log does not match it.
        """
        if self.head is None:
            raise VerificationError("no_head", "its head file is missing, so that a cut end would not show")
        key = self.expected.key
        for head in (self.head, self.earlier):
            if head is not None and key is not None and not head.is_signed_by(key):
                raise VerificationError("not_signed", "the signature of its head file is not the key's")
        for known in self._known:
            self._reach(known)
        if self.at is not None and self.at.sequence > limit:
            first = limit + 1
            raise VerificationError(
                "added", f"records {first} to {self.at.sequence} were added behind the end", sequence=first
            )

    def _reach(self, known: ChainPosition) -> None:
        if known.sequence < 0:
            return
        if self.at is None:
            raise VerificationError(
                "tail_truncated", f"all records ({known.sequence + 1}) are missing", sequence=0
            )
        if known.chain != self.at.chain:
            raise VerificationError(
                "replaced",
                f"the head file knows chain {known.chain}, this one is {self.at.chain}",
                sequence=0,
            )
        if known.sequence > self.at.sequence:
            first = self.at.sequence + 1
            raise VerificationError(
                "tail_truncated",
                f"records {first} to {known.sequence} are missing at the end",
                sequence=first,
            )
