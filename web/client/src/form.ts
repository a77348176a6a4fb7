import type { FormChoice, FormField, FormSchema, FormValue } from "./elicitation.js";

// Beside the client, for those who show an agent's forms.

/** The fields of a form, in its order. */
export function readForm(schema: FormSchema | undefined): FormField[] {
  const required = new Set(schema?.required ?? []);
  return Object.entries(schema?.properties ?? {}).map(([name, property]) => {
    const field: FormField = { name, type: property.type, title: property.title || name, required: required.has(name) };
    const items = (property["items"] ?? {}) as Record<string, unknown>;
    const choices = choicesOf(property, "oneOf") ?? choicesOf(items, "anyOf");
    if (choices) field.choices = choices;
    if (property.description) field.description = property.description;
    if (typeof property["format"] === "string") field.format = property["format"];
    if (property.default !== undefined && property.default !== null) field.default = property.default;
    for (const bound of ["minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"] as const) {
      const value = property[bound];
      if (typeof value === "number") field[bound] = value;
    }
    return field;
  });
}

function choicesOf(from: Record<string, unknown>, titled: "oneOf" | "anyOf"): FormChoice[] | undefined {
  const list = from[titled] as
    | { const: string; title?: string | null; description?: string | null }[]
    | null
    | undefined;
  if (list) {
    return list.map(({ const: value, title, description }) => ({
      value,
      title: title || value,
      ...(description ? { description } : {}),
    }));
  }
  const names = from["enumNames"] as string[] | undefined;
  const values = from["enum"] as string[] | null | undefined;
  return values?.map((value, index) => ({ value, title: (names?.length === values.length && names[index]) || value }));
}

/**
 * What is wrong with a value of a field; undefined: nothing. `value` is undefined
 * where the user has filled nothing in. Formats and patterns are the hub's to
 * check: its `invalid_answer` names the `field`.
 */
export function fieldProblem(field: FormField, value: FormValue | undefined): string | undefined {
  if (value === undefined) return field.required ? "This is needed." : undefined;
  if (typeof value === "string" && !field.choices) {
    const length = [...value].length;
    if (length < (field.minLength ?? 0)) return `At least ${count(field.minLength!, "character")}.`;
    if (length > (field.maxLength ?? Infinity))
      return `At most ${count(field.maxLength!, "character")}, not ${length}.`;
  }
  if (typeof value === "number") {
    if (!Number.isFinite(value)) return "This is no number.";
    if (field.type === "integer" && !Number.isInteger(value)) return "This must be a whole number.";
    if (value < (field.minimum ?? -Infinity)) return `At least ${field.minimum}.`;
    if (value > (field.maximum ?? Infinity)) return `At most ${field.maximum}.`;
  }
  if (Array.isArray(value)) {
    if (value.length < (field.minItems ?? 0)) return `Choose at least ${field.minItems}.`;
    if (value.length > (field.maxItems ?? Infinity)) return `Choose at most ${field.maxItems}.`;
  }
  return undefined;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
