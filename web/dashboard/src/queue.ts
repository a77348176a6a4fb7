import type { MessageContent, SessionEvent } from "@sessionhub/client";

/** A message that waits. */
export interface Waiting {
  messageId: string;
  content: MessageContent;
  /** It runs after somebody has sent it. */
  held: boolean;
  /** It is on its way to the running turn, and cannot be changed now. */
  steering: boolean;
}

/**
 * MessageQueue knows the messages that wait, from the events of a log alone. The
 * server's protocol reference says how ("The queue").
 */
export class MessageQueue {
  #waits: string[] = [];
  #held: string[] = [];
  readonly #contents = new Map<string, MessageContent>();
  readonly #steering = new Set<string>();
  /** The agent that was started last takes messages in while it works. */
  steers = false;
  /** Grows with each change. */
  version = 0;

  apply(event: SessionEvent): void {
    switch (event.type) {
      case "message": {
        const { messageId, content, delivery, replay } = event.data;
        if (replay) return; // of the agent's history: it ran elsewhere
        this.#contents.set(messageId, content);
        this.#waits = [...this.#waits, messageId];
        if (delivery === "steer") this.#steering.add(messageId);
        break;
      }
      case "message_edited":
        if (!this.#contents.has(event.data.messageId)) return;
        this.#contents.set(event.data.messageId, event.data.content);
        break;
      case "queue":
        this.#waits = event.data.messageIds;
        this.#held = event.data.held;
        break;
      case "steered":
        if (event.data.outcome === "injected") this.#leave(event.data.messageId);
        else this.#steering.delete(event.data.messageId);
        break;
      case "status": {
        const { status, messageId } = event.data;
        if (messageId === undefined) return;
        if (status === "starting" || status === "running" || status === "requires_action") this.#runs(messageId);
        // One that was handed out and not begun is the first again.
        else if (status === "queued" && !this.#waits.includes(messageId)) this.#waits = [messageId, ...this.#waits];
        else return;
        break;
      }
      case "complete": {
        const { messageId } = event.data;
        // Of a turn: what it did not take in waits.
        if (!this.#waits.includes(messageId) && !this.#held.includes(messageId)) this.#steering.clear();
        this.#leave(messageId);
        this.#contents.delete(messageId);
        break;
      }
      case "agent_started":
        this.steers = event.data.steering;
        break;
      default:
        return;
    }
    this.version++;
  }

  /** The next one first; those that are held come last. */
  list(): Waiting[] {
    const entry = (held: boolean) => (messageId: string) => ({
      messageId,
      content: this.#contents.get(messageId) ?? "",
      held,
      steering: this.#steering.has(messageId),
    });
    return [...this.#waits.map(entry(false)), ...this.#held.map(entry(true))];
  }

  #runs(messageId: string): void {
    this.#waits = this.#waits.filter((id) => id !== messageId);
    this.#held = this.#held.filter((id) => id !== messageId);
  }

  #leave(messageId: string): void {
    this.#runs(messageId);
    this.#steering.delete(messageId);
  }
}

/** The same content with another text: pictures stay. */
export function withText(content: MessageContent, text: string): MessageContent {
  if (typeof content === "string") return text;
  const others = content.filter((block) => block.type !== "text");
  return text.trim() === "" ? others : [{ type: "text", text }, ...others];
}

/** The ids of one kind (held or not), with one message moved by one place. */
export function moved(list: readonly Waiting[], messageId: string, by: 1 | -1): string[] {
  const one = list.find((each) => each.messageId === messageId);
  const ids = list.filter((each) => each.held === one?.held && !each.steering).map((each) => each.messageId);
  const at = ids.indexOf(messageId);
  const to = at + by;
  if (at < 0 || to < 0 || to >= ids.length) return ids;
  [ids[at], ids[to]] = [ids[to]!, ids[at]!];
  return ids;
}
