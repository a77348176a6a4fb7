// The questions that an agent asks people (ACP, "Elicitation"), and their forms.

export type AnswerAction = "accept" | "decline" | "cancel";

/** What a user has said in one field. */
export type FormValue = string | number | boolean | string[];

export type FormContent = Record<string, FormValue>;

export interface ElicitationData {
  /** Absent outside of a turn. */
  messageId?: string;
  interactionId: string;
  toolCallId?: string;
  /** `form` asks for values by `requestedSchema`; `url` is a page that the user is asked to open. */
  mode: "form" | "url";
  message: string;
  requestedSchema?: FormSchema;
  /** http or https. Show it whole, and open it only when the user says so. */
  url?: string;
  /**
   * Only that it was asked is here. Read the whole by `elicitation`; it is in no log. It ends
   * as other questions do, and its answer is not shown.
   */
  private?: boolean;
  expiresAt: string;
}

export interface ElicitationResolvedData {
  interactionId: string;
  outcome: "accepted" | "declined" | "cancelled" | "expired";
  /** The answer to a form. */
  content?: FormContent;
  /** The user who answered, or `agent`: the page of a url was completed. */
  by?: string;
  detail?: string;
}

/** The subset of JSON Schema that a form has. The hub has checked it. `null` means absent. */
export interface FormSchema {
  type?: "object";
  title?: string | null;
  description?: string | null;
  properties?: Record<string, FormProperty> | null;
  required?: string[] | null;
  [keyword: string]: unknown;
}

export interface FormProperty {
  type: FormField["type"];
  title?: string | null;
  description?: string | null;
  default?: FormValue | null;
  [keyword: string]: unknown;
}

export interface FormChoice {
  value: string;
  title: string;
  description?: string;
}

/** One field of a form, made easy to show. Lengths count characters (code points). */
export interface FormField {
  name: string;
  type: "string" | "number" | "integer" | "boolean" | "array";
  /** The field's name for people. */
  title: string;
  description?: string;
  required: boolean;
  /** Of a string that is one of them, and of an array. */
  choices?: FormChoice[];
  minLength?: number;
  maxLength?: number;
  format?: string;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  default?: FormValue;
}
