// The MCP SDK for TypeScript, 1.x. Having listed the tools, it checks each result against its output schema.
import { converse, load, TIMEOUT_MS, to } from "./conversation.mjs";

const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = await load("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { ListRootsRequestSchema } = await load("@modelcontextprotocol/sdk/types.js");

const client = new Client({ name: "typescript-1", version: "1.0.0" }, { capabilities: to.roots ? { roots: {} } : {} });
if (to.roots) client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: to.roots }));
const [command, ...args] = to.command ?? [];
await client.connect(
  to.transport === "http"
    ? new StreamableHTTPClientTransport(new URL(to.url))
    : new StdioClientTransport({ command, args, env: to.environment }),
);
const { tools } = await client.listTools();
await converse(tools, (name, input, signal) =>
  client.callTool({ name, arguments: input }, undefined, { signal, timeout: TIMEOUT_MS }),
);
await client.close();
