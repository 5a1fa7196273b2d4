// What is wider than the page, a formula, a figure, what a cell printed, scrolls sideways; then the keyboard must reach it.
document.addEventListener("DOMContentLoaded", () => {
  const reach = (it) => {
    const scrolls = it.matches("div.math") ? it.querySelector("mjx-container") : it;
    if (!scrolls) return; // not typeset yet; it grows when it is, and is looked at again
    const seen = it.matches("span.math") && it.querySelector("mjx-math"); // beside it stands, unseen, what is read aloud
    const wide = seen
      ? seen.getBoundingClientRect().width > scrolls.clientWidth + 1
      : scrolls.scrollWidth > scrolls.clientWidth || scrolls.scrollHeight > scrolls.clientHeight;
    if (wide) scrolls.tabIndex = 0;
    else scrolls.removeAttribute("tabindex");
  };
  const watcher = new ResizeObserver((changes) => changes.forEach((change) => reach(change.target)));
  const wide = ".bd-article :is(.math, figure, .cell_output, .cell_output .output)";
  for (const it of document.querySelectorAll(wide)) watcher.observe(it);
});
