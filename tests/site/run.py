"""Check the documentation site as it was built: `python tests/site/run.py SITE`.

Every link leads somewhere, also to the place in its page; nothing is loaded from another host, neither by what the pages
say nor by what a browser asks for; pictures and tables are there.
"""

import json
import subprocess
import sys
import tempfile
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

SHOWN = {
    "index.html": "Where to begin",
    "clients.html": "claude_desktop_config.json",
    "concepts/evidence.html": "each quote",
    "reference/tools.html": "synthesize_research",
    "architecture.html": "folder (modules)",
}
"""Pages that a browser opens, with words that they show."""
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}


class Seen(HTMLParser):
    """What a page loads, where its links lead, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        # The address of the page itself is no request.
        if LOADED.get(tag) in given and given.get("rel") not in {"canonical", "prev", "next"}:
            self.loaded.append(given[LOADED[tag]])


def faults_of(site: Path) -> list[str]:
    """Return what is wrong with the pages as they stand in their files."""
    pages = {file: Seen(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    assert len(pages) > 30, f"{len(pages)} pages in {site}"
    faults = []
    for file, seen in pages.items():
        for address in seen.loaded + seen.links:
            parts = urlsplit(address)
            where = f"{file.relative_to(site)}: {address}"
            if parts.scheme or parts.netloc:
                if address in seen.loaded and parts.scheme != "data":
                    faults.append(f"{where} is loaded from elsewhere")
                continue
            # 404.html stands for pages of any depth, so that its addresses begin at the top.
            base = site if parts.path.startswith("/") else file.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                faults.append(f"{where} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{where} has no such place")
    return faults


def asked_by_a_browser(url: str, words: str) -> set[str]:
    """Return the hosts that a page has a browser ask while it is shown.

    Raises:
        AssertionError: the page does not show the words.
    """
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "net.json"
        shown = subprocess.run(
            [
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                f"--user-data-dir={directory}/profile",
                f"--log-net-log={log}",
                "--virtual-time-budget=3000",
                "--dump-dom",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert words in shown.stdout, f"{url} does not show {words!r}"
        record = json.loads(log.read_text(encoding="utf-8"))
    jobs = record["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [event.get("params", {}) for event in record["events"] if event["type"] == jobs]
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    # A browser also asks its maker's servers on its own account: those requests name no page.
    return {urlsplit(each["url"]).netloc for each in started if each.get("initiator") == origin}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without telling."""

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    faults = faults_of(site)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = f"127.0.0.1:{server.server_port}"
        for page, words in SHOWN.items():
            asked = asked_by_a_browser(f"http://{own}/{page}", words)
            assert own in asked, f"nothing was recorded for {page}"
            faults += [f"{page}: a browser asks {host}" for host in sorted(asked - {own})]
        server.shutdown()
    print(
        "\n".join(faults)
        or f"every link of the site leads somewhere, and {len(SHOWN)} pages ask no other host"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
