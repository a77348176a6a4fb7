import type { Session } from "@sessionhub/client";
import { statusLabels } from "./format.js";

export function StatusPill({ status, testId }: { status: Session["status"]; testId?: string }) {
  return (
    <span class="pill" data-status={status} data-testid={testId}>
      <span class="dot" aria-hidden="true" />
      {statusLabels[status] ?? status}
    </span>
  );
}
