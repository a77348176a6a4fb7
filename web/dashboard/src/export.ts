import type { Session, SessionEvent } from "@sessionhub/client";
import { sessionName } from "./format.js";
import { api } from "./hub.js";
import type { Item } from "./transcript.js";

/** The transcript as Markdown, for people. */
export function toMarkdown(items: readonly Item[], session: Session | undefined): string {
  const parts = [`# ${session ? sessionName(session) : "Session"}`];
  if (session) parts.push(`${session.provider} in \`${session.workingDirectory}\`, ${session.createdAt}`);
  for (const item of items) {
    const part = itemMarkdown(item);
    if (part) parts.push(part);
  }
  return `${parts.join("\n\n")}\n`;
}

function itemMarkdown(item: Item): string | undefined {
  switch (item.kind) {
    case "message":
      return `## You, ${item.time}\n\n${item.text}`;
    case "answer":
      return item.text;
    case "thought":
      return quote(item.text);
    case "tool": {
      const { call } = item;
      const parts = [`**${call.kind || "tool"}**: ${oneLine(call.title || call.toolCallId)} (${item.abandoned ? "stopped" : (call.status ?? "pending")})`];
      for (const [name, value] of [["Input", call.input], ["Content", call.content], ["Output", call.output]] as const) {
        if (value !== undefined && value !== null) parts.push(`${name}:\n\n${fenced(value)}`);
      }
      return parts.join("\n\n");
    }
    case "plan":
      return item.entries.map((entry) => `- [${entry.status === "completed" ? "x" : " "}] ${oneLine(entry.content)}`).join("\n");
    case "approval": {
      const { resolved, request } = item;
      const chosen = request.options.find((option) => option.optionId === resolved?.optionId);
      return `**Approval**: ${oneLine(request.title)} — ${resolved ? (chosen?.name ?? resolved.outcome) : "pending"}`;
    }
    case "complete":
      return item.data.stopReason === "end_turn" ? undefined : `*${item.data.error?.message ?? item.data.stopReason}*`;
    case "note":
      return `*${oneLine(item.text)}*`;
    case "gap":
      return `*Events ${item.gap.fromSeq} to ${item.gap.toSeq} are missing (${item.gap.reason}).*`;
    case "updates":
      return undefined;
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

function quote(text: string): string {
  return text.replaceAll(/^/gm, "> ");
}

/** A fence that is longer than any in the text. */
function fenced(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}

/** The session and its whole log as the hub has it, for programs. */
export async function toJson(sessionId: string, token: string): Promise<string> {
  const hub = api.peek();
  const session = await hub.getSession(sessionId, { token });
  const events: SessionEvent[] = [];
  const gaps: unknown[] = [];
  let after: string | undefined;
  do {
    const page = await hub.history(sessionId, after === undefined ? {} : { after }, { token });
    events.push(...page.events);
    if (page.gap) gaps.push(page.gap);
    after = page.nextAfter;
  } while (after);
  return `${JSON.stringify({ session, ...(gaps.length > 0 ? { gaps } : {}), events }, null, 2)}\n`;
}

/** Hands a text to the user as a file. */
export function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function fileName(session: Session | undefined, sessionId: string, ending: string): string {
  const name = (session ? sessionName(session) : sessionId).replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replaceAll(/^[-.]+|-+$/g, "");
  return `${name.slice(0, 60) || "session"}.${ending}`;
}
