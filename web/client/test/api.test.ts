import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";

import { changes, fileContent, fileDiff, listFiles, searchFiles } from "../src/files.js";
import { HubApi, type HubError } from "../src/index.js";

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
}

const seen: Seen[] = [];
let answer: { status: number; body: unknown; headers?: Record<string, string> };
const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, body });
  response.writeHead(answer.status, answer.headers);
  response.end(answer.status === 204 ? undefined : JSON.stringify(answer.body));
});
let baseUrl: string;

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hub`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen.length = 0;
  answer = { status: 200, body: {} };
});

test("routes keep the path that the hub lives under, and ids are escaped", async () => {
  const api = new HubApi({ baseUrl });
  await api.getSession("a/b");
  assert.equal(seen[0]?.url, "/hub/api/sessions/a%2Fb");
  assert.equal(api.websocketUrl("s1"), `${baseUrl.replace("http", "ws")}/api/sessions/s1/ws`);
});

test("the whole of a question has a route of its own, and its ids are escaped", async () => {
  const api = new HubApi({ baseUrl });
  answer.body = { interactionId: "a/1", input: { command: "ls" }, content: [], options: [], fullBytes: 90 };
  const whole = await api.approvalContent("s 1", "a/1", { token: "tok" });
  assert.equal(seen[0]?.method, "GET");
  assert.equal(seen[0]?.url, "/hub/api/sessions/s%201/approvals/a%2F1/content");
  assert.equal(seen[0]?.headers["authorization"], "Bearer tok");
  assert.deepEqual(whole.input, { command: "ls" });
});

test("the messages that wait can be read", async () => {
  const api = new HubApi({ baseUrl });
  answer.body = { messages: [{ messageId: "m2", content: "later", userId: "u", held: true }] };
  const waiting = await api.queue("s 1", { token: "tok" });
  assert.equal(`${seen[0]?.method} ${seen[0]?.url}`, "GET /hub/api/sessions/s%201/queue");
  assert.deepEqual(waiting, [{ messageId: "m2", content: "later", userId: "u", held: true }]);
});

test("the agents come with the one to preselect, and alone as before", async () => {
  const api = new HubApi({ baseUrl });
  const codex = { name: "codex", available: true, workers: 1, title: "Codex", login: "found" as const };
  answer.body = { providers: [codex], default: "codex" };
  assert.deepEqual(await api.providerList(), { providers: [codex], default: "codex" });
  assert.deepEqual(await api.providers(), [codex]);
  assert.deepEqual(
    seen.map(({ url }) => url),
    ["/hub/api/providers", "/hub/api/providers"],
  );
});

test("a file goes out as it is, under its own type and name, and comes back as it is", async () => {
  const api = new HubApi({ baseUrl });
  answer.body = { attachmentId: "f1", name: "a b.txt", mediaType: "text/plain", size: 4, uri: "/u" };
  const added = await api.addAttachment("s 1", new File(["text"], "a b.txt", { type: "text/plain" }), { token: "tok" });
  assert.equal(added.attachmentId, "f1");
  assert.equal(seen[0]?.url, "/hub/api/sessions/s%201/attachments?name=a+b.txt");
  assert.equal(seen[0]?.headers["content-type"], "text/plain");
  assert.equal(seen[0]?.headers["authorization"], "Bearer tok");
  assert.equal(seen[0]?.body, "text");
  await api.addAttachment("s1", new Blob(["x"]), { name: "n" });
  assert.equal(seen[1]?.url, "/hub/api/sessions/s1/attachments?name=n");
  assert.equal(seen[1]?.headers["content-type"], "application/octet-stream");
  const read = await api.attachment("s1", "f/1");
  assert.equal(seen[2]?.url, "/hub/api/sessions/s1/attachments/f%2F1");
  assert.equal(await read.text(), JSON.stringify(answer.body));
});

test("a transcript comes as it is, and one that is broken off is refused", async () => {
  const api = new HubApi({ baseUrl });
  answer.body = { entries: [] };
  const whole = await api.transcript("s 1", "json", { token: "tok" });
  assert.equal(seen[0]?.url, "/hub/api/sessions/s%201/transcript?format=json");
  assert.equal(seen[0]?.headers["authorization"], "Bearer tok");
  assert.equal(await whole.text(), '{"entries":[]}');
  const cut = createServer((_, response) => {
    response.write("# Half", () => response.destroy());
  });
  await new Promise<void>((resolve) => cut.listen(0, "127.0.0.1", resolve));
  const other = new HubApi({ baseUrl: `http://127.0.0.1:${(cut.address() as AddressInfo).port}` });
  await assert.rejects(other.transcript("s1", "markdown"), (error: HubError) => error.code === "unreachable");
  cut.close();
});

