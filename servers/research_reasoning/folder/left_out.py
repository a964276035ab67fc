"""What becomes of named documents that an answer does not show, when evidence is chosen from all that were named."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import anyio

from research_reasoning.call import Call
from research_reasoning.evidence.coverage import is_blank
from research_reasoning.replies.results import Source, SourceStatus
from research_reasoning.requested import MAX_FILTERED_READS, Requested
from research_shared.errors import ResearchError
from research_shared.text.sizes import counted, one_or_many
from research_shared.tools.names import INCOMPLETE

COVERED: Final = "its passages do not fit the prompt beside better ones, or say the same as they"
NOT_FITTING: Final = "none of its passages is among those that fit the question best"


class LeftOut(NamedTuple):
    """A named document that is not shown, and the reason. `lost`: it is missing, or cannot be read."""

    path: str
    reason: str
    status: SourceStatus = "skipped"
    lost: bool = False

    @property
    def source(self) -> Source:
        """Return it as a source of the answer."""
        return Source(path=self.path, status=self.status, reason=self.reason, coverage=None)


async def left_out_of(
    call: Call,
    named: Sequence[Requested],
    *,
    shown: Mapping[str, str],
    failed: Mapping[str, str],
    compared: Collection[str],
    fitting: Collection[str],
    most: int,
) -> list[LeftOut]:
    """Return the named documents that are not shown, in the order that they were named.

    `shown` are the digests of those that are, by path; `failed` why documents cannot be read. Passages were found in the
    `fitting` documents, of which `most` at most were `compared`. The others are read, to tell why nothing was found in them.
    """
    found: dict[str, LeftOut] = {}
    first: dict[str, str] = {}
    for path, digest in shown.items():
        first.setdefault(digest, path)
    limiter = anyio.CapacityLimiter(MAX_FILTERED_READS)

    async def read(path: str) -> None:
        async with limiter:
            try:
                text = await call.library.read(path)
            except ResearchError as error:
                found[path] = LeftOut(path, error.message, lost=True)
                return
        if (same := first.get(text.digest)) is not None:
            found[path] = LeftOut(path, f"same content as {same}", "duplicate")
        elif is_blank(text):
            found[path] = LeftOut(path, "the document holds no text", lost=True)
        else:
            found[path] = LeftOut(path, NOT_FITTING)

    open_ = [entry for entry in named if entry.path not in shown]
    async with anyio.create_task_group() as group:
        for entry in open_:
            path = entry.path
            if entry.missing is not None:
                found[path] = LeftOut(path, entry.missing, lost=True)
            elif path in failed:
                found[path] = LeftOut(path, failed[path], lost=True)
            elif path in compared:
                found[path] = LeftOut(path, COVERED)
            elif path in fitting:
                found[path] = LeftOut(
                    path,
                    f"not among the {counted(most, 'document')} that fit the question best; this answer shows no more",
                )
            else:
                group.start_soon(read, path)
    return [found[entry.path] for entry in open_]


def warnings_on(left_out: Sequence[LeftOut], named: int) -> list[str]:
    """Return what an answer says first of the documents that it leaves out, of so many that were `named`."""
    lost = sum(each.lost for each in left_out)
    others = sum(each.status == "skipped" and not each.lost for each in left_out)
    warnings = []
    if lost:
        warnings.append(
            f"{INCOMPLETE}: {lost} of {counted(named, 'named document')} "
            f"{one_or_many(lost, 'is missing or could not be read; see its reason', 'are missing or could not be read; see their reasons')}"
        )
    if others:
        warnings.append(
            f"{others} of {counted(named, 'named document')} "
            f"{one_or_many(others, 'is not among the evidence; see its reason', 'are not among the evidence; see their reasons')}"
        )
    return warnings
