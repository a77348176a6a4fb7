/** Where the hub is, and as whom to speak to it. */
export interface Settings {
  hubUrl: string;
  apiKey: string;
}

const defaults: Settings = { hubUrl: "http://127.0.0.1:8080/", apiKey: "" };

/** The key stays on this machine: `local`, not `sync`. */
export async function readSettings(): Promise<Settings> {
  return (await chrome.storage.local.get({ ...defaults })) as unknown as Settings;
}

export async function writeSettings(settings: Settings): Promise<void> {
  await chrome.storage.local.set({ ...settings });
}

/** The session that the panel shows, or showed last: what is sent goes there. */
export async function readCurrent(): Promise<string | undefined> {
  return (await chrome.storage.session.get("current"))["current"] as string | undefined;
}

export async function writeCurrent(sessionId: string | undefined): Promise<void> {
  if (sessionId === undefined) await chrome.storage.session.remove("current");
  else await chrome.storage.session.set({ current: sessionId });
}

/** The pattern by which Chrome gives access to an address. It has no ports. */
export function originPattern(url: string): string {
  const { protocol, hostname } = new URL(url);
  return `${protocol}//${hostname}/*`;
}
