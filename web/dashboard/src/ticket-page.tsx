import { useEffect, useState } from "preact/hooks";
import { HubError } from "@sessionhub/client";
import { Mark } from "./app.js";
import { errorText } from "./format.js";
import { account, hasKey, readAccount, redeem } from "./hub.js";
import { ticket, userOf } from "./sign-in-ticket.js";
import { line } from "./text.js";

/**
 * The page that was opened with a ticket, as from a QR code. Where nobody is signed in, it signs in. A page that knows a
 * user already asks first: a link of a stranger must not make a person work in the stranger's account.
 */
export function TicketPage({ text }: { text: string }) {
  const [asks, setAsks] = useState(false);
  const [problem, setProblem] = useState("");
  const user = line(userOf(text));

  const use = async () => {
    setAsks(false);
    try {
      await redeem(text);
      ticket.value = undefined;
    } catch (error) {
      setProblem(
        error instanceof HubError && error.status === 401
          ? "This link was used already, or is older than two minutes. Make another one on the other device."
          : errorText(error),
      );
    }
  };
  useEffect(() => {
    void (async () => {
      await readAccount();
      if (hasKey() || account.value) setAsks(true);
      else await use();
    })();
  }, []);

  return (
    <main class="sign-in">
      <div class="card">
        <h1 class="brand-name">
          <Mark /> sessionhub
        </h1>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        {!problem && !asks && <p class="muted">Signing in…</p>}
        {asks && (
          <p>
            This page is in use{account.value && ` by ${line(account.value.userId)}`}. Sign this browser in as{" "}
            <b>{user}</b> instead? Do so only if you have made the link yourself.
          </p>
        )}
        {(asks || problem) && (
          <div class="actions">
            {asks && account.value?.required !== false && (
              <button type="button" class="button primary" onClick={() => void use()} data-testid="use-ticket">
                Sign in as {user}
              </button>
            )}
            <button type="button" class="button" onClick={() => (ticket.value = undefined)} data-testid="drop-ticket">
              {asks ? "Stay as I am" : "Go on"}
            </button>
          </div>
        )}
      </div>
    </main>
  );
}
