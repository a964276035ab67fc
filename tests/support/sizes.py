"""How much a test does that is worth more the longer it runs.

`RESEARCH_TEST_FULL=1` asks for all of it, and `-m long` for the tests that this changes (`variants.py` finds them): a step
of CI of its own.
"""

import os

FULL = os.environ.get("RESEARCH_TEST_FULL") == "1"
"""Whether to run the long variants."""

HOSTILE_LETTERS, HOSTILE_LIMIT_S = (200_000, 10.0) if FULL else (50_000, 2.5)
"""How long a text is that is made to keep its reader busy, and the seconds of the processor that it may take."""


def examples(full: int) -> int:
    """How many examples of a property to try, out of those that the long variant tries."""
    return full if FULL else -(-full // 4)
