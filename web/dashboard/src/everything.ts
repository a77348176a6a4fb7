import { signal } from "@preact/signals";

const key = "sessionhub.show-everything";

/** Whether the transcript also has what the agent sent for programs. */
export const showEverything = signal(read());

export function toggleEverything(): void {
  showEverything.value = !showEverything.value;
  try {
    localStorage.setItem(key, showEverything.value ? "1" : "");
  } catch {
    // A browser that keeps nothing: it holds for this page.
  }
}

function read(): boolean {
  try {
    return localStorage.getItem(key) === "1";
  } catch {
    return false;
  }
}
