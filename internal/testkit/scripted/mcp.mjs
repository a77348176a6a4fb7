// An MCP server over stdio with one tool, echo. It says what it was told, and whether it has
// the variable MCP_TOKEN.
import { createInterface } from "node:readline";

const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\n");

const echo = {
  name: "echo",
  description: "Says what it is told.",
  inputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  switch (method) {
    case "initialize":
      send({
        id,
        result: {
          protocolVersion: params.protocolVersion,
          capabilities: { tools: {} },
          serverInfo: { name: "echo", version: "1" },
        },
      });
      return;
    case "ping":
      send({ id, result: {} });
      return;
    case "tools/list":
      send({ id, result: { tools: [echo] } });
      return;
    case "tools/call": {
      const token = process.env.MCP_TOKEN ? "with a token" : "without a token";
      send({ id, result: { content: [{ type: "text", text: `echoed ${params.arguments.text} ${token}` }] } });
      return;
    }
    default:
      send({ id, error: { code: -32601, message: "Method not found" } });
  }
});
