import { computed, signal } from "@preact/signals";
import { HubApi, HubError, type ConnectOptions, type SignInList } from "@sessionhub/client";
import { browserName } from "./sign-in-ticket.js";
import { retrying } from "./retrying.js";

// How the page reaches its hub, and as whom. The API key and the sessions'
// tokens live in sessionStorage: they outlast a reload, not the tab. A browser
// that is signed in has a cookie, which no script sees.

/** How long a token is asked for before the page says that it got none. Milliseconds. */
const mintRetryMs = 3_000;
const keyName = "sessionhub.apiKey";
const tokenName = (sessionId: string) => `sessionhub.token.${sessionId}`;

/** The hub is where the page came from, unless `setHub` says otherwise. */
export let baseUrl = new URL(".", document.baseURI);
export let transport: ConnectOptions["transport"] = "auto";

const apiKey = signal(sessionStorage.getItem(keyName) ?? "");

/** For a page that comes from elsewhere, such as an extension's. To be called before anything is shown. */
export function setHub(hub: { baseUrl: URL; apiKey: string; transport: ConnectOptions["transport"] }): void {
  baseUrl = hub.baseUrl;
  transport = hub.transport;
  if (hub.apiKey !== "") apiKey.value = hub.apiKey;
}

/** The hub wants a key, or does not want this one. */
export const signInNeeded = signal(false);

export const api = computed(() => new HubApi({ baseUrl, apiKey: apiKey.value || undefined }));

export function hasKey(): boolean {
  return apiKey.peek() !== "";
}

/** Who the page is, and which browsers are signed in. Undefined: not known yet, or the hub is of an earlier version. */
export const account = signal<SignInList | undefined>(undefined);

/** Reads `account`. A hub that wants a key has said so elsewhere. */
export async function readAccount(): Promise<void> {
  try {
    account.value = await api.peek().signIns();
  } catch {
    account.value = undefined;
  }
}

/** The hub takes a cookie from its own pages only, and not from an extension's. */
export function canStay(): boolean {
  return baseUrl.origin === location.origin;
}

/** This browser stays signed in. */
export const staysSignedIn = computed(
  () => apiKey.value === "" && account.value?.signIns.some((one) => one.current) === true,
);

/**
 * Tries a key; keeps it in this tab if the hub takes it, or has the browser stay signed in. Rejects with the hub's
 * answer otherwise.
 */
export async function signIn(key: string, stay: boolean): Promise<void> {
  const hub = new HubApi({ baseUrl, apiKey: key });
  if (stay) {
    await hub.signIn({ label: browserName(navigator.userAgent) });
    forgetKeys();
  } else {
    await hub.listSessions({ limit: 1 });
    sessionStorage.setItem(keyName, key);
    apiKey.value = key;
  }
  signInNeeded.value = false;
  void readAccount();
}

/** Signs this browser in by a ticket. Rejects with the hub's answer. */
export async function redeem(ticket: string): Promise<void> {
  await new HubApi({ baseUrl }).signIn({ ticket, label: browserName(navigator.userAgent) });
  forgetKeys();
  signInNeeded.value = false;
  await readAccount();
}

/** Rejects if the hub could not be told. */
export async function signOut(): Promise<void> {
  if (staysSignedIn.peek()) await api.peek().signOut();
  forgetKeys();
  account.value = undefined;
  signInNeeded.value = true;
}

function forgetKeys(): void {
  for (const name of Object.keys(sessionStorage)) {
    if (name.startsWith("sessionhub.")) sessionStorage.removeItem(name);
  }
  apiKey.value = "";
}

/** Runs a call as the page's user; a 401 brings up the sign-in box. */
export async function asUser<T>(call: (hub: HubApi) => Promise<T>): Promise<T> {
  try {
    return await call(api.peek());
  } catch (error) {
    if (error instanceof HubError && error.status === 401) signInNeeded.value = true;
    throw error;
  }
}

export function keepToken(sessionId: string, token: string): void {
  sessionStorage.setItem(tokenName(sessionId), token);
}

export function forgetToken(sessionId: string): void {
  sessionStorage.removeItem(tokenName(sessionId));
}

const sharedName = (sessionId: string) => `sessionhub.shared.${sessionId}`;

/** A shared link's token lives apart: it must not be taken for the user's own, nor the other way round. */
export function keepSharedToken(sessionId: string, token: string): void {
  sessionStorage.setItem(sharedName(sessionId), token);
}

export function sharedToken(sessionId: string): string | undefined {
  return sessionStorage.getItem(sharedName(sessionId)) ?? undefined;
}

/** The session's token: the one at hand, or a new one. */
export async function tokenFor(sessionId: string): Promise<string> {
  return sessionStorage.getItem(tokenName(sessionId)) ?? freshToken(sessionId);
}

export async function freshToken(sessionId: string): Promise<string> {
  forgetToken(sessionId);
  const { token } = await retrying(() => asUser((hub) => hub.mintToken(sessionId)), mintRetryMs);
  keepToken(sessionId, token);
  return token;
}
