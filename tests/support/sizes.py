"""How much a test does that is worth more the longer it runs.

`RESEARCH_TEST_FULL=1` asks for all of it. CI runs every test module that imports this one so, in a step of its own.
"""

import os

FULL = os.environ.get("RESEARCH_TEST_FULL") == "1"
"""Whether to run the long variants."""


def examples(full: int) -> int:
    """How many examples of a property to try, out of those that the long variant tries."""
    return full if FULL else -(-full // 4)
