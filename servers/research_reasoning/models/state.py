"""State of a call of several rounds. The client carries it, sealed (see `research_shared.serving.sealing`)."""

import base64
import binascii
import json
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from research_reasoning.models.protocol import Completion
from research_shared.errors import BudgetExceeded, InvalidArguments

STATE_VERSION = 5
MAX_STATE_BYTES = 8 * 1024 * 1024
"""The largest state, unpacked. The seal already proves that a server of ours packed it."""

MAX_PACKED_BYTES = 384 * 1024
"""The largest state, packed: sealed, and sealed again by a proxy, it is below 1 MiB with room for a prompt."""


@dataclass(slots=True)
class UsageCounters:
    """Cost of a call so far. Tokens are estimates where the carrier reports none."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 0


@dataclass(slots=True)
class Ledger:
    """State that outlives a round. On the other routes it lives as long as the call.

    `results` holds the results of finished steps, `answers` the model's answers that no finished step has used. Both are
    keyed by a digest of the content they were made from. Entries that a round does not touch are dropped: answers that a
    result replaces, and everything that stems from a changed document.
    """

    call: str = field(default_factory=lambda: secrets.token_hex(16))
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))
    rounds: int = 0
    progress: float = 0.0
    logged: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Completion] = field(default_factory=dict)
    failures: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    """The open prompts of the last round, with how often each was asked."""
    attempts: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    """How often the answer to an open prompt was cut before it could be used."""
    counted: set[str] = field(default_factory=set)
    """Keys of the prompts whose outcome is already in `usage` and in the client's log."""
    spent: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each prompt that was asked: the attempts that are paid for, and what all of them cost in input tokens."""
    spent_in_all: int = 0
    usage: UsageCounters = field(default_factory=UsageCounters)
    models: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    """Labels of the prompts whose answers stopped at their length limit."""
    unread: dict[str, int] = field(default_factory=dict)
    """For each prompt, by label, that the model's server seems to have cut: how many tokens are missing. Not carried: no
    client reports what its model has read."""
    client_given_up: bool = False
    """The client declared sampling and did not answer it. Not carried: after noticing it, a round no longer asks the client."""
    digests: dict[str, str] = field(default_factory=dict)
    """Digests of the documents, by path, when they were last read."""
    touched: set[str] = field(default_factory=set)

    def spend(self, key: str, attempt: int, tokens: int, ceiling: int) -> bool:
        """Charge an attempt's input tokens against `ceiling`, unless an earlier round charged it. Return False if too few are left."""
        paid, cost = self.spent.get(key, (0, 0))
        if attempt > paid:
            if self.spent_in_all + tokens > ceiling:
                return False
            self.spent[key] = (attempt, cost + tokens)
            self.spent_in_all += tokens
        return True

    @property
    def unfinished(self) -> UsageCounters:
        """Cost of the prompts that have no outcome yet: calls, answered attempts, estimated input tokens."""
        paid = [spent for key, spent in self.spent.items() if key not in self.counted]
        return UsageCounters(
            model_calls=len(paid),
            input_tokens=sum(cost for _, cost in paid),
            attempts=sum(attempts for attempts, _ in paid),
        )

    def get_result(self, key: str) -> Any:
        """Return the result of a finished step, or None, and keep it for the next round."""
        if key in self.results:
            self.touched.add(key)
        return self.results.get(key)

    def set_result(self, key: str, result: Any, *, replaces: list[str]) -> None:
        """Store the result of a finished step (JSON). The answers and results under the keys `replaces` are dropped."""
        self.results[key] = result
        self.touched.add(key)
        self.touched.difference_update(replaces)

    def pack(self) -> str:
        """Return the state as printable ASCII.

        Raises:
            BudgetExceeded: the state is too large for a client to carry.
        """
        kept = {
            "v": STATE_VERSION,
            "call": self.call,
            "boundary": self.boundary,
            "rounds": self.rounds,
            "progress": self.progress,
            "logged": self.logged,
            "results": {key: value for key, value in self.results.items() if key in self.touched},
            "answers": {key: asdict(value) for key, value in self.answers.items() if key in self.touched},
            "failures": {key: value for key, value in self.failures.items() if key in self.touched},
            "attempts": {key: value for key, value in self.attempts.items() if key in self.touched},
            "cuts": {key: value for key, value in self.cuts.items() if key in self.touched},
            "asked": self.asked,
            "counted": sorted(self.counted & self.touched),
            "spent": {key: value for key, value in self.spent.items() if key in self.touched},
            "spent_in_all": self.spent_in_all,
            "usage": asdict(self.usage),
            "models": self.models,
            "cut": self.cut,
            "digests": self.digests,
        }
        data = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        packed = base64.b85encode(zlib.compress(data, 6)).decode("ascii")
        if len(data) > MAX_STATE_BYTES or len(packed) > MAX_PACKED_BYTES:
            raise BudgetExceeded("what the model answered so far is too much to carry to the next round")
        return packed

    @classmethod
    def unpack(cls, packed: str) -> Self:
        """Return the state from the output of `pack`.

        Raises:
            InvalidArguments: `packed` is from another version of this server, or not from `pack`.
        """
        try:
            inflate = zlib.decompressobj()
            data = inflate.decompress(base64.b85decode(packed), MAX_STATE_BYTES)
            kept: Mapping[str, Any] = json.loads(data.decode("utf-8", "surrogatepass"))
            if inflate.unconsumed_tail or kept["v"] != STATE_VERSION:
                raise _foreign()
            return cls(
                call=kept["call"],
                boundary=kept["boundary"],
                rounds=kept["rounds"],
                progress=kept["progress"],
                logged=kept["logged"],
                results=kept["results"],
                answers={key: Completion(**value) for key, value in kept["answers"].items()},
                failures={key: tuple(value) for key, value in kept["failures"].items()},
                asked=kept["asked"],
                attempts=kept["attempts"],
                cuts=kept["cuts"],
                counted=set(kept["counted"]),
                spent={key: tuple(value) for key, value in kept["spent"].items()},
                spent_in_all=kept["spent_in_all"],
                usage=UsageCounters(**kept["usage"]),
                models=kept["models"],
                cut=kept["cut"],
                digests=kept["digests"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error, binascii.Error) as error:
            raise _foreign() from error


def _foreign() -> InvalidArguments:
    return InvalidArguments(
        "the request state is not one that this version of the server made",
        hint="Call the tool again from the start, without a request state.",
    )
