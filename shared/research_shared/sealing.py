"""How the state of a multi-round call is sealed on its way through the client.

The outermost server on the wire seals, so a gateway and a server that stands alone need the same policy to take over
each other's rounds: the same keys and the same audience.
"""

from mcp.server.request_state import RequestStateSecurity

from research_shared.settings import Settings

AUDIENCE = "research-assistant"
STATE_TTL_S = 3600.0
"""How long a client may take for one round.

A round asks up to 32 model calls, which a local model takes one after the other: as long as a tool may take in all.
"""


def request_state_security(settings: Settings) -> RequestStateSecurity:
    """The sealing policy: under the operator's keys, else under a key that only this process knows.

    The first key seals and every key opens, so that keys can be rotated without refusing calls under way.
    """
    keys = [key.get_secret_value() for key in settings.state_keys]
    if not keys:
        return RequestStateSecurity.ephemeral(ttl=STATE_TTL_S, audience=AUDIENCE)
    return RequestStateSecurity(keys=keys, ttl=STATE_TTL_S, audience=AUDIENCE)
