// The MCP SDK for TypeScript, 2.x. It speaks the handshake era unless it is told to negotiate: `"mode": "auto"`.
import { converse, load, TIMEOUT_MS, to } from "./conversation.mjs";

const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

const negotiation = to.mode ? { versionNegotiation: { mode: to.mode } } : {};
const client = new Client({ name: "typescript-2", version: "1.0.0" }, { capabilities: {}, ...negotiation });
const [command, ...args] = to.command ?? [];
await client.connect(
  to.transport === "http"
    ? new StreamableHTTPClientTransport(new URL(to.url))
    : new StdioClientTransport({ command, args, env: to.environment }),
);
const { tools } = await client.listTools();
await converse(tools, (name, input, signal) =>
  client.callTool({ name, arguments: input }, { signal, timeout: TIMEOUT_MS }),
);
await client.close();
