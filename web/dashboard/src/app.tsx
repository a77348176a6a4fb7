import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { AccountDialog } from "./account-dialog.js";
import { inBackground } from "./background.js";
import { account, hasKey, readAccount, signInNeeded, signOut, staysSignedIn } from "./hub.js";
import { Inbox } from "./inbox.js";
import { followInbox, waitingCount } from "./inbox-feed.js";
import { NewSession } from "./new-session.js";
import { askPermission, permission } from "./notify.js";
import { OperationsPage } from "./operations-page.js";
import { pageTitle } from "./page-title.js";
import { route } from "./route.js";
import { SessionList } from "./session-list.js";
import { SessionPage, SharedPage } from "./session-page.js";
import { SignIn } from "./sign-in.js";
import { ticket } from "./sign-in-ticket.js";
import { TicketPage } from "./ticket-page.js";

// As in the style sheets.
const narrowScreen = matchMedia("(max-width: 46rem)");
const narrow = signal(narrowScreen.matches);
narrowScreen.addEventListener("change", () => (narrow.value = narrowScreen.matches));

/** The page: the list of sessions beside one of them; one or the other on a phone. */
export function App() {
  const at = route.value;
  useEffect(() => {
    if (at.page !== "session" && at.page !== "shared") pageTitle.value = "sessionhub";
  }, [at.page]);
  // A shared link is not the user's page, and without a key there is nothing to ask.
  const own = at.page !== "shared" && !signInNeeded.value;
  useEffect(() => (own ? followInbox() : undefined), [own]);

  const [accountShown, showAccount] = useState(false);
  useEffect(() => {
    if (at.page !== "shared" && ticket.peek() === undefined) void inBackground(readAccount);
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
  const current = at.page === "session" ? at.sessionId : undefined;
  if (narrow.value && at.page === "home") {
    // One thing scrolls: what waits, and below it all sessions.
    return (
      <main class="main home">
        <Inbox head={<Brand />}>
          <SessionList current={current} />
          <Foot page={at.page} onAccount={() => showAccount(true)} />
        </Inbox>
        {accountShown && <AccountDialog onClose={() => showAccount(false)} />}
      </main>
    );
  }
  return (
    <div class="frame" data-page={at.page}>
      <aside class="sidebar">
        <Brand />
        <SessionList current={current} />
        <Foot page={at.page} onAccount={() => showAccount(true)} />
      </aside>
      {accountShown && <AccountDialog onClose={() => showAccount(false)} />}
      <main class="main">
        {at.page === "session" && <SessionPage key={at.sessionId} sessionId={at.sessionId} />}
        {at.page === "new" && <NewSession />}
        {at.page === "operations" && <OperationsPage />}
        {at.page === "home" && <Inbox />}
      </main>
    </div>
  );
}

function Brand() {
  return (
    <div class="brand-box">
      <header class="brand">
        <a href="#/" class="brand-name">
          <Mark /> sessionhub
        </a>
        {waitingCount.value > 0 && (
          <a class="badge" href="#/" title="Questions that wait for you" data-testid="waiting">
            {waitingCount.value}
            <span class="unseen"> wait for you</span>
          </a>
        )}
        {(hasKey() || staysSignedIn.value) && (
          <button type="button" class="quiet" onClick={() => void signOut()} data-testid="sign-out">
            Sign out
          </button>
        )}
      </header>
      <a class="button primary wide" href="#/new" data-testid="new-session">
        New session
      </a>
    </div>
  );
}

function Foot({ page, onAccount }: { page: string; onAccount: () => void }) {
  return (
    <footer class="sidebar-foot">
      <a
        class="quiet"
        href="#/operations"
        aria-current={page === "operations" ? "page" : undefined}
        data-testid="operations"
      >
        Operations
      </a>
      {account.value?.required && (
        <button type="button" class="quiet" onClick={onAccount} data-testid="account">
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
