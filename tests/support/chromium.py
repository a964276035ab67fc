"""A headless Chromium that a test drives over a pipe (the DevTools protocol), with its network denied."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

Message = dict[str, Any]


class Chromium:
    """One page. `requested` are the addresses that it and its frames have asked for."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self._last_id = 0
        self._answers: dict[int, Message] = {}
        self._received = b""
        self._contexts: dict[tuple[str, int], str] = {}
        """Frames by the session and the id of the execution context that they have now."""
        self.requested: list[str] = []
        self.said: list[str] = []
        """What the page and its frames wrote to the console."""
        self._loaded: set[str] = set()
        target = self._send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._send("Target.attachToTarget", {"targetId": target, "flatten": True})
        self.page = attached["sessionId"]
        self._watch(self.page)
        self.send("Page.setLifecycleEventsEnabled", enabled=True)
        self.main_frame = self.send("Page.getFrameTree")["frameTree"]["frame"]["id"]

    def send(self, method: str, /, **params: Any) -> Message:
        """Send a command to the page, and return its result."""
        return self._send(method, params, self.page)

    def open(self, address: str) -> None:
        """Open an address and wait until it is loaded."""
        loader = self.send("Page.navigate", url=address)["loaderId"]
        while loader not in self._loaded:
            self._take(self._next())

    def wait_for_line(self, line: str) -> None:
        """Wait until the page or a frame has written a line to the console."""
        while line not in self.said:
            self._take(self._next())

    def evaluate(self, expression: str, *, in_frame: bool = False) -> Any:
        """Return the value of an expression in the page, or in the frame inside it."""
        while not (
            found := [key for key, frame in self._contexts.items() if (frame != self.main_frame) is in_frame]
        ):
            self._take(self._next())
        session, context = found[-1]
        result = self._send(
            "Runtime.evaluate",
            {"expression": expression, "contextId": context, "returnByValue": True, "awaitPromise": True},
            session,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common: Message = {
            "key": key,
            "code": "Space" if key == " " else key,
            "windowsVirtualKeyCode": codes[key],
        }
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, file: Path) -> None:
        """Write a picture of the whole page."""
        shot = self.send("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def printed(self, file: Path) -> None:
        """Write what a printer would get, as a PDF."""
        file.write_bytes(base64.b64decode(self.send("Page.printToPDF", printBackground=False)["data"]))

    def _watch(self, session: str) -> None:
        for domain in ("Page", "Runtime", "Network"):
            self._send(f"{domain}.enable", {}, session)
        self._send(
            "Target.setAutoAttach",
            {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True},
            session,
        )

    def _send(self, method: str, params: Message, session: str | None = None) -> Message:
        self._last_id += 1
        wanted = self._last_id
        command = {
            "id": wanted,
            "method": method,
            "params": params,
            **({"sessionId": session} if session else {}),
        }
        self._writer.write(json.dumps(command).encode() + b"\0")
        self._writer.flush()
        while wanted not in self._answers:  # an answer may also come while another command is sent
            self._take(self._next())
        answer = self._answers.pop(wanted)
        assert "error" not in answer, (method, answer)
        result: Message = answer["result"]
        return result

    def _next(self) -> Message:
        while b"\0" not in self._received:
            received = os.read(self._reader.fileno(), 1 << 16)
            assert received, "the browser has ended"
            self._received += received
        first, _, self._received = self._received.partition(b"\0")
        message: Message = json.loads(first)
        return message

    def _forget(self, session: str) -> None:
        self._contexts = {key: frame for key, frame in self._contexts.items() if key[0] != session}

    def _take(self, message: Message) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        params, session = message.get("params", {}), message.get("sessionId", "")
        match message.get("method"):
            case "Target.attachedToTarget" if session:  # a frame in a process of its own
                self._watch(params["sessionId"])
                self._send("Runtime.runIfWaitingForDebugger", {}, params["sessionId"])
            case "Page.lifecycleEvent" if params["name"] == "load":
                self._loaded.add(params["loaderId"])
            case "Runtime.executionContextCreated":
                context = params["context"]
                self._contexts[session, context["id"]] = context["auxData"]["frameId"]
            case "Runtime.executionContextDestroyed":
                self._contexts.pop((session, params["executionContextId"]), None)
            case "Runtime.executionContextsCleared":
                self._forget(session)
            case "Target.detachedFromTarget":
                self._forget(params["sessionId"])
            case "Runtime.consoleAPICalled":
                self.said += [str(argument.get("value")) for argument in params["args"]]
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])


@contextmanager
def chromium(profile: Path) -> Iterator[Chromium]:
    """Run a browser that resolves no name and reaches no address but files."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
    ]
    # The browser reads the descriptor 3 and writes to 4.
    script = f'exec chromium "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", script, "chromium", *options],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(ours_in, "rb") as reader, os.fdopen(ours_out, "wb") as writer:
            yield Chromium(reader, writer)
    finally:
        process.terminate()
        process.wait(timeout=60)
