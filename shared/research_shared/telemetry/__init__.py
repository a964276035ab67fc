"""What a server tells about its work: facts of a call, durations, and spans of a trace."""

from research_shared.telemetry.facts import MODEL_SECONDS, collecting, record, record_duration

__all__ = ["MODEL_SECONDS", "collecting", "record", "record_duration"]
