import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A button that unfolds a few others. It closes when one was chosen, at Escape, and at a click elsewhere. */
export function Menu({
  name,
  label,
  testId,
  children,
}: {
  name: string;
  /** What it is, where the name is a sign. */
  label?: string;
  testId: string;
  children: ComponentChildren;
}) {
  const menu = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const onClick = (event: Event) => {
      const details = menu.current; // gone already, where the click has taken its row away
      if (details?.open && !details.querySelector("summary")!.contains(event.target as Node)) details.open = false;
    };
    document.addEventListener("click", onClick);
    return () => document.removeEventListener("click", onClick);
  }, []);
  return (
    <details
      class="menu"
      ref={menu}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !menu.current?.open) return;
        menu.current.open = false;
        menu.current.querySelector("summary")?.focus();
      }}
    >
      <summary class="quiet" aria-label={label} title={label && "Actions"} data-testid={testId}>
        {name} {!label && <span aria-hidden="true">▾</span>}
      </summary>
      <div class="menu-body">{children}</div>
    </details>
  );
}

/** A modal dialog, there as long as it is drawn. */
export function Dialog({
  labelledBy,
  onClose,
  wide = false,
  children,
}: {
  labelledBy: string;
  onClose: () => void;
  /** It takes most of the window. */
  wide?: boolean;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class={wide ? "card wide-card" : "card"} aria-labelledby={labelledBy} onClose={onClose}>
      {children}
    </dialog>
  );
}
