"""What an OpenID provider publishes about itself, read once at the start."""

import httpx2
from fastmcp.server.auth.oidc_proxy import OIDCConfiguration

from research_shared.base_errors import ConfigurationError
from research_shared.proxies import usable_proxies
from research_shared.text.secrets import without_secrets

CONFIGURATION_PATH = "/.well-known/openid-configuration"
DISCOVERY_TIMEOUT_S = 10.0


def discover(issuer: str, *, timeout_s: float = DISCOVERY_TIMEOUT_S) -> OIDCConfiguration:
    """Return the configuration that an issuer publishes (OpenID Connect Discovery 1.0, section 4).

    Raises:
        ConfigurationError: it cannot be fetched within `timeout_s` seconds, is incomplete, or belongs to another issuer.
    """
    address = issuer.rstrip("/") + CONFIGURATION_PATH
    with usable_proxies(httpx2.InvalidURL):
        client = httpx2.Client(timeout=timeout_s)
    try:
        with client:
            response = client.get(address)
        response.raise_for_status()
        configuration = OIDCConfiguration.model_validate(response.json())
    except httpx2.HTTPStatusError as error:
        raise _unusable_issuer(issuer, f"{address} answers {error.response.status_code}") from error
    except httpx2.HTTPError as error:
        raise _unusable_issuer(issuer, f"{address} cannot be reached ({type(error).__name__})") from error
    except ValueError as error:
        raise _unusable_issuer(
            issuer, f"{address} is no complete configuration of an OpenID provider"
        ) from error
    if str(configuration.issuer) != issuer:
        raise _unusable_issuer(issuer, f"the provider there calls itself {configuration.issuer}")
    return configuration


def _unusable_issuer(issuer: str, reason: str) -> ConfigurationError:
    return ConfigurationError(without_secrets(f"RESEARCH_AUTH_ISSUER={issuer}: {reason}"))
