// The service worker: menus, the badge, and notifications. It keeps nothing in
// memory that it cannot lose, since Chrome puts it to sleep when it likes.
import { HubApi } from "@sessionhub/client";
import { errorText } from "../../dashboard/src/format.js";
import { retrying } from "../../dashboard/src/retrying.js";
import { exactLine, shortLine } from "../../dashboard/src/text.js";
import { capture, captureMessage } from "./capture.js";
import { Follower } from "./follower.js";
import { readCurrent, readSettings } from "./settings.js";

const follower = new Follower(
  (sessionId, interactionId, question) => {
    // By its id it is shown once, also when it is seen again after a sleep.
    const id = `${sessionId} ${interactionId}`;
    if (question === undefined) void chrome.notifications.clear(id);
    else {
      void chrome.notifications.create(id, {
        type: "basic",
        iconUrl: "icon-128.png",
        title: "Your agent needs you",
        message: shortLine(exactLine(question), 300) || "It waits for your approval.",
      });
    }
  },
  (count) => {
    void chrome.action.setBadgeBackgroundColor({ color: "#8f5b00" });
    void chrome.action.setBadgeText({ text: count > 0 ? String(count) : "" });
  },
);

/** Whatever wakes the worker makes it read on. A hub that is away now is asked again at the next alarm. */
function follow(): void {
  follower.follow().catch((error) => console.info("sessionhub cannot be reached:", String(error)));
}

/** How long a busy hub is asked again; Chrome lets the worker live for 30 s. Milliseconds. */
const sendRetryMs = 10_000;

async function sendFrom(tab: chrome.tabs.Tab | undefined, selection: boolean): Promise<void> {
  if (tab?.id === undefined) return;
  try {
    const message = captureMessage(await capture(tab.id, selection));
    const sessionId = await readCurrent();
    if (sessionId === undefined) throw new Error("Open a session in the side panel first.");
    const { hubUrl, apiKey } = await readSettings();
    const api = new HubApi({ baseUrl: hubUrl, apiKey });
    const messageId = crypto.randomUUID();
    await retrying(() => api.sendMessage(sessionId, { content: message, messageId }), sendRetryMs);
  } catch (error) {
    void chrome.notifications.create({
      type: "basic",
      iconUrl: "icon-128.png",
      title: "Not sent",
      message: errorText(error),
    });
  }
}

chrome.runtime.onInstalled.addListener(() => {
  void chrome.sidePanel.setPanelBehavior({ openPanelOnActionClick: true });
  chrome.contextMenus.removeAll(() => {
    chrome.contextMenus.create({ id: "selection", title: "Send selection to the agent", contexts: ["selection"] });
    chrome.contextMenus.create({ id: "page", title: "Send this page to the agent", contexts: ["page"] });
  });
});
chrome.contextMenus.onClicked.addListener(({ menuItemId }, tab) => void sendFrom(tab, menuItemId === "selection"));
chrome.notifications.onClicked.addListener((id) => {
  void chrome.notifications.clear(id);
  // Without a click inside Chrome no panel may be opened; a tab may.
  const [sessionId] = id.split(" ");
  if (sessionId?.startsWith("s_")) void chrome.tabs.create({ url: `panel.html#/s/${encodeURIComponent(sessionId)}` });
});
chrome.storage.onChanged.addListener((changes, area) => {
  if (area === "local") follower.restart().catch(() => undefined);
  else if ("current" in changes) follow();
});
// The shortest that Chrome grants.
void chrome.alarms.create("follow", { periodInMinutes: 0.5 });
chrome.alarms.onAlarm.addListener(follow);
chrome.runtime.onStartup.addListener(follow);
chrome.runtime.onMessage.addListener(() => follow());
follow();
