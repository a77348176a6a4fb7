import { signal } from "@preact/signals";
import type { AgentCommand, Cost, SessionEvent } from "@sessionhub/client";

/** How full the agent's context is; undefined where nobody has told. */
export interface Context {
  used: number | undefined;
  size: number | undefined;
}

/**
 * What the agent and people have told of the session, as its log says: nothing
 * of the conversation. Events are taken as they come, and shown by `flush`.
 */
export class Told {
  /** The title that the log told last; undefined: the log has none, and the session's own counts. */
  readonly title = signal<string | undefined>(undefined);
  readonly commands = signal<readonly AgentCommand[]>([]);
  readonly context = signal<Context>({ used: undefined, size: undefined });

  #title: string | undefined;
  #commands: readonly AgentCommand[] = [];
  #context: Context = { used: undefined, size: undefined };

  /** True: the event was one of these, and has no place in the transcript. */
  take(event: SessionEvent): boolean {
    switch (event.type) {
      case "session_info":
        this.#title = event.data.title;
        return true;
      case "commands":
        this.#commands = event.data.availableCommands;
        return true;
      case "usage": {
        const { used, size } = event.data;
        this.#context = { used: used ?? this.#context.used, size: size ?? this.#context.size };
        return true;
      }
      default:
        return false;
    }
  }

  flush(): void {
    this.title.value = this.#title;
    this.commands.value = this.#commands;
    this.context.value = this.#context;
  }
}

const counts = new Intl.NumberFormat();
const amounts = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
/** Of less than one: two places would hide it. */
const smallAmounts = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

/** Such as "27 % of context"; empty where nobody has told. */
export function contextText({ used, size }: Context): string {
  if (used === undefined) return "";
  if (!size) return `${counts.format(used)} tokens of context`;
  return `${Math.floor((100 * used) / size)} % of context`;
}

export function costText(cost: Cost | undefined): string {
  return cost ? `${(Math.abs(cost.amount) < 1 ? smallAmounts : amounts).format(cost.amount)} ${cost.currency}` : "";
}

/** What a turn took, such as "1,234 tokens, 0.08 USD"; empty where the agent did not tell. */
export function turnUsageText(usage: unknown, cost: Cost | undefined): string {
  const total = (usage as { totalTokens?: unknown } | null | undefined)?.totalTokens;
  const tokens = typeof total === "number" && total > 0 ? `${counts.format(total)} tokens` : "";
  return [tokens, costText(cost)].filter(Boolean).join(", ");
}
