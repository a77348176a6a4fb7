import { generate } from "lean-qr";
import { useEffect, useState } from "preact/hooks";
import type { SignInTicket } from "@sessionhub/client";
import { clockTime, errorText } from "./format.js";
import { account, asUser, readAccount } from "./hub.js";
import { Dialog } from "./menu.js";
import { line } from "./text.js";

/** The browsers that are signed in, and the way to one more: a phone's, by a QR code. */
export function AccountDialog({ onClose }: { onClose: () => void }) {
  const [ticket, setTicket] = useState<SignInTicket>();
  const [problem, setProblem] = useState("");
  useEffect(() => void readAccount(), []);

  const attempt = async (action: () => Promise<void>) => {
    setProblem("");
    try {
      await action();
    } catch (error) {
      setProblem(errorText(error));
    }
  };
  const end = (id: string) =>
    attempt(async () => {
      await asUser((hub) => hub.signOut(id));
      await readAccount();
    });
  const open = () => attempt(async () => setTicket(await asUser((hub) => hub.signInTicket())));

  const list = account.value;
  return (
    <Dialog labelledBy="account-title" onClose={onClose}>
      <h2 id="account-title">Signed in{list && ` as ${line(list.userId)}`}</h2>
      {list?.signIns.length === 0 && (
        <p class="muted">No browser stays signed in. Sign out, and choose "Stay signed in" when you enter the key.</p>
      )}
      <ul class="sign-in-list" data-testid="sign-ins">
        {list?.signIns.map((one) => (
          <li key={one.id} data-testid="sign-in-row" data-current={one.current}>
            <span>
              {line(one.label) || "A browser"}
              {one.current && " (this one)"}
              <small class="muted">last used {clockTime(one.lastUsedAt)}</small>
            </span>
            {!one.current && (
              <button type="button" class="quiet" onClick={() => void end(one.id)} data-testid="end-sign-in">
                Sign out
              </button>
            )}
          </li>
        ))}
      </ul>
      {ticket && <Phone ticket={ticket} />}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="actions">
        <button type="button" class="button primary" onClick={() => void open()} data-testid="open-on-phone">
          {ticket ? "Another code" : "Open on the phone"}
        </button>
        <button type="button" class="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

function Phone({ ticket }: { ticket: SignInTicket }) {
  const { hostname } = new URL(ticket.url);
  const here =
    hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || /^127\./.test(hostname);
  return (
    <>
      {here && (
        <p class="problem" data-testid="only-here">
          This address works on this machine only. Open the dashboard by an address that the phone reaches, or set
          --public-url.
        </p>
      )}
      <QrCode text={ticket.url} />
      <p class="muted">
        It signs one browser in, once, until {clockTime(ticket.expiresAt)}. Whoever reads the code first is in.
      </p>
      <label class="field">
        <span>The same as a link</span>
        <input
          type="text"
          readOnly
          value={ticket.url}
          onFocus={(event) => event.currentTarget.select()}
          data-testid="phone-link"
        />
      </label>
    </>
  );
}

/** Readers want dark on light, and a border of four modules. */
const quietZone = 4;

function QrCode({ text }: { text: string }) {
  const code = generate(text);
  const side = code.size + 2 * quietZone;
  let dark = "";
  for (let y = 0; y < code.size; y++) {
    for (let x = 0; x < code.size; x++) if (code.get(x, y)) dark += `M${x + quietZone} ${y + quietZone}h1v1h-1z`;
  }
  return (
    <svg class="qr" viewBox={`0 0 ${side} ${side}`} role="img" aria-label="QR code of the link below" data-testid="qr">
      <path class="qr-light" d={`M0 0h${side}v${side}h-${side}z`} />
      <path class="qr-dark" d={dark} shape-rendering="crispEdges" />
    </svg>
  );
}
