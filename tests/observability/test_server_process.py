"""What a server process tells its operator: log lines as JSON, a level that a signal switches, spans at a collector."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fastmcp import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.processes import Server, served
from support.serving import until
from support.sizes import FULL


@contextmanager
def collector() -> Iterator[tuple[str, list[Any], list[str | None]]]:
    """Yield the address of an OpenTelemetry collector, the spans that it was sent, and the keys that came with them."""
    spans: list[Any] = []
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest()
            sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            keys.append(self.headers["x-key"])
            spans.extend(
                span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans, keys
    finally:
        server.shutdown()
        server.server_close()


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]


if FULL:

    async def test_a_server_process_tells_what_it_does(tmp_path: Path) -> None:
        folder = tmp_path / "research"
        folder.mkdir()
        (folder / "a secret name.md").write_text("The pilot cost 4 000 EUR.\n", encoding="utf-8")
        with collector() as (url, spans, keys):
            given = {
                "RESEARCH_LOG_FORMAT": "json",
                "RESEARCH_OTLP_URL": url,
                "RESEARCH_OTLP_HEADERS": '{"x-key": "a key of the collector"}',
                "RESEARCH_MODEL_ROUTE": "extractive",
            }
            async with served(folder, **given) as server:
                server.process.send_signal(signal.SIGUSR1)
                await server.says("the log level was switched")
                async with Client(server.url) as client:
                    await client.call_tool("search_documents", {"query": "pilot"})
                    await client.call_tool("summarize_document", {"document_path": "a secret name.md"})
                server.process.send_signal(signal.SIGUSR1)
                await until(lambda: server.said("the log level was switched") == 2)
            # The process has ended: all of its spans are sent.
            names = {span.name for span in spans}
            assert {"tools/call search_documents", "search"} <= names
            assert set(keys) == {"a key of the collector"}
            assert "secret name" not in "".join(str(span) for span in spans)
            levels = [line for line in lines(server) if line["event"] == "the log level was switched"]
            assert [line["to"] for line in levels] == ["debug", "info"]
            records = (tmp_path / "audit0.jsonl").read_text(encoding="utf-8")
            called = [line for line in lines(server) if "call_id" in line]
            assert called
            assert {line["call_id"] for line in called} <= set(re.findall(r'"call_id":"(\w+)"', records))
            traces = {span.trace_id.hex() for span in spans}
            assert {line["trace_id"] for line in called} <= traces
