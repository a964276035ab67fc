// Calls one tool of a server with the TypeScript SDK's client, answering the server's sampling requests.
// node synthesize.mjs <directory with node_modules> <auto|legacy> <tool> <arguments as JSON> <url | command and its arguments>
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [directory, mode, tool, input, target, ...rest] = process.argv.slice(2);
const find = createRequire(join(directory, "package.json"));
const load = (name) => import(pathToFileURL(find.resolve(name)));
const { Client, StreamableHTTPClientTransport, LOG_LEVEL_META_KEY } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

const asked = [];
function answer(system, text) {
  const shown = text.match(/<<<UNTRUSTED \w+\n([^]*)\nUNTRUSTED/)[1];
  if (system.startsWith("Find what")) {
    const quote = shown.match(/[A-Z][^.\n]{20,}\./)?.[0];
    const findings = quote ? [{ claim: "It says so", quotes: [quote] }] : [];
    return JSON.stringify({ relevant: findings.length > 0, findings });
  }
  if (system.startsWith("Answer the")) {
    const marks = [...shown.matchAll(/^(\d+\.\d+) /gm)].map((match) => match[1]);
    const insights = marks.map((mark) => ({ claim: `Finding ${mark}`, evidence: [mark] }));
    return JSON.stringify({ answered: true, synthesis: `They agree [${marks[0].split(".")[0]}].`, insights });
  }
  return "One paragraph.\n\nAnother one.\n\nA third one.";
}

const client = new Client(
  { name: "typescript-test", version: "1.0.0" },
  { capabilities: { sampling: {} }, versionNegotiation: { mode } },
);
client.setRequestHandler("sampling/createMessage", async (request) => {
  const { systemPrompt, messages } = request.params;
  const content = [messages[0].content].flat()[0];
  asked.push(systemPrompt.split(" ").slice(0, 2).join(" "));
  const text = answer(systemPrompt, content.text);
  return { role: "assistant", model: "typescript-model", stopReason: "endTurn", content: { type: "text", text } };
});
const logs = [];
client.setNotificationHandler("notifications/message", (notification) => {
  logs.push([notification.params.level, notification.params.data.msg]);
});

const transport = target.startsWith("http")
  ? new StreamableHTTPClientTransport(new URL(target))
  : new StdioClientTransport({ command: target, args: rest, env: process.env, stderr: "ignore" });
await client.connect(transport);
// As it arrives: the SDK drops progress that it reads in the same chunk as the response.
const arrived = [];
const hand = transport.onmessage;
transport.onmessage = (message, extra) => {
  if (message.method === "notifications/progress") arrived.push([message.params.progress, message.params.total]);
  hand?.(message, extra);
};
const progress = [];
const result = await client.callTool(
  { name: tool, arguments: JSON.parse(input), _meta: { [LOG_LEVEL_META_KEY]: "info" } },
  // Between rounds the SDK reports the number of the round by itself, without a total.
  { onprogress: ({ progress: value, total }) => total !== undefined && progress.push([value, total]) },
);
const version = client.getNegotiatedProtocolVersion?.() ?? null;
await client.close();
console.log(JSON.stringify({ result, progress, arrived, logs, asked, version }));
