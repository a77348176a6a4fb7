/** Gives a place back. */
export type Release = () => void;

interface Locks {
  request(name: string, options: { ifAvailable: true }, held: (lock: object | null) => unknown): Promise<unknown>;
}

/**
 * Takes one of `count` places that all pages of an origin share, by its name and number.
 * Undefined: all are taken. The browser gives the place back when the page ends, however it
 * ends. Where there are no Web Locks (outside of pages, and without TLS but for localhost),
 * there is always a place.
 */
export async function takeSlot(name: string, count: number): Promise<Release | undefined> {
  const { document, navigator } = globalThis as { document?: unknown; navigator?: { locks?: Locks } };
  const locks = document ? navigator?.locks : undefined;
  if (!locks) return () => {};
  for (let number = 0; number < count; number++) {
    const release = await new Promise<Release | undefined>((resolve) => {
      locks
        .request(
          `${name} ${number}`,
          { ifAvailable: true },
          (lock) => lock && new Promise<void>((free) => resolve(() => free())),
        )
        // After a grant this comes at its end, and says nothing new. A page may also not have locks.
        .then(
          () => resolve(undefined),
          () => resolve(() => {}),
        );
    });
    if (release) return release;
  }
  return undefined;
}
