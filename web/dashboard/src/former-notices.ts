import type { AgentUpdateData, NoticeData } from "@sessionhub/client";

const titles: Record<string, Pick<NoticeData, "severity" | "title">> = {
  history_lost: { severity: "warning", title: "The agent does not know what was said before" },
  processes_ended: { severity: "info", title: "What the agent had started was ended with it" },
  agent_exited: {
    severity: "warning",
    title: "The agent has ended by itself; the next message starts it again",
  },
};

/**
 * The notice that an `agent_update` stands for in a log of an earlier hub;
 * undefined: it is none. Today's hub logs a `notice`.
 */
export function noticeOf(update: AgentUpdateData): NoticeData | undefined {
  const known = Object.hasOwn(titles, update.kind) ? titles[update.kind] : undefined;
  const { message } = (update.raw ?? {}) as { message?: unknown };
  if (!known || typeof message !== "string" || message === "") return undefined;
  const cut = update.kind === "processes_ended" ? message.indexOf(": ") : -1;
  if (cut < 0) return { ...known, kind: update.kind, description: message };
  return { ...known, kind: update.kind, title: message.slice(0, cut), description: message.slice(cut + 2) };
}
