// How a driver in JavaScript talks with run.py: as conversation.py says.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// node DRIVER <directory with node_modules> <target as JSON>
const [directory, target] = process.argv.slice(2);
export const to = JSON.parse(target);
export const TIMEOUT_MS = 60_000;

const find = createRequire(join(directory, "package.json"));
export const load = (name) => import(pathToFileURL(find.resolve(name)));

const emit = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);

export const shown = (result) => ({
  text: result.content.filter((block) => block.type === "text").map((block) => block.text).join("\n"),
  structured: result.structuredContent ?? null,
  meta: result._meta ?? null,
  is_error: result.isError ?? false,
});

// Answers the requests on stdin until it ends. `call(tool, arguments, signal)` gives a result or throws.
export async function converse(tools, call) {
  emit({ tools: tools.map((tool) => tool.name).sort() });
  const calls = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (request.cancel !== undefined) {
      calls.get(request.cancel).abort();
      continue;
    }
    const controller = new AbortController();
    calls.set(request.id, controller);
    call(request.tool, request.arguments, controller.signal).then(
      (result) => emit({ id: request.id, ...shown(result) }),
      (error) => {
        const cancelled = controller.signal.aborted ? { cancelled: true } : {};
        emit({ id: request.id, raised: error.message, raised_type: error.name, ...cancelled });
      },
    );
  }
}