test("a token goes before the API key, and bodies are declared as JSON", async () => {
  const api = new HubApi({ baseUrl, apiKey: "key" });
  await api.createSession({ title: "t" }, { idempotencyKey: "once" });
  await api.mintToken("s1", { scope: "read" }, { token: "tok" });
  assert.equal(seen[0]?.headers["x-api-key"], "key");
  assert.equal(seen[0]?.headers["idempotency-key"], "once");
  assert.equal(seen[0]?.headers["content-type"], "application/json");
  assert.deepEqual(JSON.parse(seen[0]?.body ?? ""), { title: "t" });
  assert.equal(seen[1]?.headers["x-api-key"], undefined);
  assert.equal(seen[1]?.headers["authorization"], "Bearer tok");
});

test("queries leave out what is not given", async () => {
  const api = new HubApi({ baseUrl });
  answer.body = { events: [] };
  await api.history("s1", { after: "e-3" });
  await api.listSessions();
  assert.deepEqual(
    seen.map((request) => request.url),
    ["/hub/api/sessions/s1/history?after=e-3", "/hub/api/sessions"],
  );
});

test("DELETE takes a 204 without a body", async () => {
  answer.status = 204;
  assert.equal(await new HubApi({ baseUrl }).deleteSession("s1"), undefined);
});

test("a problem becomes a HubError with code, status, retry and fields", async () => {
  answer = {
    status: 429,
    body: { code: "session_limit", detail: "100 sessions", status: 429 },
    headers: { "Retry-After": "7" },
  };
  await assert.rejects(new HubApi({ baseUrl }).createSession({}), (error: HubError) => {
    assert.deepEqual(
      [error.code, error.status, error.retryAfterSeconds, error.message],
      ["session_limit", 429, 7, "100 sessions"],
    );
    return true;
  });
});

test("no answer is the code unreachable, with the cause kept", async () => {
  const api = new HubApi({ baseUrl, fetch: async () => Promise.reject(new TypeError("refused")) });
  await assert.rejects(api.providers(), (error: HubError) => {
    assert.equal(error.code, "unreachable");
    assert.equal((error.cause as Error).message, "refused");
    return true;
  });
});

test("files and changes are read below their session, as whoever asks", async () => {
  const api = new HubApi({ baseUrl, apiKey: "key" });
  answer.body = { files: [{ path: "a b", status: "added" }] };
  assert.equal((await changes(api, "s/1")).files[0]!.path, "a b");
  await fileDiff(api, "s/1", { path: "a b", oldPath: undefined, offset: 5 }, { token: "t" });
  await listFiles(api, "s/1", { path: "src", after: "x" });
  await searchFiles(api, "s/1", { query: "a&b" });
  assert.equal((await fileContent(api, "s/1", "a#b")).status, 200);
  assert.deepEqual(
    seen.map(({ url }) => url),
    [
      "/hub/api/sessions/s%2F1/changes",
      "/hub/api/sessions/s%2F1/changes/diff?path=a+b&offset=5",
      "/hub/api/sessions/s%2F1/files?path=src&after=x",
      "/hub/api/sessions/s%2F1/files/search?query=a%26b",
      "/hub/api/sessions/s%2F1/files/content?path=a%23b",
    ],
  );
  assert.deepEqual(
    seen.slice(0, 2).map(({ headers }) => headers["x-api-key"] ?? headers.authorization),
    ["key", "Bearer t"],
  );
  answer = { status: 503, body: { code: "no_worker", detail: "none" }, headers: { "Retry-After": "2" } };
  await assert.rejects(changes(api, "s"), (error: HubError) => error.code === "no_worker");
});
