"""Proxies that the environment names, where they cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from research_shared.base_errors import ConfigurationError


@contextmanager
def usable_proxies(invalid: type[Exception] = httpx.InvalidURL) -> Iterator[None]:
    """Make a client of httpx in the block. It takes the proxies of all addresses when it is made, not when one is asked.

    `invalid` is what the package of the client raises for an address that is none.

    Raises:
        ConfigurationError: one of them cannot be used. The message has nothing of its address, which may hold a password.
    """
    try:
        yield
    except UnicodeError:  # of a header or a key, not of an address
        raise
    except (invalid, ValueError):
        raise ConfigurationError(
            "an address of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used",
            hint="Write http://USER:PASSWORD@HOST:3128, with / @ : ? # in the password as %2F %40 %3A %3F %23, or unset them.",
        ) from None
    except ImportError:
        raise ConfigurationError(
            "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names a SOCKS proxy, which needs another package: pip install socksio",
            hint="Install it, name an HTTP proxy, or unset them.",
        ) from None
