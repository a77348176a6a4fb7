/** Random numbers that a seed repeats (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    /** An integer from 0 on, below `bound`. */
    int: (bound) => Math.floor(next() * bound),
    /** One of these. */
    of: (all) => all[Math.floor(next() * all.length)],
  };
}
