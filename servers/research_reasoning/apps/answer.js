// The part of an MCP App that speaks with its host (JSON-RPC over postMessage, ui/* of MCP Apps 2026-01-26).
// The server renders the answer; this only shows it. It sends no request anywhere but to the host.
"use strict";
(() => {
  const PAGE = "io.github.research-assistant-mcp/page";
  const main = document.querySelector("main");
  const status = document.querySelector("[role=status]");
  const waiting = new Map();
  let requests = 0;
  let size = "";

  const post = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const notify = (method, params) => post({ method, params });
  const request = (method, params) =>
    new Promise((resolve, reject) => {
      waiting.set(++requests, { resolve, reject });
      post({ id: requests, method, params });
    });

  const tell = (text) => {
    status.textContent = text;
    status.hidden = text === "";
  };

  const adopt = (context) => {
    if (context?.theme === "light" || context?.theme === "dark") {
      document.documentElement.dataset.theme = context.theme;
    }
  };

  const plain = (heading, text) => {
    const title = document.createElement("h1");
    title.textContent = heading;
    const body = document.createElement("pre");
    body.textContent = text;
    main.replaceChildren(title, body);
  };

  const show = (result) => {
    const page = result?._meta?.[PAGE];
    const text = (result?.content ?? [])
      .filter((block) => block.type === "text")
      .map((block) => block.text)
      .join("\n\n");
    if (typeof page === "string" && !result.isError) {
      main.innerHTML = page; // made and escaped by the server; the policy of this page runs no other script
    } else {
      plain(result?.isError ? "The question was not answered" : "Answer", text);
    }
    document.title = main.querySelector("h1")?.textContent ?? document.title;
    main.removeAttribute("aria-busy");
    tell("");
  };

  const notified = {
    "ui/notifications/tool-input": ({ arguments: given }) => {
      if (typeof given?.research_question === "string") {
        tell(`Looking for the answer: ${given.research_question}`);
      }
    },
    "ui/notifications/tool-result": show,
    "ui/notifications/tool-cancelled": () => {
      main.removeAttribute("aria-busy");
      tell("The question was cancelled.");
    },
    "ui/notifications/host-context-changed": adopt,
  };
  const answered = { "ui/resource-teardown": () => ({}), ping: () => ({}) };

  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || data?.jsonrpc !== "2.0") return;
    if (data.method === undefined) {
      const call = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) call?.reject(new Error(data.error.message));
      else call?.resolve(data.result);
    } else if (data.id === undefined) {
      notified[data.method]?.(data.params ?? {});
    } else if (Object.hasOwn(answered, data.method)) {
      post({ id: data.id, result: answered[data.method]() });
    } else {
      post({ id: data.id, error: { code: -32601, message: "unknown method" } });
    }
  });

  document.addEventListener("click", (event) => {
    const address = event.target.closest?.("a[href]")?.getAttribute("href");
    if (!address) return;
    event.preventDefault(); // a sandboxed frame cannot go anywhere itself
    if (address.startsWith("#")) {
      const place = document.getElementById(address.slice(1));
      place?.setAttribute("tabindex", "-1");
      place?.focus();
    } else {
      request("ui/open-link", { url: address }).catch(() => tell(`This client did not open ${address}`));
    }
  });

  new ResizeObserver(() => {
    const { width, height } = document.documentElement.getBoundingClientRect();
    const now = { width: Math.ceil(width), height: Math.ceil(height) };
    if (JSON.stringify(now) === size) return;
    size = JSON.stringify(now);
    notify("ui/notifications/size-changed", now);
  }).observe(document.documentElement);

  request("ui/initialize", {
    protocolVersion: "2026-01-26",
    appInfo: { name: "research-answer", version: "1" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
  }).then((initialized) => {
    adopt(initialized?.hostContext);
    notify("ui/notifications/initialized", {});
  });
})();
