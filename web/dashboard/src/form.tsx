import type { FormContent, FormField, FormValue } from "@sessionhub/client";
import { fieldProblem } from "@sessionhub/client/form";
import { Exact } from "./exact.js";
import { exactLine } from "./text.js";
import type { Entry } from "./transcript.js";

// A form of an agent's, field by field. Entries are what stands in the inputs; values
// are what the agent gets.

/** More choices than these go into a list that opens. */
const maxRadios = 6;

/** What stands in the fields at first: what was filled in before, or else the defaults. */
export function entriesOf(fields: readonly FormField[], draft: ReadonlyMap<string, Entry>): Record<string, Entry> {
  return Object.fromEntries(fields.map((field) => [field.name, draft.get(field.name) ?? defaultEntry(field)]));
}

function defaultEntry({ type, default: value }: FormField): Entry {
  if (type === "array") return Array.isArray(value) ? value : [];
  return value === undefined ? "" : String(value);
}

/** The answer that the entries make, or what is wrong with them, by field. */
export function formContent(
  fields: readonly FormField[],
  entries: Record<string, Entry>,
): { content: FormContent; problems: Record<string, string> } {
  const values: [string, FormValue][] = [];
  const problems: [string, string][] = [];
  for (const field of fields) {
    const value = entryValue(field, entries[field.name] ?? "");
    const problem = fieldProblem(field, value);
    if (problem !== undefined) problems.push([field.name, problem]);
    else if (value !== undefined) values.push([field.name, value]);
  }
  return { content: Object.fromEntries(values), problems: Object.fromEntries(problems) };
}

/** Undefined: nothing was filled in. */
function entryValue(field: FormField, entry: Entry): FormValue | undefined {
  if (typeof entry !== "string") {
    // None of an optional list is no answer, unless none was the question.
    return entry.length === 0 && !field.required ? undefined : [...entry];
  }
  if (entry === "") return undefined;
  switch (field.type) {
    case "boolean":
      return entry === "true";
    case "number":
    case "integer":
      return entry.trim() === "" ? undefined : Number(entry);
    default:
      return entry;
  }
}

/** A value in words: choices by their titles. */
export function valueText(field: FormField, value: FormValue): string {
  const title = (of: string) => field.choices?.find((choice) => choice.value === of)?.title ?? of;
  if (Array.isArray(value)) return value.map(title).join(", ") || "None";
  if (typeof value === "boolean") return value ? "Yes" : "No";
  return typeof value === "string" ? title(value) : String(value);
}

interface FieldProps {
  /** Unique in the page. */
  id: string;
  index: number;
  field: FormField;
  entry: Entry;
  disabled: boolean;
  problem: string | undefined;
  onEntry(entry: Entry): void;
}

/** One field with its label, its description and what is wrong with it. */
export function FieldView(props: FieldProps) {
  const { id, index, field, problem } = props;
  const described = [field.description && `${id}-about`, problem && `${id}-problem`].filter(Boolean).join(" ");
  const choices = choicesOf(field);
  const group = choices && (field.type === "array" || choices.length <= maxRadios);
  const label = (
    <>
      <Exact text={field.title} oneLine />
      {field.required ? <span class="needed"> (needed)</span> : <span class="muted"> (optional)</span>}
    </>
  );
  const about = field.description && (
    <p class="muted field-about" id={`${id}-about`}>
      <Exact text={field.description} />
    </p>
  );
  const wrong = problem && (
    <p class="problem field-problem" id={`${id}-problem`} role="alert">
      {problem}
    </p>
  );
  if (group) {
    return (
      <fieldset
        class="field"
        data-field={index}
        data-testid="form-field"
        data-name={field.name}
        aria-describedby={described || undefined}
        aria-invalid={problem !== undefined}
        disabled={props.disabled}
      >
        <legend>{label}</legend>
        {about}
        <Choices {...props} choices={choices} />
        {wrong}
      </fieldset>
    );
  }
  return (
    <div class="field" data-field={index} data-testid="form-field" data-name={field.name}>
      <label for={id}>{label}</label>
      {about}
      <Input {...props} choices={choices} described={described} />
      {wrong}
    </div>
  );
}

interface Choice {
  value: string;
  title: string;
  description?: string;
}

/** What can be chosen; of an optional single choice also nothing. */
function choicesOf(field: FormField): Choice[] | undefined {
  const choices: Choice[] | undefined =
    field.type === "boolean"
      ? [
          { value: "true", title: "Yes" },
          { value: "false", title: "No" },
        ]
      : field.choices;
  if (!choices || field.type === "array" || field.required) return choices;
  return [...choices, { value: "", title: "No answer" }];
}

function Choices({ id, field, entry, onEntry, choices }: FieldProps & { choices: readonly Choice[] }) {
  const many = field.type === "array";
  const chosen = (value: string) => (typeof entry === "string" ? entry === value : entry.includes(value));
  return (
    <>
      {choices.map(({ value, title, description }, index) => (
        <label key={value} class="choice">
          <input
            type={many ? "checkbox" : "radio"}
            name={id}
            checked={chosen(value)}
            data-value={value}
            aria-describedby={description ? `${id}-${index}` : undefined}
            onChange={(event) => {
              if (!many) return onEntry(value);
              const others = (entry as readonly string[]).filter((other) => other !== value);
              // In the order of the choices, whatever the order of the clicks.
              const now = event.currentTarget.checked ? [...others, value] : others;
              onEntry(choices.map((choice) => choice.value).filter((each) => now.includes(each)));
            }}
          />
          <span>
            <Exact text={title} oneLine />
            {description && (
              <span class="muted choice-about" id={`${id}-${index}`}>
                <Exact text={description} oneLine />
              </span>
            )}
          </span>
        </label>
      ))}
    </>
  );
}

const inputTypes: Record<string, "email" | "url" | "date"> = { email: "email", uri: "url", date: "date" };
/** A text that may be longer than this, or whose length is not bounded, has lines. */
const lineLength = 120;

function Input({
  id,
  field,
  entry,
  disabled,
  problem,
  onEntry,
  choices,
  described,
}: FieldProps & { choices: readonly Choice[] | undefined; described: string }) {
  const shared = {
    id,
    disabled,
    value: entry as string,
    required: field.required,
    "aria-invalid": problem !== undefined,
    "aria-describedby": described || undefined,
  };
  if (choices) {
    return (
      <select {...shared} onChange={(event) => onEntry(event.currentTarget.value)}>
        {field.required && entry === "" && <option value="">Choose…</option>}
        {choices.map(({ value, title }) => (
          <option key={value} value={value}>
            {exactLine(title)}
          </option>
        ))}
      </select>
    );
  }
  const number = field.type === "number" || field.type === "integer";
  if (!number && !field.format && (field.maxLength ?? Infinity) > lineLength) {
    return <textarea {...shared} rows={2} onInput={(event) => onEntry(event.currentTarget.value)} />;
  }
  return (
    <input
      {...shared}
      type={((!number && inputTypes[field.format ?? ""]) || "text") as "text"} // its types differ by it
      inputMode={field.type === "integer" ? "numeric" : number ? "decimal" : undefined}
      autocomplete="off"
      placeholder={field.format === "date-time" ? "2026-01-31T12:00:00Z" : undefined}
      onInput={(event) => onEntry(event.currentTarget.value)}
    />
  );
}
