"""A timeline: events that documents date, the earliest first. Pure functions."""

from collections.abc import Sequence
from typing import Final

from research_reasoning.evidence.claims import flags
from research_reasoning.evidence.combination import Answer, evidence_of
from research_reasoning.evidence.gathering import CheckedFinding, DocumentEvidence
from research_reasoning.replies.layout_text import timeline_text
from research_reasoning.replies.results import DatedEvent, Timeline
from research_reasoning.replies.untrusted import neutralised_line
from research_shared.text.dates import holds_date, normalised_date

MAX_EVENTS: Final = 60
"""Events of one timeline; of more, those of verified quotes are kept first."""
DATE_NOT_QUOTED: Final = "the date is in none of its quotes"
NO_EVENTS: Final = "No dated event was found that bears on the question."


def timeline_answer(usable: Sequence[tuple[int, DocumentEvidence]], warnings: list[str]) -> Answer:
    """Return the timeline of the findings. Those without a date that can be read are left out and counted in `warnings`."""
    events: dict[tuple[str, str, str], DatedEvent] = {}
    undated = 0
    for _, found in usable:
        for finding in found.findings:
            iso = normalised_date(finding.date)
            if iso is None:
                undated += 1
                continue
            event = _event(found.path, finding, iso)
            events.setdefault((iso, found.path, event.claim.casefold()), event)
    kept = sorted(events.values(), key=lambda event: (not event.verified, event.iso))[:MAX_EVENTS]
    timeline = Timeline(events=sorted(kept, key=_sort_key), undated=undated)
    if undated:
        warnings.append(f"events left out because they give no date that can be read: {undated}")
    if len(kept) < len(events):
        warnings.append(f"{len(events) - len(kept)} of {len(events)} events are left out; ask about less")
    doubtful = sum(not event.verified for event in kept)
    if doubtful:
        warnings.append(f"events whose date or claim no quote holds: {doubtful}; do not report them as fact")
    numbers = {found.path: number for number, found in usable}
    return Answer(timeline_text(timeline, numbers) or NO_EVENTS, (), answered=bool(kept), timeline=timeline)


def _event(path: str, finding: CheckedFinding, iso: str) -> DatedEvent:
    evidence = evidence_of(path, finding)
    told = flags(finding.claim, finding.verified)
    if not any(holds_date(quote, finding.date) for quote in finding.verified):
        told = [DATE_NOT_QUOTED, *told]
    return DatedEvent(
        date=neutralised_line(finding.date),
        iso=iso,
        claim=neutralised_line(finding.claim),
        evidence=evidence,
        verified=bool(evidence) and all(item.verified for item in evidence) and not told,
        flags=told,
    )


def _sort_key(event: DatedEvent) -> tuple[str, str, int, str]:
    first = event.evidence[0] if event.evidence else None
    line = first.lines[0] if first is not None and first.lines is not None else 0
    return event.iso, first.document if first is not None else "", line, event.claim
