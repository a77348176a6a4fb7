import { computed, signal } from "@preact/signals";
import { HubApi, HubError, type ConnectOptions } from "@sessionhub/client";
import { retrying } from "./retrying.js";

// How the page reaches its hub, and as whom. The API key and the sessions'
// tokens live in sessionStorage: they outlast a reload, not the tab.

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

/** Tries a key; keeps it if the hub takes it. Rejects with the hub's answer otherwise. */
export async function signIn(key: string): Promise<void> {
  await new HubApi({ baseUrl, apiKey: key }).listSessions({ limit: 1 });
  sessionStorage.setItem(keyName, key);
  apiKey.value = key;
  signInNeeded.value = false;
}

export function signOut(): void {
  for (const name of Object.keys(sessionStorage)) {
    if (name.startsWith("sessionhub.")) sessionStorage.removeItem(name);
  }
  apiKey.value = "";
  signInNeeded.value = true;
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
