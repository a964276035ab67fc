"""How a search engine paces its work: when it waits, and how much it takes at a time."""

from dataclasses import dataclass

from research_shared.reading.library import SETTLED_NS


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchTuning:
    """Times, in seconds unless the name says otherwise, and sizes of one engine.

    Searches:
        `progress_every_s`: time between progress reports while a search waits for the index.
        `recent_change_s`: while the folder is watched, a search does not wait for changes younger than this.
        `short_turn_s`: time a regex search works before it asks the index where to look, and between checks for the
        answer. `turn_s`: time of one turn of its work.
        `tie_margin`: extra passages fetched so that a small tie at the cut-off needs no second query.
        `most_ties`: passages fetched at most for a tie.
    Reading:
        `settled_ns`: age from which the time stamps of a file are reliable.
        `retry_unreadable_s`: time for which a document that gave no text is not read again, if it does not change.
        `read_together`: small texts read at a time. `large_bytes`: a larger text is read and indexed on its own.
    Writing:
        `slice_bytes`: bytes of one document that are indexed at a time: a fraction of a second of work.
        `first_commit_s`, `commit_every_s`: time from the first change to the first commit, and between commits.
        `index_retry_s`: time after which a directory of the index that could not be used is tried again.
        `trim_every_bytes`: memory is trimmed when the writer is idle and at least so many bytes were indexed.
    """

    progress_every_s: float = 0.25
    recent_change_s: float = 1.0
    short_turn_s: float = 0.005
    turn_s: float = 0.02
    tie_margin: int = 24
    most_ties: int = 4_096
    settled_ns: int = SETTLED_NS
    retry_unreadable_s: float = 60.0
    read_together: int = 64
    large_bytes: int = 1024 * 1024
    slice_bytes: int = 256 * 1024
    first_commit_s: float = 0.3
    commit_every_s: float = 2.0
    index_retry_s: float = 60.0
    trim_every_bytes: int = 16 * 1024 * 1024


DEFAULT_TUNING = SearchTuning()
