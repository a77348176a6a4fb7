import { useState } from "preact/hooks";
import { clockTime, errorText } from "./format.js";
import { asUser, baseUrl } from "./hub.js";
import { Dialog } from "./menu.js";
import { sharedHref } from "./route.js";
import type { SessionModel } from "./session-model.js";

const lifetimes = [
  ["An hour", 3_600],
  ["8 hours", 28_800],
  ["A day", 86_400],
] as const;

/** Makes a link with which somebody can watch the session, and do nothing else. */
export function ShareDialog({ model, onClose }: { model: SessionModel; onClose: () => void }) {
  const [seconds, setSeconds] = useState<number>(3_600);
  const [link, setLink] = useState<{ href: string; until: string }>();
  const [copied, setCopied] = useState("");
  const [problem, setProblem] = useState("");

  const make = async () => {
    setProblem("");
    setCopied("");
    try {
      const { token, expiresAt } = await asUser((hub) =>
        hub.mintToken(model.sessionId, { scope: "read", ttlSeconds: seconds }),
      );
      const url = new URL(baseUrl);
      url.hash = sharedHref(model.sessionId, token);
      setLink({ href: url.href, until: expiresAt });
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  const copy = () => {
    void navigator.clipboard.writeText(link!.href).then(
      () => setCopied("Copied"),
      () => setCopied("Select the link and copy it"),
    );
  };

  return (
    <Dialog labelledBy="share-title" onClose={onClose}>
      <h2 id="share-title">Share a read-only link</h2>
      <p class="muted">
        Whoever has the link sees this session live, with everything the agent reads and writes, and can change nothing.
      </p>
      <label class="field">
        <span>It works for</span>
        <select
          value={seconds}
          onChange={(event) => {
            setSeconds(Number(event.currentTarget.value));
            setLink(undefined);
          }}
        >
          {lifetimes.map(([name, value]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {link && (
        <label class="field">
          <span>Link, until {clockTime(link.until)}</span>
          <input
            type="text"
            readOnly
            value={link.href}
            onFocus={(event) => event.currentTarget.select()}
            data-testid="share-link"
          />
        </label>
      )}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="actions">
        {link ? (
          // There is no clipboard on pages over plain HTTP that are not local.
          navigator.clipboard && (
            <button type="button" class="button primary" onClick={copy}>
              {copied || "Copy"}
            </button>
          )
        ) : (
          <button type="button" class="button primary" onClick={() => void make()} data-testid="make-link">
            Make a link
          </button>
        )}
        <button type="button" class="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
