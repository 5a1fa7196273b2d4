// A formula that is wider than the page scrolls sideways; then the keyboard must be able to reach it.
document.addEventListener("DOMContentLoaded", () => {
  const reach = (formula) => {
    const scrolls = formula.matches("div") ? formula.querySelector("mjx-container") : formula;
    if (!scrolls) return; // not typeset yet; it grows when it is, and is looked at again
    if (scrolls.scrollWidth > scrolls.clientWidth || scrolls.scrollHeight > scrolls.clientHeight) scrolls.tabIndex = 0;
    else scrolls.removeAttribute("tabindex");
  };
  const watcher = new ResizeObserver((changes) => changes.forEach((change) => reach(change.target)));
  for (const formula of document.querySelectorAll(".bd-article .math")) watcher.observe(formula);
});
