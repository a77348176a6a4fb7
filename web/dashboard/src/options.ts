import type { ConfigOption, ConfigOptionsData, ConfigValue, Session } from "@sessionhub/client";
import { line } from "./text.js";

/** What a change of options says to people: one sentence for each option. */
export function optionChanges({ configOptions, changed = [], by }: ConfigOptionsData): string[] {
  return changed.flatMap((id) => {
    const option = configOptions.find((each) => each.id === id);
    if (!option) return [];
    const offer = option.options?.find(({ value }) => value === option.currentValue);
    const unasked = offer?.asks === false ? " (does not ask)" : "";
    const who = by === undefined ? "" : by === "agent" ? ", set by the agent" : `, set by ${line(by)}`;
    return [`${line(option.name)} is ${line(valueName(option))}${unasked}${who}.`];
  });
}

/** The present value of an option, as people call it. */
export function valueName(option: ConfigOption): string {
  const { currentValue } = option;
  if (typeof currentValue === "boolean") return currentValue ? "on" : "off";
  return option.options?.find(({ value }) => value === currentValue)?.name ?? currentValue;
}

/** What a value is called in a list: with what it means for the agent's questions. */
export function offerName({ name, asks, allowed }: ConfigValue): string {
  if (allowed === false) return `${line(name)} (not allowed here)`;
  return asks === false ? `${line(name)} (does not ask)` : line(name);
}

/** The mode in which the agent does not ask, if it is in one. The stream knows it first. */
export function unaskedMode(
  told: ConfigOptionsData | undefined,
  session: Pick<Session, "mode" | "asking"> | undefined,
): string | undefined {
  const from = told ?? session;
  return from?.asking === false ? (from.mode ?? "") : undefined;
}
