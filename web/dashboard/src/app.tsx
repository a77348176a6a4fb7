import { useEffect, useState } from "preact/hooks";
import { AccountDialog } from "./account-dialog.js";
import { account, hasKey, readAccount, signInNeeded, signOut, staysSignedIn } from "./hub.js";
import { NewSession } from "./new-session.js";
import { askPermission, permission } from "./notify.js";
import { OperationsPage } from "./operations-page.js";
import { route } from "./route.js";
import { SessionList } from "./session-list.js";
import { SessionPage, SharedPage } from "./session-page.js";
import { SignIn } from "./sign-in.js";
import { ticket } from "./sign-in-ticket.js";
import { TicketPage } from "./ticket-page.js";

/** The page: the list of sessions beside one of them; one or the other on a phone. */
export function App() {
  const at = route.value;
  useEffect(() => {
    if (at.page !== "session" && at.page !== "shared") document.title = "sessionhub";
  }, [at.page]);

  const [accountShown, showAccount] = useState(false);
  useEffect(() => {
    if (at.page !== "shared" && ticket.peek() === undefined) void readAccount();
  }, []);

  if (ticket.value !== undefined) return <TicketPage text={ticket.value} />;
  if (at.page === "shared") {
    return (
      <main class="main shared">
        <SharedPage key={`${at.sessionId} ${at.token}`} sessionId={at.sessionId} token={at.token} />
      </main>
    );
  }
  if (signInNeeded.value) return <SignIn />;
  return (
    <div class="frame" data-page={at.page}>
      <aside class="sidebar">
        <header class="brand">
          <a href="#/" class="brand-name">
            <Mark /> sessionhub
          </a>
          {(hasKey() || staysSignedIn.value) && (
            <button type="button" class="quiet" onClick={() => void signOut()} data-testid="sign-out">
              Sign out
            </button>
          )}
        </header>
        <a class="button primary wide" href="#/new" data-testid="new-session">
          New session
        </a>
        <SessionList current={at.page === "session" ? at.sessionId : undefined} />
        <footer class="sidebar-foot">
          <a
            class="quiet"
            href="#/operations"
            aria-current={at.page === "operations" ? "page" : undefined}
            data-testid="operations"
          >
            Operations
          </a>
          {account.value?.required && (
            <button type="button" class="quiet" onClick={() => showAccount(true)} data-testid="account">
              Signed in
            </button>
          )}
          {permission.value === "default" && (
            <button
              type="button"
              class="quiet"
              onClick={() => void askPermission()}
              title="When an agent needs you and the page is out of sight"
              data-testid="notify"
            >
              Notify me
            </button>
          )}
        </footer>
      </aside>
      {accountShown && <AccountDialog onClose={() => showAccount(false)} />}
      <main class="main">
        {at.page === "session" && <SessionPage key={at.sessionId} sessionId={at.sessionId} />}
        {at.page === "new" && <NewSession />}
        {at.page === "operations" && <OperationsPage />}
        {at.page === "home" && (
          <div class="empty">
            <p>Choose a session, or start a new one.</p>
          </div>
        )}
      </main>
    </div>
  );
}

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M9 11h14M9 16h9M9 21h12" />
    </svg>
  );
}
