"""Sealing of the state of a multi-round call, which travels through the client.

The outermost server seals. A gateway and a standalone server need the same keys and audience to continue each other's
rounds.
"""

from mcp.server.request_state import RequestStateSecurity

from research_shared.settings import Settings

AUDIENCE = "research-assistant"
STATE_TTL_S = 3600.0
"""Seconds that a client may take for one round.

A local model works through the up to 32 model calls of a round one by one, so this is the time limit of a whole tool call.
"""


def request_state_security(settings: Settings) -> RequestStateSecurity:
    """Return the sealing policy with the operator's keys, or with a random key of this process.

    The first key seals and every key opens, so keys can be rotated while calls are in flight.
    """
    keys = [key.get_secret_value() for key in settings.state_keys]
    if not keys:
        return RequestStateSecurity.ephemeral(ttl=STATE_TTL_S, audience=AUDIENCE)
    return RequestStateSecurity(keys=keys, ttl=STATE_TTL_S, audience=AUDIENCE)
