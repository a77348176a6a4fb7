// Starts the built binary and a browser for the end-to-end tests.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const startMs = 20_000;
const stopMs = 15_000;

/**
 * A hub of its own, on a free port unless `listen` names one, with the demo agent and a fresh workspace, or the one that
 * `workspace` names. `stop` ends it and removes the workspace if it is its own; it rejects when the hub does not end by
 * itself. Agents of this machine are not offered unless `env` says so.
 */
export async function startHub({ env = {}, args = [], listen = "127.0.0.1:0", workspace: given } = {}) {
  const binary = process.env.SESSIONHUB_BIN;
  if (!binary) throw new Error("SESSIONHUB_BIN has to name the built sessionhub binary");
  const workspace = given ?? (await mkdtemp(join(tmpdir(), "sessionhub-e2e-")));
  const tidy = async () => {
    await rm(`${workspace}.trees`, { recursive: true, force: true });
    if (!given) await rm(workspace, { recursive: true, force: true });
  };
  const child = spawn(
    binary,
    [
      "serve",
      "--listen",
      listen,
      "--admin-listen",
      "127.0.0.1:0",
      "--workspace-root",
      workspace,
      "--worktrees",
      `${workspace}.trees`,
      ...args,
    ],
    { env: { ...process.env, SESSIONHUB_DISCOVER_AGENTS: "false", ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  // A test that failed in the middle leaves its hub.
  const leave = () => child.kill("SIGKILL");
  process.once("exit", leave);
  child.once("exit", () => process.off("exit", leave));
  let output = "";
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no address within ${startMs} ms:\n${output}`)), startMs);
    const read = (bytes) => {
      output += bytes;
      // The API's listener is announced first.
      const urls = [...output.matchAll(/http:\/\/127\.0\.0\.1:\d+/g)].map(([match]) => match);
      if (urls.length === 0) return;
      clearTimeout(timer);
      resolve(urls[0]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    void ended.then((code) => reject(new Error(`the hub ended (${code}) before it listened:\n${output}`)));
  });
  return {
    url,
    workspace,
    /** Ends it as a crash does. */
    async kill() {
      child.kill("SIGKILL");
      await ended;
      await tidy();
    },
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
      const code = await ended;
      clearTimeout(timer);
      await tidy();
      if (code !== 0) throw new Error(`the hub ended with ${code}:\n${output.slice(-4000)}`);
    },
  };
}

export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
