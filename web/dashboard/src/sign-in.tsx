import { useState } from "preact/hooks";
import { HubError } from "@sessionhub/client";
import { Mark } from "./app.js";
import { errorText } from "./format.js";
import { canStay, signIn } from "./hub.js";

export function SignIn() {
  const [key, setKey] = useState("");
  const [stay, setStay] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      await signIn(key.trim(), stay);
    } catch (error) {
      setProblem(
        error instanceof HubError && error.status === 401 ? "The hub does not know this key." : errorText(error),
      );
      setBusy(false);
    }
  };

  return (
    <main class="sign-in">
      <form class="card" onSubmit={submit}>
        <h1 class="brand-name">
          <Mark /> sessionhub
        </h1>
        <p class="muted">
          {stay
            ? "This hub asks for an API key. The page forgets it, and this browser stays signed in until you sign out."
            : "This hub asks for an API key. It is kept in this tab only."}
        </p>
        <label class="field">
          <span>API key</span>
          <input
            type="password"
            autocomplete="off"
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
            data-testid="api-key"
          />
        </label>
        {canStay() && (
          <label class="check">
            <input
              type="checkbox"
              checked={stay}
              onChange={(event) => setStay(event.currentTarget.checked)}
              data-testid="stay-signed-in"
            />
            <span>Stay signed in</span>
          </label>
        )}
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" class="button primary" disabled={busy || key.trim() === ""} data-testid="sign-in">
          {busy ? "Signing in…" : "Sign in"}
        </button>
      </form>
    </main>
  );
}
