import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { FormField, FormSchema } from "../src/elicitation.js";
import { fieldProblem, readForm } from "../src/form.js";

const golden = JSON.parse(
  readFileSync(new URL("../../../protocol/testdata/event_elicitation.json", import.meta.url), "utf8"),
) as { data: { requestedSchema: FormSchema } };

test("a form is read in its order, with its choices, bounds and defaults", () => {
  const fields = readForm(golden.data.requestedSchema);
  assert.deepEqual(
    fields.map(({ name, type, required }) => [name, type, required]),
    [
      ["where", "string", true],
      ["parts", "array", false],
      ["mail", "string", false],
      ["copies", "integer", true],
      ["share", "number", false],
      ["dry", "boolean", false],
    ],
  );
  assert.deepEqual(fields[0], {
    name: "where",
    type: "string",
    title: "Where",
    description: "The target",
    required: true,
    choices: [
      { value: "eu", title: "Europe", description: "Frankfurt" },
      { value: "us", title: "America" },
    ],
    default: "eu",
  });
  assert.deepEqual(
    fields[1]!.choices?.map(({ title }) => title),
    ["api", "web"],
  );
  assert.deepEqual([fields[1]!.minItems, fields[1]!.maxItems, fields[1]!.default], [1, 2, ["api"]]);
  assert.deepEqual([fields[2]!.format, fields[2]!.minLength, fields[3]!.maximum], ["email", 3, 9]);
});

test("null is absent, and a name is nothing but a name", () => {
  assert.deepEqual(readForm(undefined), []);
  assert.deepEqual(readForm({ properties: null, required: null }), []);
  const schema = JSON.parse(
    '{"properties":{"__proto__":{"type":"string","title":null,"description":null,"default":null,"enum":["a","b"],"enumNames":["A","B"]}}}',
  ) as FormSchema;
  assert.deepEqual(readForm(schema), [
    {
      name: "__proto__",
      type: "string",
      title: "__proto__",
      required: false,
      choices: [
        { value: "a", title: "A" },
        { value: "b", title: "B" },
      ],
    },
  ]);
});

test("what is wrong with a value is said in words", () => {
  const field = (rest: Partial<FormField>): FormField => ({
    name: "a",
    type: "string",
    title: "A",
    required: false,
    ...rest,
  });
  for (const [rest, value, problem] of [
    [{}, undefined, undefined],
    [{ required: true }, undefined, "This is needed."],
    [{ required: true }, "", undefined],
    [{ minLength: 2 }, "é", "At least 2 characters."],
    [{ maxLength: 1 }, "😀", undefined],
    [{ maxLength: 1 }, "ab", "At most 1 character, not 2."],
    [{ type: "integer" }, 1.5, "This must be a whole number."],
    [{ type: "number" }, Number("x"), "This is no number."],
    [{ type: "number", minimum: 1 }, 0, "At least 1."],
    [{ type: "number", maximum: 1 }, 2, "At most 1."],
    [{ type: "array", minItems: 1 }, [], "Choose at least 1."],
    [{ type: "array", maxItems: 1 }, ["a", "b"], "Choose at most 1."],
    [{ type: "boolean" }, false, undefined],
    [{ choices: [], maxLength: 1 }, "long", undefined],
  ] as [Partial<FormField>, FormField["default"], string | undefined][]) {
    assert.equal(fieldProblem(field(rest), value), problem, JSON.stringify([rest, value]));
  }
});
