/**
 * Elements as a screen reader has them: by role, accessible name (both computed by axe-core) and text. While a modal
 * dialog is open, nothing else is there.
 *
 * query: { role, name, text, within }: `name` is a part of the accessible name, in any case, or all of it if it begins
 * with "="; `text` is a part of the visible text; `within` is another query, for an element that contains it.
 */
(query) => {
  const CANDIDATES = `[role], a[href], article, aside, button, dialog, h1, h2, h3, h4, h5, h6, img, input, li, main, option,
    progress, select, summary, textarea, time`;
  const { aria, text } = axe.commons;
  // axe takes the upper one of two modal dialogs for hidden, where a browser does not tell which that is.
  const nameOf = (element) => (text.accessibleText(element) || text.accessibleText(element, { includeHidden: true })).trim();
  const isNamed = (name, wanted) =>
    wanted.startsWith("=") ? name === wanted.slice(1) : name.toLowerCase().includes(wanted.toLowerCase());
  const find = (root, { role, name = "", text: shown = "", within = null }) => {
    const roots = within ? find(root, within) : [root];
    const all = roots.flatMap((one) => [...one.querySelectorAll(CANDIDATES)]);
    return [...new Set(all)].filter(
      (element) =>
        (element.localName === "summary" ? "button" : aria.getRole(element)) === role &&
        !element.closest("[aria-hidden=true], [inert]") &&
        element.checkVisibility({ visibilityProperty: true }) &&
        (!shown || element.innerText.includes(shown)) &&
        (!name || isNamed(nameOf(element), name)),
    );
  };
  axe.setup(document);
  try {
    const modals = document.querySelectorAll("dialog:modal");
    const modal = [...modals].at(-1);
    return find(document, query).filter((element) => !modal || modal.contains(element));
  } finally {
    axe.teardown();
  }
}
