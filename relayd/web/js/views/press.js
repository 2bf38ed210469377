/** While something is pressed, the view holds still: what moves away under a finger, or is replaced, gets no click. */

const RELEASED_MS = 100; // the click comes behind the release; from a finger so much later at most
const LONGEST_MS = 10_000; // a release that is never told, outside of the window, must not hold the view for good

/**
 * @param {AbortSignal} signal  ends it
 * @returns {(work: () => void) => void} does it now, or, in order, after the release
 */
export function whilePressed(signal) {
  let pressed = false;
  /** @type {(() => void)[]} */
  const waiting = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const release = () => {
    clearTimeout(timer);
    pressed = false;
    for (const work of waiting.splice(0)) work();
  };
  const releaseIn = (/** @type {number} */ ms) => {
    clearTimeout(timer);
    timer = setTimeout(release, ms);
  };
  addEventListener("pointerdown", ({ button }) => {
    if (button !== 0) return;
    pressed = true;
    releaseIn(LONGEST_MS);
  }, { capture: true, signal });
  for (const kind of ["pointerup", "pointercancel"]) {
    addEventListener(kind, () => pressed && releaseIn(RELEASED_MS), { capture: true, signal });
  }
  addEventListener("click", release, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return (work) => {
    if (pressed) waiting.push(work);
    else work();
  };
}
