import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { HubApi, HubError } from "@sessionhub/client";
import "../../dashboard/src/style/base.css";
import "../../dashboard/src/style/layout.css";
import "./panel.css";
import { originPattern, readSettings, writeSettings } from "./settings.js";

function Options() {
  const [hubUrl, setHubUrl] = useState("");
  const [apiKey, setApiKey] = useState("");
  const [saying, setSaying] = useState<{ text: string; bad: boolean }>();
  useEffect(() => {
    void readSettings().then((settings) => {
      setHubUrl(settings.hubUrl);
      setApiKey(settings.apiKey);
    });
  }, []);

  const save = async (event: Event) => {
    event.preventDefault();
    setSaying(undefined);
    try {
      const url = new URL(hubUrl);
      if (!/^https?:$/.test(url.protocol)) throw new TypeError();
      // Has to be asked while the click is fresh, before anything is waited for.
      const granted = await chrome.permissions.request({ origins: [originPattern(url.href)] });
      if (!granted) return setSaying({ text: "Chrome was not allowed to reach the hub.", bad: true });
      await writeSettings({ hubUrl: url.href, apiKey: apiKey.trim() });
      await new HubApi({ baseUrl: url, apiKey: apiKey.trim() }).listSessions({ limit: 1 });
      setSaying({ text: "Saved, and the hub answers.", bad: false });
    } catch (error) {
      setSaying({ text: problemText(error), bad: true });
    }
  };

  return (
    <main class="form-page">
      <form class="card" onSubmit={save}>
        <h1>sessionhub</h1>
        <label class="field">
          <span>Hub</span>
          <input
            type="url"
            required
            value={hubUrl}
            onInput={(event) => setHubUrl(event.currentTarget.value)}
            data-testid="hub-url"
          />
        </label>
        <label class="field">
          <span>API key</span>
          <input
            type="password"
            autocomplete="off"
            value={apiKey}
            onInput={(event) => setApiKey(event.currentTarget.value)}
            placeholder="A hub in local mode needs none"
            data-testid="hub-key"
          />
          <small class="muted">It stays in this browser.</small>
        </label>
        <p class="muted">
          The hub has to allow this extension: add <code>{location.origin}</code> to its <code>--allowed-origins</code>.
        </p>
        {saying && (
          <p class={saying.bad ? "problem" : "muted"} role={saying.bad ? "alert" : "status"} data-testid="saying">
            {saying.text}
          </p>
        )}
        <div class="actions">
          <button type="submit" class="button primary" data-testid="save">
            Save
          </button>
        </div>
      </form>
    </main>
  );
}

function problemText(error: unknown): string {
  if (error instanceof TypeError) return "That is no address of a hub: it begins with http:// or https://.";
  if (!(error instanceof HubError)) return String(error);
  if (error.status === 401) return "Saved, but the hub does not know this key.";
  // A browser hides the answer of a hub that refuses the origin.
  return `Saved, but there was no answer to be had: is the hub running, and is ${location.origin} among its allowed origins?`;
}

render(<Options />, document.getElementById("app")!);
