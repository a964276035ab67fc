"""A person with a browser: follows redirects, keeps cookies, and fills in the forms of a login."""

from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
from fastmcp.client.auth import OAuth
from mcp.shared.auth import AuthorizationCodeResult


class _Form(HTMLParser):
    """The first form of a page: where it goes, and what its inputs and its first button send."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = self._pressed = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self._inside, self.action = True, given.get("action", "")
        elif self._inside and "name" in given and (tag == "input" or (tag == "button" and not self._pressed)):
            self.fields[given["name"]] = given.get("value", "")
        self._pressed |= tag == "button"

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


async def visit(
    client: httpx.AsyncClient, url: str, *, until: str, fields: Mapping[str, str]
) -> dict[str, str]:
    """Go where a login leads until it returns to an address that begins with `until`. Return the query of that.

    Forms are sent with `fields` filled in and their first button pressed, with the origin that a browser names.
    """
    response = await client.get(url)
    for _ in range(20):
        if response.is_redirect:
            url = urljoin(str(response.url), response.headers["location"])
            if url.startswith(until):
                return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
            response = await client.get(url)
            continue
        assert response.status_code == 200, (response.url, response.status_code, response.text[:500])
        form = _Form(response.text)
        assert form.action is not None, (response.url, response.text[:500])
        parts = urlsplit(str(response.url))
        response = await client.post(
            urljoin(str(response.url), form.action),
            data={**form.fields, **{name: value for name, value in fields.items() if name in form.fields}},
            headers={"origin": f"{parts.scheme}://{parts.netloc}"},
        )
    raise AssertionError(f"the login does not end: {url}")


class Person(OAuth):
    """FastMCP's OAuth client, with a person in place of a browser window."""

    def __init__(self, fields: Mapping[str, str] | None = None, **options: object) -> None:
        super().__init__(callback_port=1, **options)  # type: ignore[arg-type]  # nobody listens there
        self._fields = fields or {}
        self._returned: dict[str, str] = {}

    async def redirect_handler(self, authorization_url: str) -> None:
        async with httpx.AsyncClient() as browser:
            self._returned = await visit(
                browser, authorization_url, until="http://localhost:1/callback", fields=self._fields
            )

    async def callback_handler(self) -> AuthorizationCodeResult:
        assert "code" in self._returned, self._returned
        return AuthorizationCodeResult(
            code=self._returned["code"], state=self._returned.get("state"), iss=self._returned.get("iss")
        )
