// A scripted model (internal/testkit/fakemodel) in place of an agent's vendor's.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { createInterface } from "node:readline";
import { join } from "node:path";

/**
 * A model for one agent, with the environment that leads the agent there and a home below `folder`. `requests` gives the
 * bodies of the newest requests that it got, oldest first.
 */
export async function startModel(name, folder) {
  const program = process.env.SESSIONHUB_TEST_FAKEMODEL;
  assert.ok(
    program,
    "SESSIONHUB_TEST_FAKEMODEL has to name the scripted model: make test-browser builds it and sets it",
  );
  const home = await mkdtemp(join(folder, `${name}-`));
  const child = spawn(program, [name, home], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the model for ${name} has ended`);
    return JSON.parse(value);
  };
  return {
    env: await answer(),
    async requests() {
      child.stdin.write("requests\n");
      return await answer();
    },
    async stop() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}
