/** Defers updates of the view while a pointer is pressed: an element that moves or is replaced then gets no click. */

const CLICK_DELAY_MS = 100; // a touch screen dispatches the click up to this long after the release
const MAX_DEFER_MS = 10_000; // the release may never be reported, e.g. outside of the window

/**
 * @param {AbortSignal} signal  stops listening
 * @returns {(update: () => void) => void} runs an update now, or after the release; updates stay in order
 */
export function deferWhilePressed(signal) {
  let isPressed = false;
  /** @type {(() => void)[]} */
  const deferred = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const flush = () => {
    clearTimeout(timer);
    isPressed = false;
    for (const update of deferred.splice(0)) update();
  };
  const flushIn = (/** @type {number} */ ms) => {
    clearTimeout(timer);
    timer = setTimeout(flush, ms);
  };
  addEventListener("pointerdown", ({ button }) => {
    if (button !== 0) return;
    isPressed = true;
    flushIn(MAX_DEFER_MS);
  }, { capture: true, signal });
  for (const kind of ["pointerup", "pointercancel"]) {
    addEventListener(kind, () => isPressed && flushIn(CLICK_DELAY_MS), { capture: true, signal });
  }
  addEventListener("click", flush, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return (update) => {
    if (isPressed) deferred.push(update);
    else update();
  };
}
