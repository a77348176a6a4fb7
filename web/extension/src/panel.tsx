import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { HubApi, uuid } from "@sessionhub/client";
import { App } from "../../dashboard/src/app.js";
import { errorText } from "../../dashboard/src/format.js";
import { setHub } from "../../dashboard/src/hub.js";
import { retrying } from "../../dashboard/src/retrying.js";
import { route } from "../../dashboard/src/route.js";
import "../../dashboard/src/style/base.css";
import "../../dashboard/src/style/layout.css";
import "../../dashboard/src/style/session.css";
import "../../dashboard/src/style/queue.css";
import "../../dashboard/src/style/items.css";
import "../../dashboard/src/style/approval.css";
import "../../dashboard/src/style/markdown.css";
import "../../dashboard/src/style/operations.css";
import "./panel.css";
import { capture, captureMessage } from "./capture.js";
import { originPattern, readCurrent, readSettings, writeCurrent, type Settings } from "./settings.js";

/** How long a busy hub is asked again before the panel says so. Milliseconds. */
const sendRetryMs = 10_000;

/** The dashboard, and what only a panel beside a page can do. */
function Panel({ settings }: { settings: Settings }) {
  const at = route.value;
  const sessionId = at.page === "session" ? at.sessionId : undefined;
  useEffect(() => {
    // Back at the list the last one stays the one that pages are sent to.
    if (sessionId !== undefined) void writeCurrent(sessionId);
  }, [sessionId]);
  return (
    <div class="panel">
      <App />
      <footer class="panel-foot">
        {sessionId !== undefined && <SendPage sessionId={sessionId} settings={settings} />}
        <button type="button" class="quiet" onClick={() => void chrome.runtime.openOptionsPage()} data-testid="options">
          Options
        </button>
      </footer>
    </div>
  );
}

function SendPage({ sessionId, settings }: { sessionId: string; settings: Settings }) {
  const [problem, setProblem] = useState("");
  const send = async (selection: boolean) => {
    setProblem("");
    try {
      const tab = await pageBeside();
      if (tab?.id === undefined || !tab.url) throw new Error("There is no page to send.");
      await chrome.permissions.request({ origins: [originPattern(tab.url)] });
      const content = captureMessage(await capture(tab.id, selection));
      const api = new HubApi({ baseUrl: settings.hubUrl, apiKey: settings.apiKey });
      const messageId = uuid();
      await retrying(() => api.sendMessage(sessionId, { content, messageId }), sendRetryMs);
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  return (
    <>
      <button type="button" class="quiet" onClick={() => void send(false)} data-testid="send-page">
        Send this page
      </button>
      <button type="button" class="quiet" onClick={() => void send(true)} data-testid="send-selection">
        Send selection
      </button>
      {problem && (
        <span class="problem" role="alert">
          {problem}
        </span>
      )}
    </>
  );
}

/** The page that the user looks at; not this one, where it is open in a tab of its own. */
async function pageBeside(): Promise<chrome.tabs.Tab | undefined> {
  const tabs = await chrome.tabs.query({ lastFocusedWindow: true });
  return tabs
    .filter((tab) => tab.url?.startsWith("http"))
    .sort((a, b) => Number(b.active) - Number(a.active) || (b.lastAccessed ?? 0) - (a.lastAccessed ?? 0))[0];
}

const [settings, current] = [await readSettings(), await readCurrent()];
// A service worker's rules hold here, too: no socket, the stream by fetch.
setHub({ baseUrl: new URL(settings.hubUrl), apiKey: settings.apiKey, transport: "sse" });
if (location.hash === "" && current !== undefined) location.hash = `#/s/${encodeURIComponent(current)}`;
void chrome.runtime.sendMessage({ type: "panel" }).catch(() => undefined);
chrome.storage.onChanged.addListener((_, area) => {
  if (area === "local") location.reload();
});
render(<Panel settings={settings} />, document.getElementById("app")!);
